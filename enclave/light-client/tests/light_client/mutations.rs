//! No mutation of something valid is accepted unless it still proves the same.

use std::collections::{BTreeMap, BTreeSet};

use cloister_chain_primitives::{H256, Header};
use cloister_light_client::{Error, Head, LightClient};
use codec::{DecodeAll, Encode};
use finality_grandpa::{validate_commit, voter_set::VoterSet};
use proptest::{prelude::*, sample::Index};
use sp_core::storage::StateVersion;

use cloister_synthetic_layer_one::{Chain, Justification, State, Voters, justification};

const TARGET: u32 = 3;

/// Five authorities of different weight finalize block 3; two voted for later blocks, one of them twice.
fn valid() -> (Chain, Voters, Justification) {
    let chain = Chain::new(5);
    let mut voters = Voters::new(2, 1..=5);
    for (weight, (_, held)) in (1..).zip(&mut voters.keys) {
        *held = weight;
    }
    let votes = [(0, 3), (1, 3), (2, 5), (3, 3), (4, 4), (4, 3)];
    let votes = votes.map(|(voter, number)| voters.vote(voter, chain.header(number)));
    let justification = justification(chain.header(TARGET), votes.to_vec(), chain.range(4, 5));
    (chain, voters, justification)
}

fn import(chain: &Chain, voters: &Voters, headers: Vec<Header>, encoded: &[u8]) -> Result<LightClient, Error> {
    let mut client = chain.client(voters);
    client.import(headers, encoded).map(|_| ()).map(|()| client)
}

#[test]
fn the_unmutated_is_accepted() {
    let (chain, voters, justification) = valid();
    import(&chain, &voters, chain.range(1, TARGET), &justification.encode()).unwrap();
}

/// A change of raw bytes.
#[derive(Clone, Debug)]
enum Bytes {
    Flip(Index, u8),
    Truncate(Index),
    Insert(Index, u8),
    Remove(Index),
    Overwrite(Index, Index),
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Bytes::Flip(at, bit)),
        1 => any::<Index>().prop_map(Bytes::Truncate),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Bytes::Insert(at, byte)),
        1 => any::<Index>().prop_map(Bytes::Remove),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Bytes::Overwrite(from, to)),
    ]
}

impl Bytes {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        match self {
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Truncate(at) => bytes.truncate(at.index(length)),
            Self::Insert(at, byte) => bytes.insert(at.index(length + 1), *byte),
            Self::Remove(at) => drop(bytes.remove(at.index(length))),
            Self::Overwrite(from, to) => {
                // 32 bytes, the size of the hashes and keys that an attacker would like to exchange.
                let size = length.min(32);
                let from = from.index(length - size + 1);
                bytes.copy_within(from..from + size, to.index(length - size + 1));
            }
        }
    }
}

/// A change of a decoded justification.
#[derive(Clone, Debug)]
enum Fields {
    RemoveVote(Index),
    RepeatVote(Index),
    SwapVotes(Index, Index),
    SwapSignatures(Index, Index),
    SwapVoters(Index, Index),
    SwapTargets(Index, Index),
    Retarget(Index, u32),
    Round(u64),
    CommitTarget(u32),
    RemoveAncestry(Index),
    RepeatAncestry(Index),
    SwapAncestries(Index, Index),
    AddAncestry(u32),
}

fn fields() -> impl Strategy<Value = Fields> {
    let one = any::<Index>;
    let two = || (any::<Index>(), any::<Index>());
    prop_oneof![
        4 => one().prop_map(Fields::RemoveVote),
        1 => one().prop_map(Fields::RepeatVote),
        2 => two().prop_map(|(a, b)| Fields::SwapVotes(a, b)),
        1 => two().prop_map(|(a, b)| Fields::SwapSignatures(a, b)),
        1 => two().prop_map(|(a, b)| Fields::SwapVoters(a, b)),
        1 => two().prop_map(|(a, b)| Fields::SwapTargets(a, b)),
        1 => (one(), 0u32..=5).prop_map(|(vote, number)| Fields::Retarget(vote, number)),
        1 => any::<u64>().prop_map(Fields::Round),
        1 => (0u32..=5).prop_map(Fields::CommitTarget),
        1 => one().prop_map(Fields::RemoveAncestry),
        1 => one().prop_map(Fields::RepeatAncestry),
        2 => two().prop_map(|(a, b)| Fields::SwapAncestries(a, b)),
        1 => (0u32..=5).prop_map(Fields::AddAncestry),
    ]
}

