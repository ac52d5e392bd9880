//! Headers and justifications under one authority set. Each refusal starts from an import that is valid but for
//! one thing.

use cloister_chain_primitives::{H256, Header};
use cloister_light_client::{
    Error, LightClient, MAX_DIGEST_ITEMS, MAX_HEADERS, MAX_HEADERS_BYTES, MAX_JUSTIFICATION_BYTES,
};
use codec::Encode;
use finality_grandpa::Precommit;
use sp_runtime::DigestItem;

use cloister_synthetic_layer_one::{Chain, Justification, Voters, child, justification, key, sign};

/// Four authorities of set 3 finalize block 5 of a chain that is 8 blocks long.
struct Attempt {
    chain: Chain,
    voters: Voters,
    headers: Vec<Header>,
    justification: Justification,
}

const TARGET: u32 = 5;

impl Attempt {
    fn new() -> Self {
        let chain = Chain::new(8);
        let voters = Voters::new(3, 1..=4);
        Self { headers: chain.range(1, TARGET), justification: voters.justify(chain.header(TARGET)), chain, voters }
    }

    fn target(&self) -> &Header {
        self.chain.header(TARGET)
    }

    fn accepted(self) -> LightClient {
        let mut client = self.chain.client(&self.voters);
        let header = client.import(self.headers, &self.justification.encode()).unwrap();
        assert_eq!(header.head(), self.chain.head(TARGET));
        client
    }

    fn refused(mut self, error: Error) {
        let encoded = self.justification.encode();
        let headers = std::mem::take(&mut self.headers);
        self.refused_with(headers, &encoded, error);
    }

    /// Refused with this error and without a trace: the true import still succeeds.
    fn refused_with(self, headers: Vec<Header>, encoded: &[u8], error: Error) {
        let mut client = self.chain.client(&self.voters);
        assert_eq!(client.import(headers, encoded), Err(error));
        assert_eq!(client.head(), self.chain.head(0));
        assert_eq!(client.finalized_header(), None);
        self.chain.import(&mut client, TARGET, &self.voters).unwrap();
    }
}

#[test]
fn follows_the_chain_in_steps_of_any_length() {
    let Attempt { chain, voters, .. } = Attempt::new();
    let mut client = chain.client(&voters);
    assert_eq!((client.head(), client.finalized_header(), client.set_id()), (chain.head(0), None, 3));
    for last in [1, 2, 5, 8] {
        assert_eq!(chain.import(&mut client, last, &voters).unwrap(), chain.head(last));
        let header = client.finalized_header().unwrap();
        assert_eq!(header.header(), chain.header(last));
        assert_eq!((header.number(), header.hash()), (last, chain.header(last).hash()));
        assert_eq!(header.state_root(), chain.header(last).state_root);
        assert_eq!(client.head(), header.head());
    }
}

#[test]
fn starts_at_a_later_checkpoint() {
    let Attempt { chain, voters, .. } = Attempt::new();
    let mut config = chain.config(&voters);
    config.checkpoint.number = 4;
    config.checkpoint.hash = chain.header(4).hash();
    let mut client = LightClient::new(&config).unwrap();
    assert_eq!(client.head(), chain.head(4));
    chain.import(&mut client, 8, &voters).unwrap();
}

#[test]
fn refuses_a_checkpoint_that_contradicts_genesis() {
    let Attempt { chain, voters, .. } = Attempt::new();
    let mut config = chain.config(&voters);
    let genesis = std::mem::replace(&mut config.genesis, H256::zero());
    assert_eq!(
        LightClient::new(&config).unwrap_err(),
        Error::CheckpointContradictsGenesis { checkpoint: genesis, genesis: H256::zero() }
    );
    config.genesis = genesis;
    config.checkpoint.authorities.clear();
    assert_eq!(LightClient::new(&config).unwrap_err(), Error::EmptyAuthoritySet);
}

#[test]
fn accepts_a_supermajority_of_weight() {
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits.remove(1);
    attempt.accepted();
}

#[test]
fn accepts_votes_for_descendants() {
    let mut attempt = Attempt::new();
    let (voters, chain) = (&attempt.voters, &attempt.chain);
    let votes = (0..4).map(|voter| voters.vote(voter, chain.header([5, 6, 7, 7][voter]))).collect();
    attempt.justification = justification(attempt.target(), votes, chain.range(6, 7));
    attempt.accepted();
}

