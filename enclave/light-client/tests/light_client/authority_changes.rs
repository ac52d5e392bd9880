//! Changes of the authority set, and what stops a client for good.

use cloister_light_client::{Error, LightClient};
use codec::Encode;
use proptest::prelude::*;
use sp_consensus_grandpa::{ConsensusLog, GRANDPA_ENGINE_ID, ScheduledChange};
use sp_core::Pair;
use sp_runtime::DigestItem;

use cloister_synthetic_layer_one::{Chain, Voters, key};

fn import_refused(chain: &Chain, client: &mut LightClient, last: u32, voters: &Voters, error: Error) {
    let (head, set) = (client.head(), client.set_id());
    assert_eq!(chain.import(client, last, voters), Err(error));
    assert_eq!((client.head(), client.set_id()), (head, set));
}

#[test]
fn an_immediate_change_takes_effect_after_its_own_block() {
    let (old, new) = (Voters::new(0, 1..=4), Voters::new(1, 5..=8));
    let mut chain = Chain::new(2);
    let change = chain.push_change(&new, 0);
    chain.extend(3);
    let mut client = chain.client(&old);

    import_refused(&chain, &mut client, change + 1, &old, Error::PastSetChange { last: change });
    import_refused(&chain, &mut client, change + 1, &new, Error::PastSetChange { last: change });
    let stranger = Error::UnknownVoter { voter: new.public(0) };
    import_refused(&chain, &mut client, change, &new, stranger);

    chain.import(&mut client, change, &old).unwrap();
    assert_eq!((client.set_id(), client.set_changes_after()), (1, None));
    let stranger = Error::UnknownVoter { voter: old.public(0) };
    import_refused(&chain, &mut client, change + 1, &old, stranger);
    chain.import(&mut client, change + 3, &new).unwrap();
}

#[test]
fn a_delayed_change_takes_effect_after_the_delay() {
    let (old, new) = (Voters::new(9, 1..=4), Voters::new(10, 3..=6));
    let mut chain = Chain::new(1);
    let last = chain.push_change(&new, 3) + 3;
    chain.extend(6);
    let mut client = chain.client(&old);

    chain.import(&mut client, 2, &old).unwrap();
    assert_eq!((client.set_id(), client.set_changes_after()), (9, Some(last)));
    import_refused(&chain, &mut client, last + 1, &old, Error::PastSetChange { last });
    chain.import(&mut client, last - 1, &old).unwrap();
    import_refused(&chain, &mut client, last + 2, &new, Error::PastSetChange { last });
    let stranger = Error::UnknownVoter { voter: new.public(2) };
    let mut next = new.clone();
    next.keys.rotate_left(2);
    import_refused(&chain, &mut client, last, &next, stranger);
    chain.import(&mut client, last, &old).unwrap();
    assert_eq!((client.set_id(), client.set_changes_after()), (10, None));
    chain.import(&mut client, last + 2, &new).unwrap();
}

#[test]
fn a_change_can_be_signalled_and_take_effect_within_one_import() {
    let (old, new) = (Voters::new(0, 1..=4), Voters::new(1, 5..=8));
    let mut chain = Chain::new(1);
    let last = chain.push_change(&new, 2) + 2;
    chain.extend(4);
    let mut client = chain.client(&old);
    chain.import(&mut client, last, &old).unwrap();
    assert_eq!(client.set_id(), 1);
    chain.import(&mut client, last + 2, &new).unwrap();
}

#[test]
fn the_same_keys_become_another_set() {
    let old = Voters::new(0, 1..=4);
    let new = Voters { id: 1, ..old.clone() };
    let mut chain = Chain::new(0);
    let change = chain.push_change(&new, 0);
    chain.extend(1);
    let mut client = chain.client(&old);
    chain.import(&mut client, change, &old).unwrap();
    import_refused(&chain, &mut client, change + 1, &old, Error::WrongSet { current: 1, found: 0 });
    chain.import(&mut client, change + 1, &new).unwrap();
}