impl Fields {
    fn apply(&self, justification: &mut Justification, chain: &Chain) {
        let Justification { round, commit, votes_ancestries: ancestries } = justification;
        let votes = &mut commit.precommits;
        let (count, headers) = (votes.len(), ancestries.len());
        if count == 0 || headers == 0 {
            return;
        }
        let vote = |at: &Index| at.index(count);
        let header = |at: &Index| at.index(headers);
        match self {
            Self::RemoveVote(at) => drop(votes.remove(vote(at))),
            Self::RepeatVote(at) => votes.push(votes[vote(at)].clone()),
            Self::SwapVotes(a, b) => {
                let (a, b) = (vote(a), vote(b));
                votes.swap(a, b);
            }
            Self::SwapSignatures(a, b) => {
                let (a, b) = (vote(a), vote(b));
                let signature = votes[a].signature.clone();
                votes[a].signature = std::mem::replace(&mut votes[b].signature, signature);
            }
            Self::SwapVoters(a, b) => {
                let (a, b) = (vote(a), vote(b));
                let id = votes[a].id.clone();
                votes[a].id = std::mem::replace(&mut votes[b].id, id);
            }
            Self::SwapTargets(a, b) => {
                let (a, b) = (vote(a), vote(b));
                let precommit = votes[a].precommit.clone();
                votes[a].precommit = std::mem::replace(&mut votes[b].precommit, precommit);
            }
            Self::Retarget(at, number) => {
                let at = vote(at);
                votes[at].precommit.target_number = *number;
                votes[at].precommit.target_hash = chain.header(*number).hash();
            }
            Self::Round(other) => *round = *other,
            Self::CommitTarget(number) => {
                commit.target_number = *number;
                commit.target_hash = chain.header(*number).hash();
            }
            Self::RemoveAncestry(at) => drop(ancestries.remove(header(at))),
            Self::RepeatAncestry(at) => ancestries.push(ancestries[header(at)].clone()),
            Self::SwapAncestries(a, b) => {
                let (a, b) = (header(a), header(b));
                ancestries.swap(a, b);
            }
            Self::AddAncestry(number) => ancestries.push(chain.header(*number).clone()),
        }
    }
}

/// Whether `mutated` is the same claim as `original`, with enough of its votes and nothing new.
fn proves_the_same(original: &Justification, mutated: &[u8], voters: &Voters) -> bool {
    let Ok(mutated) = Justification::decode_all(&mut &*mutated) else { return false };
    let weights: BTreeMap<_, _> = voters.list().into_iter().collect();
    let votes: BTreeSet<_> = original.commit.precommits.iter().map(Encode::encode).collect();
    let kept: BTreeSet<_> = mutated.commit.precommits.iter().map(Encode::encode).collect();
    let who: BTreeSet<_> = mutated.commit.precommits.iter().map(|vote| &vote.id).collect();
    let weight: u64 = who.into_iter().map(|voter| weights.get(voter).copied().unwrap_or(0)).sum();
    let headers: BTreeSet<_> = original.votes_ancestries.iter().map(Encode::encode).collect();
    // 15 in all.
    weight >= 11
        && mutated.round == original.round
        && mutated.commit.target_hash == original.commit.target_hash
        && mutated.commit.target_number == original.commit.target_number
        && kept.is_subset(&votes)
        && kept.len() == mutated.commit.precommits.len()
        && mutated.votes_ancestries.iter().all(|header| headers.contains(&header.encode()))
}