#[test]
fn counts_an_equivocating_authority_once() {
    let mut attempt = Attempt::new();
    let (voters, chain) = (&attempt.voters, &attempt.chain);
    let twice = [voters.vote(0, chain.header(5)), voters.vote(0, chain.header(6))];
    let enough = [&twice[..], &[voters.vote(1, chain.header(5)), voters.vote(2, chain.header(5))]].concat();
    let too_few = [&twice[..], &[voters.vote(1, chain.header(5))]].concat();
    let (enough, too_few) = (
        justification(attempt.target(), enough, chain.range(6, 6)),
        justification(attempt.target(), too_few, chain.range(6, 6)),
    );
    attempt.justification = enough;
    attempt.accepted();
    Attempt { justification: too_few, ..Attempt::new() }.refused(Error::TooFewVotes { weight: 2, threshold: 3 });
}

#[test]
fn refuses_no_headers() {
    Attempt { headers: vec![], ..Attempt::new() }.refused(Error::NoHeaders);
}

#[test]
fn refuses_too_many_headers() {
    let attempt = Attempt::new();
    let headers = vec![attempt.target().clone(); MAX_HEADERS + 1];
    Attempt { headers, ..attempt }.refused(Error::TooManyHeaders { count: MAX_HEADERS + 1, max: MAX_HEADERS });
}

#[test]
fn refuses_headers_that_are_too_large() {
    let mut attempt = Attempt::new();
    attempt.headers[2].digest.push(DigestItem::Other(vec![0; MAX_HEADERS_BYTES]));
    attempt.refused(Error::HeadersTooLarge { max: MAX_HEADERS_BYTES });
}

#[test]
fn refuses_too_many_digest_items() {
    let mut attempt = Attempt::new();
    attempt.headers[2].digest.logs = vec![DigestItem::RuntimeEnvironmentUpdated; MAX_DIGEST_ITEMS + 1];
    attempt.refused(Error::TooManyDigestItems { number: 3, count: MAX_DIGEST_ITEMS + 1, max: MAX_DIGEST_ITEMS });
}

#[test]
fn refuses_broken_ancestry() {
    // A gap, a repetition, a wrong order, a start elsewhere: the numbers tell.
    let mut attempt = Attempt::new();
    attempt.headers.remove(2);
    attempt.refused(Error::WrongNumber { expected: 3, found: 4 });

    let mut attempt = Attempt::new();
    attempt.headers.insert(2, attempt.headers[1].clone());
    attempt.refused(Error::WrongNumber { expected: 3, found: 2 });

    let mut attempt = Attempt::new();
    attempt.headers.swap(1, 2);
    attempt.refused(Error::WrongNumber { expected: 2, found: 3 });

    let mut attempt = Attempt::new();
    attempt.headers.remove(0);
    attempt.refused(Error::WrongNumber { expected: 1, found: 2 });

    // Another block in place of one: the parent hashes tell.
    let mut attempt = Attempt::new();
    attempt.headers[2].state_root = H256::zero();
    attempt.refused(Error::BrokenAncestry { number: 4 });

    let mut attempt = Attempt::new();
    attempt.headers[0].parent_hash = H256::zero();
    attempt.refused(Error::BrokenAncestry { number: 1 });
}

#[test]
fn never_follows_a_second_chain() {
    // A lone validator that lost its database may well finalize a second block 6.
    let Attempt { chain, voters, .. } = Attempt::new();
    let mut client = chain.client(&voters);
    chain.import(&mut client, 6, &voters).unwrap();
    let mut fork = Chain { headers: chain.range(0, 5) };
    fork.push(|header| header.state_root = H256::zero());
    fork.extend(2);
    let second = voters.justify(fork.header(6)).encode();
    let expected = Error::WrongNumber { expected: 7, found: 6 };
    assert_eq!(client.import(fork.range(6, 6), &second), Err(expected));
    let beyond = voters.justify(fork.header(8)).encode();
    assert_eq!(client.import(fork.range(7, 8), &beyond), Err(Error::BrokenAncestry { number: 7 }));
    chain.import(&mut client, 8, &voters).unwrap();
}

#[test]
fn refuses_no_justification() {
    let attempt = Attempt::new();
    let headers = attempt.headers.clone();
    attempt.refused_with(headers, &[], Error::NoJustification);
}