#[test]
fn a_vote_that_runs_ahead_does_not_move_the_change() {
    // Three of four vote for the signalling block itself, one already for a later block.
    let (old, new) = (Voters::new(0, 1..=4), Voters::new(1, 5..=8));
    let mut chain = Chain::new(0);
    let change = chain.push_change(&new, 0);
    chain.extend(2);
    let mut justification = old.justify(chain.header(change));
    justification.commit.precommits[3] = old.vote(3, chain.header(change + 1));
    justification.votes_ancestries = chain.range(change + 1, change + 1);
    let mut client = chain.client(&old);
    let header = client.import(chain.range(1, change), &justification.encode()).unwrap();
    assert_eq!(header.number(), change);
    chain.import(&mut client, change + 2, &new).unwrap();
}

#[test]
fn a_second_change_while_one_is_pending_is_refused() {
    let (old, new) = (Voters::new(0, 1..=4), Voters::new(1, 5..=8));
    let mut chain = Chain::new(0);
    chain.push_change(&new, 4);
    let second = chain.push_change(&old, 0);
    chain.extend(1);

    let mut client = chain.client(&old);
    import_refused(&chain, &mut client, second, &old, Error::SecondChange { number: second });
    chain.import(&mut client, 1, &old).unwrap();
    import_refused(&chain, &mut client, second, &old, Error::SecondChange { number: second });
    import_refused(&chain, &mut client, second + 1, &old, Error::SecondChange { number: second });

    // Two in one block.
    let mut chain = Chain::new(0);
    let log = ConsensusLog::ScheduledChange(ScheduledChange { next_authorities: new.list(), delay: 0u32 });
    let number = chain.push(|header| {
        for _ in 0..2 {
            header.digest.push(DigestItem::Consensus(GRANDPA_ENGINE_ID, log.encode()));
        }
    });
    import_refused(&chain, &mut chain.client(&old), number, &old, Error::SecondChange { number });
}

#[test]
fn a_forced_change_stops_the_client() {
    let (old, new) = (Voters::new(0, 1..=4), Voters::new(1, 5..=8));
    let mut chain = Chain::new(1);
    let change = ScheduledChange { next_authorities: new.list(), delay: 0u32 };
    let number = chain.push_log(ConsensusLog::ForcedChange(1, change));
    chain.extend(1);
    let mut client = chain.client(&old);
    let error = Error::ForcedChange { number };
    assert!(error.stops_for_good());
    import_refused(&chain, &mut client, number, &old, error.clone());
    import_refused(&chain, &mut client, number + 1, &old, error);
    chain.import(&mut client, number - 1, &old).unwrap();
}

#[test]
fn only_a_finalized_forced_change_counts() {
    let old = Voters::new(0, 1..=4);
    let mut chain = Chain::new(0);
    let change = ScheduledChange { next_authorities: old.list(), delay: 0u32 };
    let number = chain.push_log(ConsensusLog::ForcedChange(0, change));
    let mut client = chain.client(&old);
    let error = client.import(chain.range(1, number), &[]).unwrap_err();
    assert_eq!(error, Error::NoJustification);
    assert!(!error.stops_for_good());
}

#[test]
fn a_pause_stops_the_client() {
    let voters = Voters::new(0, 1..=4);
    let mut chain = Chain::new(1);
    let number = chain.push_log(ConsensusLog::Pause(10));
    let mut client = chain.client(&voters);
    import_refused(&chain, &mut client, number, &voters, Error::Paused { number });
}

#[test]
fn a_disabled_authority_and_a_resumption_change_nothing() {
    let voters = Voters::new(0, 1..=4);
    let mut chain = Chain::new(0);
    chain.push_log(ConsensusLog::OnDisabled(1));
    let last = chain.push_log(ConsensusLog::Resume(1));
    let mut client = chain.client(&voters);
    chain.import(&mut client, last, &voters).unwrap();
    assert_eq!((client.set_id(), client.set_changes_after()), (0, None));
}