#[test]
fn no_flipped_bit_of_a_justification_is_accepted() {
    let (chain, voters, justification) = valid();
    let headers = chain.range(1, TARGET);
    let encoded = justification.encode();
    for bit in 0..encoded.len() * 8 {
        let mut mutated = encoded.clone();
        mutated[bit / 8] ^= 1 << (bit % 8);
        assert!(import(&chain, &voters, headers.clone(), &mutated).is_err(), "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_justifications(fields in prop::collection::vec(fields(), 0..4), bytes in prop::collection::vec(bytes(), 0..2)) {
        let (chain, voters, original) = valid();
        let mut mutated = original.clone();
        fields.iter().for_each(|change| change.apply(&mut mutated, &chain));
        let mut mutated = mutated.encode();
        bytes.iter().for_each(|change| change.apply(&mut mutated));
        if let Ok(client) = import(&chain, &voters, chain.range(1, TARGET), &mutated) {
            prop_assert_eq!(client.head(), chain.head(TARGET));
            prop_assert!(proves_the_same(&original, &mutated, &voters));
        }
    }

    #[test]
    fn mutated_headers(changes in prop::collection::vec(bytes(), 1..3)) {
        let (chain, voters, justification) = valid();
        let original = chain.range(1, TARGET);
        let mut mutated = original.encode();
        changes.iter().for_each(|change| change.apply(&mut mutated));
        if let Ok(headers) = Vec::<Header>::decode_all(&mut &*mutated) {
            let same = headers == original;
            prop_assert_eq!(import(&chain, &voters, headers, &justification.encode()).is_ok(), same);
        }
    }

    #[test]
    fn mutated_proofs(
        changes in prop::collection::vec((any::<Index>(), bytes()), 0..3),
        (removed, repeated, reversed) in (prop::option::of(any::<Index>()), prop::option::of(any::<Index>()), any::<bool>()),
        foreign in any::<bool>(),
    ) {
        let value = |seed: u8| (vec![seed; 4], vec![seed; usize::from(seed)]);
        let state = State::new((0..60).map(value), StateVersion::V1);
        let keys: Vec<_> = [0, 20, 59, 77].map(|seed: u8| vec![seed; 4]).to_vec();
        let original = state.prove(&keys);
        let client = state.finalized();
        let header = client.finalized_header().unwrap();
        let expected = header.read(original.clone(), &keys).unwrap();

        let mut mutated = original;
        for (node, change) in &changes {
            let node = node.index(mutated.len());
            change.apply(&mut mutated[node]);
        }
        if let Some(node) = removed {
            mutated.remove(node.index(mutated.len()));
        }
        if let Some(node) = repeated {
            mutated.push(mutated[node.index(mutated.len())].clone());
        }
        if foreign {
            // Nodes of a state in which the values differ.
            let other = State::new((0..60).map(|seed| (vec![seed; 4], vec![seed + 1; 40])), StateVersion::V1);
            mutated.extend(other.prove(&keys));
        }
        if reversed {
            mutated.reverse();
        }
        if let Ok(values) = header.read(mutated, &keys) {
            prop_assert_eq!(values, expected);
        }
    }

    #[test]
    fn agrees_with_full_nodes(
        weights in prop::collection::vec(1u64..6, 1..7),
        cast in prop::collection::vec(prop::sample::subsequence(vec![3u32, 4, 5], 0..=2), 7),
    ) {
        let chain = Chain::new(5);
        let mut voters = Voters::new(2, (1..).take(weights.len()));
        for (weight, (_, held)) in weights.iter().zip(&mut voters.keys) {
            *held = *weight;
        }
        let set = VoterSet::new(voters.list()).unwrap();
        let cast: Vec<_> = cast.iter().take(weights.len()).enumerate().collect();
        for target in 3..=5 {
            // As full nodes do: votes for the block and its descendants, and the headers that lead to them.
            let votes: Vec<_> = cast
                .iter()
                .flat_map(|(voter, numbers)| numbers.iter().map(move |number| (*voter, *number)))
                .filter(|(_, number)| *number >= target)
                .collect();
            let highest = votes.iter().map(|(_, number)| *number).max().unwrap_or(target);
            let ancestries = if highest > target { chain.range(target + 1, highest) } else { vec![] };
            let votes = votes.into_iter().map(|(voter, number)| voters.vote(voter, chain.header(number))).collect();
            let justification = justification(chain.header(target), votes, ancestries);

            let theirs = validate_commit(&justification.commit, &set, &Route(&chain)).unwrap().is_valid();
            let ours = import(&chain, &voters, chain.range(1, target), &justification.encode());
            // They ask for the highest block that the votes finalize, we for any; and they let an authority that
            // equivocated count for every block.
            let weight = |supports: &dyn Fn(&Vec<u32>) -> bool| -> u64 {
                cast.iter().filter(|(_, numbers)| supports(numbers)).map(|(voter, _)| weights[*voter]).sum()
            };
            let supporting = weight(&|numbers| numbers.iter().any(|number| *number >= target));
            let honest = cast.iter().all(|(_, numbers)| numbers.len() < 2);
            prop_assert_eq!(ours.is_ok(), supporting >= set.threshold().get());
            prop_assert!(!theirs || ours.is_ok());
            if honest {
                let further = |numbers: &Vec<u32>| numbers.iter().any(|number| *number > target);
                prop_assert_eq!(theirs, ours.is_ok() && weight(&further) < set.threshold().get());
            }
            if let Ok(client) = ours {
                prop_assert_eq!(client.head(), Head { number: target, hash: chain.header(target).hash() });
            }
        }
    }
}

/// The chain as `finality_grandpa` asks for it.
struct Route<'a>(&'a Chain);

impl finality_grandpa::Chain<H256, u32> for Route<'_> {
    fn ancestry(&self, base: H256, block: H256) -> Result<Vec<H256>, finality_grandpa::Error> {
        let position = |hash| self.0.headers.iter().position(|header| header.hash() == hash);
        match (position(base), position(block)) {
            (Some(base), Some(block)) if base < block => {
                Ok(self.0.headers[base + 1..block].iter().rev().map(Header::hash).collect())
            }
            _ => Err(finality_grandpa::Error::NotDescendent),
        }
    }
}