#[test]
fn refuses_an_oversized_justification() {
    let attempt = Attempt::new();
    let headers = attempt.headers.clone();
    let bytes = MAX_JUSTIFICATION_BYTES + 1;
    let error = Error::JustificationTooLarge { bytes, max: MAX_JUSTIFICATION_BYTES };
    attempt.refused_with(headers, &vec![0; bytes], error);
}

#[test]
fn refuses_an_undecodable_justification() {
    let mut encoded = Attempt::new().justification.encode();
    let attempt = Attempt::new();
    let headers = attempt.headers.clone();
    attempt.refused_with(headers.clone(), &encoded[..encoded.len() - 1], Error::UndecodableJustification);
    encoded.push(0);
    Attempt::new().refused_with(headers, &encoded, Error::UndecodableJustification);
}

#[test]
fn refuses_the_right_justification_of_another_header() {
    for other in [TARGET - 1, TARGET + 1] {
        let mut attempt = Attempt::new();
        attempt.justification = attempt.voters.justify(attempt.chain.header(other));
        let hash = attempt.chain.header(other).hash();
        attempt.refused(Error::JustificationOfAnotherHeader { number: other, hash });
    }
    // Neither the number nor the hash alone will do.
    let mut attempt = Attempt::new();
    attempt.justification.commit.target_number = 6;
    let hash = attempt.target().hash();
    attempt.refused(Error::JustificationOfAnotherHeader { number: 6, hash });
    let mut attempt = Attempt::new();
    attempt.justification.commit.target_hash = H256::zero();
    attempt.refused(Error::JustificationOfAnotherHeader { number: TARGET, hash: H256::zero() });
}

#[test]
fn refuses_too_many_votes() {
    let mut attempt = Attempt::new();
    let votes = attempt.justification.commit.precommits.clone();
    attempt.justification.commit.precommits = [&votes[..], &votes, &votes[..1]].concat();
    attempt.refused(Error::TooManyVotes { count: 9, max: 8 });
}

#[test]
fn refuses_a_vote_of_a_stranger() {
    let mut attempt = Attempt::new();
    let target = Precommit { target_hash: attempt.target().hash(), target_number: TARGET };
    attempt.justification.commit.precommits.push(sign(&key(9), 3, target));
    attempt.refused(Error::UnknownVoter { voter: Voters::new(3, [9]).public(0) });
}

#[test]
fn refuses_a_duplicate_vote() {
    let mut attempt = Attempt::new();
    let first = attempt.justification.commit.precommits[0].clone();
    attempt.justification.commit.precommits.push(first);
    let voter = attempt.voters.public(0);
    attempt.refused(Error::DuplicateVote { voter });
}

#[test]
fn refuses_a_third_vote() {
    let mut attempt = Attempt::new();
    for number in [6, 7] {
        let vote = attempt.voters.vote(0, attempt.chain.header(number));
        attempt.justification.commit.precommits.push(vote);
    }
    attempt.justification.votes_ancestries = attempt.chain.range(6, 7);
    let voter = attempt.voters.public(0);
    attempt.refused(Error::ThirdVote { voter });
}

#[test]
fn refuses_votes_beside_the_target() {
    // For its parent.
    let mut attempt = Attempt::new();
    let hash = attempt.chain.header(4).hash();
    attempt.justification.commit.precommits[3] = attempt.voters.vote(3, attempt.chain.header(4));
    attempt.refused(Error::VoteNotDescending { hash });

    // For a sibling, and for a child of the sibling.
    let mut fork = Chain { headers: Attempt::new().chain.range(0, 4) };
    fork.push(|header| header.state_root = H256::zero());
    fork.extend(1);
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits[3] = attempt.voters.vote(3, fork.header(5));
    attempt.refused(Error::VoteNotDescending { hash: fork.header(5).hash() });
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits[3] = attempt.voters.vote(3, fork.header(6));
    attempt.justification.votes_ancestries = fork.range(6, 6);
    attempt.refused(Error::VoteNotDescending { hash: fork.header(6).hash() });
}

