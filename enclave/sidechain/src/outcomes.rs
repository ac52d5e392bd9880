//! What became of calls, for their senders, for a while.

use std::collections::{BTreeMap, VecDeque};

use cloister_chain_primitives::{AccountId, H256};
use cloister_wire::Outcome;

use crate::recovery::CallOutcome;

/// Outcomes of the last [`KEPT_BLOCKS`] blocks, or fewer if they are more than [`MAX_OUTCOMES`]. They are no state: a call
/// that failed leaves its nonce and its fee, and nothing else.
#[derive(Default)]
pub(crate) struct Outcomes {
    by_call: BTreeMap<(AccountId, H256), Outcome>,
    by_block: VecDeque<(u64, Vec<(AccountId, H256)>)>,
}

impl Outcomes {
    pub fn add(&mut self, block_number: u64, outcomes: Vec<CallOutcome>) {
        let mut keys = Vec::with_capacity(outcomes.len());
        for (account, operation, result, outbox) in outcomes {
            keys.push((account.clone(), operation));
            self.by_call.insert((account, operation), Outcome { block_number, result, outbox });
        }
        self.by_block.push_back((block_number, keys));
        let oldest = block_number.saturating_sub(KEPT_BLOCKS);
        while self.by_block.front().is_some_and(|(number, _)| {
            *number <= oldest || (self.by_call.len() > MAX_OUTCOMES && *number < block_number)
        }) {
            for key in self.by_block.pop_front().into_iter().flat_map(|(_, keys)| keys) {
                self.by_call.remove(&key);
            }
        }
    }

    pub fn get(&self, account: &AccountId, operation: &H256) -> Option<&Outcome> {
        self.by_call.get(&(account.clone(), *operation))
    }
}

const KEPT_BLOCKS: u64 = 1_000;
/// Some 20 MB of them.
const MAX_OUTCOMES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_kept_for_a_thousand_blocks() {
        let account = AccountId::new([1; 32]);
        let mut outcomes = Outcomes::default();
        for number in 1..=1_001u64 {
            outcomes.add(number, vec![(account.clone(), H256::from_low_u64_be(number), Ok(()), None)]);
        }
        assert_eq!(outcomes.get(&account, &H256::from_low_u64_be(1)), None);
        assert_eq!(outcomes.get(&account, &H256::from_low_u64_be(2)).map(|outcome| outcome.block_number), Some(2));
        assert_eq!(outcomes.get(&AccountId::new([2; 32]), &H256::from_low_u64_be(2)), None);
        assert_eq!(outcomes.by_call.len(), 1_000);
    }

    #[test]
    fn outcomes_of_full_blocks_take_bounded_memory() {
        let account = AccountId::new([1; 32]);
        let mut outcomes = Outcomes::default();
        let hash = |block: u64, call: u64| H256::from_low_u64_be(block << 32 | call);
        for block in 1..=150 {
            outcomes.add(block, (0..1_000).map(|call| (account.clone(), hash(block, call), Ok(()), None)).collect());
        }
        assert_eq!((outcomes.by_call.len(), outcomes.by_block.len()), (MAX_OUTCOMES, 100));
        assert!(outcomes.get(&account, &hash(51, 0)).is_some() && outcomes.get(&account, &hash(50, 0)).is_none());
        let more = 2 * MAX_OUTCOMES as u64;
        outcomes.add(151, (0..more).map(|call| (account.clone(), hash(151, call), Ok(()), None)).collect());
        assert_eq!(outcomes.by_block.len(), 1, "the newest block's stay");
    }
}