#[test]
fn an_undecodable_digest_stops_the_client() {
    let voters = Voters::new(0, 1..=4);
    let valid = ConsensusLog::<u32>::OnDisabled(1).encode();
    for log in [vec![], vec![0xff], valid[..3].to_vec(), [valid, vec![0]].concat()] {
        let mut chain = Chain::new(0);
        let number = chain.push(|header| header.digest.push(DigestItem::Consensus(GRANDPA_ENGINE_ID, log)));
        let error = Error::UndecodableConsensusDigest { number };
        import_refused(&chain, &mut chain.client(&voters), number, &voters, error);
    }
    // Other engines' messages, and GRANDPA's name in items that only block authors write, are none of our concern.
    let mut chain = Chain::new(0);
    let last = chain.push(|header| {
        header.digest.push(DigestItem::Consensus(*b"aura", vec![0xff]));
        header.digest.push(DigestItem::PreRuntime(GRANDPA_ENGINE_ID, vec![0xff]));
        header.digest.push(DigestItem::Seal(GRANDPA_ENGINE_ID, vec![0xff]));
    });
    chain.import(&mut chain.client(&voters), last, &voters).unwrap();
}

#[test]
fn sets_that_cannot_finalize_are_refused() {
    let voters = Voters::new(0, 1..=4);
    let weighted = |weights: &[u64]| Voters {
        id: 1,
        keys: weights.iter().enumerate().map(|(seed, weight)| (key(seed as u8), *weight)).collect(),
    };
    for (next, error) in [
        (weighted(&[]), Error::EmptyAuthoritySet),
        (weighted(&[1, 0]), Error::ZeroWeight { authority: key(1).public() }),
        (weighted(&[u64::MAX, 1]), Error::WeightOverflow),
        (Voters::new(1, [5, 6, 5]), Error::DuplicateAuthority { authority: key(5).public() }),
    ] {
        let mut chain = Chain::new(0);
        let last = chain.push_change(&next, 0);
        import_refused(&chain, &mut chain.client(&voters), last, &voters, error);
    }
}

#[test]
fn changes_out_of_range_are_refused() {
    let mut chain = Chain::new(0);
    let number = chain.push_change(&Voters::new(1, 5..=8), u32::MAX);
    let voters = Voters::new(0, 1..=4);
    import_refused(&chain, &mut chain.client(&voters), number, &voters, Error::ChangeOutOfRange { number });

    let mut chain = Chain::new(0);
    let number = chain.push_change(&Voters::new(0, 5..=8), 0);
    let voters = Voters::new(u64::MAX, 1..=4);
    import_refused(&chain, &mut chain.client(&voters), number, &voters, Error::ChangeOutOfRange { number });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Through several sets with arbitrary gaps and delays, in imports of arbitrary length: each block is finalized by
    /// the set whose turn it is, by no other, and the set changes exactly after the block of the signal plus the delay.
    #[test]
    fn follows_any_sequence_of_changes(
        changes in prop::collection::vec((0u32..4, 0u32..4, 1u8..5), 1..6),
        steps in prop::collection::vec(1u32..6, 1..20),
    ) {
        let sets: Vec<Voters> = (0..=changes.len())
            .map(|id| Voters::new(id as u64, (0..id.checked_sub(1).map_or(3, |last| changes[last].2)).map(|n| id as u8 * 2 + n)))
            .collect();
        let mut chain = Chain::new(0);
        let mut last_blocks = vec![];
        for (next, (gap, delay, _)) in sets.iter().skip(1).zip(&changes) {
            chain.extend(*gap);
            last_blocks.push(chain.push_change(next, *delay) + delay);
            chain.extend(*delay);
        }
        chain.extend(3);
        let end = chain.headers.len() as u32 - 1;

        let mut client = chain.client(&sets[0]);
        let mut steps = steps.into_iter().cycle();
        while client.head().number < end {
            let set = last_blocks.iter().filter(|last| **last <= client.head().number).count();
            prop_assert_eq!(client.set_id(), set as u64);
            let bound = last_blocks.get(set).copied().unwrap_or(end);
            if bound < end {
                let past = Err(Error::PastSetChange { last: bound });
                prop_assert_eq!(chain.import(&mut client, bound + 1, &sets[set]), past);
            }
            let last = (client.head().number + steps.next().unwrap()).min(bound);
            for other in sets.iter().filter(|other| other.id != set as u64) {
                prop_assert!(chain.import(&mut client, last, other).is_err());
            }
            prop_assert_eq!(chain.import(&mut client, last, &sets[set]), Ok(chain.head(last)));
        }
        prop_assert_eq!(client.set_id(), changes.len() as u64);
    }
}