#[test]
fn refuses_wrong_numbers_in_votes() {
    // Said of the target, of a descendant, and by a header on the way.
    let mut attempt = Attempt::new();
    let hash = attempt.target().hash();
    attempt.justification.commit.precommits[3] = attempt.voters.vote_for(3, hash, 6);
    attempt.refused(Error::WrongVoteNumber { hash, claimed: 6 });

    let mut attempt = Attempt::new();
    let hash = attempt.chain.header(6).hash();
    attempt.justification.commit.precommits[3] = attempt.voters.vote_for(3, hash, 7);
    attempt.justification.votes_ancestries = attempt.chain.range(6, 6);
    attempt.refused(Error::WrongVoteNumber { hash, claimed: 7 });

    let mut attempt = Attempt::new();
    let mut skipping = child(Some(attempt.target()));
    skipping.number = 7;
    let hash = attempt.target().hash();
    attempt.justification.commit.precommits[3] = attempt.voters.vote(3, &skipping);
    attempt.justification.votes_ancestries = vec![skipping];
    attempt.refused(Error::WrongVoteNumber { hash, claimed: 6 });
}

#[test]
fn refuses_unknown_ancestry_of_a_vote() {
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits[3] = attempt.voters.vote(3, attempt.chain.header(7));
    attempt.justification.votes_ancestries = attempt.chain.range(7, 7);
    let hash = attempt.chain.header(6).hash();
    attempt.refused(Error::UnknownVoteAncestry { hash });
}

#[test]
fn refuses_unused_ancestry_headers() {
    let mut attempt = Attempt::new();
    attempt.justification.votes_ancestries = attempt.chain.range(6, 6);
    let hash = attempt.chain.header(6).hash();
    attempt.refused(Error::UnusedAncestry { hash });

    // The same one twice.
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits[3] = attempt.voters.vote(3, attempt.chain.header(6));
    attempt.justification.votes_ancestries = vec![attempt.chain.header(6).clone(); 2];
    attempt.refused(Error::UnusedAncestry { hash });
}

#[test]
fn refuses_too_few_votes() {
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits.truncate(2);
    attempt.refused(Error::TooFewVotes { weight: 2, threshold: 3 });

    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits.clear();
    attempt.refused(Error::TooFewVotes { weight: 0, threshold: 3 });

    // Heads do not count, weight does.
    let mut attempt = Attempt::new();
    attempt.voters.keys[0].1 = 10;
    attempt.justification.commit.precommits.remove(0);
    attempt.refused(Error::TooFewVotes { weight: 3, threshold: 9 });
}

#[test]
fn refuses_a_forged_signature() {
    // Bytes of a signature; a key of somebody else; another round; another target.
    let voter = Attempt::new().voters.public(2);
    let forged = Error::ForgedSignature { voter: voter.clone() };

    let mut attempt = Attempt::new();
    let mut bytes = [0; 64];
    bytes.copy_from_slice(attempt.justification.commit.precommits[2].signature.as_ref());
    bytes[40] ^= 1;
    attempt.justification.commit.precommits[2].signature = sp_core::ed25519::Signature::from_raw(bytes).into();
    attempt.refused(forged.clone());

    let mut attempt = Attempt::new();
    let target = attempt.justification.commit.precommits[2].precommit.clone();
    attempt.justification.commit.precommits[2] = sign(&key(9), 3, target);
    attempt.justification.commit.precommits[2].id = voter;
    attempt.refused(forged.clone());

    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits[2].signature = attempt.voters.vote(2, attempt.chain.header(6)).signature;
    attempt.refused(forged);

    let mut attempt = Attempt::new();
    attempt.justification.round += 1;
    let voter = attempt.voters.public(0);
    attempt.refused(Error::ForgedSignature { voter });
}

#[test]
fn refuses_a_forged_signature_even_beyond_the_threshold() {
    let mut attempt = Attempt::new();
    attempt.justification.commit.precommits[3].signature = attempt.justification.commit.precommits[0].signature.clone();
    let voter = attempt.voters.public(3);
    attempt.refused(Error::ForgedSignature { voter });
}

#[test]
fn refuses_votes_of_the_wrong_set() {
    // The same keys under the ids next to the current one; then another one's keys.
    for found in [2, 4] {
        let mut attempt = Attempt::new();
        attempt.justification = Voters { id: found, ..attempt.voters.clone() }.justify(attempt.target());
        attempt.refused(Error::WrongSet { current: 3, found });
    }
    let mut attempt = Attempt::new();
    attempt.justification = Voters::new(3, 5..=8).justify(attempt.target());
    attempt.refused(Error::UnknownVoter { voter: Voters::new(3, [5]).public(0) });
}
