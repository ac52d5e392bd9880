//! Confirmations of consumed layer-one blocks, repeated until layer one has them.

use std::collections::VecDeque;

use cloister_chain_primitives::{
    BlockNumber, H256, Nonce, ShardId,
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
};
use cloister_keys::AccountKey;
use sp_runtime::generic::Era;

/// Extrinsics of the enclave's account, one in flight at a time. Only the account's proven nonce tells that one landed.
pub(crate) struct Confirmations {
    chain: ChainVersion,
    waiting: VecDeque<Call>,
    in_flight: Option<InFlight>,
    seen: Option<Seen>,
}

struct InFlight {
    call: Call,
    nonce: Nonce,
    /// Last block in which the extrinsic is valid.
    expires: BlockNumber,
}

struct Seen {
    number: BlockNumber,
    hash: H256,
    /// Absent while the account does not exist, and so cannot pay.
    nonce: Option<Nonce>,
}

impl Confirmations {
    pub fn new(chain: ChainVersion) -> Self {
        Self { chain, waiting: VecDeque::new(), in_flight: None, seen: None }
    }

    pub fn set_version(&mut self, spec_version: u32, transaction_version: u32) {
        self.chain = ChainVersion { spec_version, transaction_version, ..self.chain };
    }

    /// A layer-one block whose inbox entries were consumed.
    pub fn add(&mut self, shard: ShardId, hash: H256, number: BlockNumber) {
        // No call of the inbox is executed yet, so the root over the executed ones is that of nothing.
        let nothing = H256::zero();
        if self.waiting.len() >= MAX_WAITING {
            // A newer confirmation says everything that an older one says.
            self.waiting.pop_front();
        }
        self.waiting.push_back(Call::confirm_processed_parentchain_block(&shard, &hash, number, &nothing));
    }

    /// The account's nonce as proven at a finalized block.
    pub fn observe(&mut self, number: BlockNumber, hash: H256, nonce: Option<Nonce>) {
        if let Some(in_flight) =
            self.in_flight.take_if(|sent| nonce.is_some_and(|next| next > sent.nonce) || number > sent.expires)
            && nonce.is_none_or(|next| next <= in_flight.nonce)
        {
            self.waiting.push_front(in_flight.call);
        }
        self.seen = Some(Seen { number, hash, nonce });
    }

    /// The next extrinsic to submit, if none is in flight.
    pub fn next_extrinsic(&mut self, account: &AccountKey) -> Option<Vec<u8>> {
        let seen = self.seen.as_ref()?;
        let nonce = seen.nonce?;
        if self.in_flight.is_some() {
            return None;
        }
        let call = self.waiting.pop_front()?;
        let era = Era::mortal(ERA_BLOCKS, u64::from(seen.number));
        let mortality = Mortality { era, birth_hash: seen.hash };
        let extrinsic = extrinsic::signed(&call, &account.account(), nonce, mortality, &self.chain, |payload| {
            account.sign(payload)
        });
        let expires = BlockNumber::try_from(era.death(u64::from(seen.number))).unwrap_or(BlockNumber::MAX);
        self.in_flight = Some(InFlight { call, nonce, expires });
        Some(extrinsic)
    }
}

/// How long a confirmation is valid, in layer-one blocks.
const ERA_BLOCKS: u64 = 64;
/// Most confirmations that wait.
const MAX_WAITING: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_confirmation_is_signed_again_and_a_landed_one_is_not() {
        let chain = ChainVersion { genesis: H256::repeat_byte(9), spec_version: 1, transaction_version: 1 };
        let account = AccountKey::draw().unwrap();
        let mut confirmations = Confirmations::new(chain);
        confirmations.add(ShardId::default(), H256::repeat_byte(1), 10);
        confirmations.add(ShardId::default(), H256::repeat_byte(2), 11);
        assert_eq!(confirmations.next_extrinsic(&account), None, "the nonce is not known yet");
        confirmations.observe(11, H256::repeat_byte(3), None);
        assert_eq!(confirmations.next_extrinsic(&account), None, "the account cannot pay yet");
        confirmations.observe(12, H256::repeat_byte(4), Some(0));
        let first = confirmations.next_extrinsic(&account).unwrap();
        assert_eq!(confirmations.next_extrinsic(&account), None, "one at a time");
        confirmations.observe(13, H256::repeat_byte(5), Some(0));
        assert_eq!(confirmations.next_extrinsic(&account), None);
        confirmations.observe(12 + 64 + 1, H256::repeat_byte(6), Some(0));
        let again = confirmations.next_extrinsic(&account).unwrap();
        assert_ne!(first, again, "signed anew for another era");
        confirmations.observe(80, H256::repeat_byte(7), Some(1));
        let second = confirmations.next_extrinsic(&account).unwrap();
        assert_ne!(again, second);
        confirmations.observe(81, H256::repeat_byte(8), Some(2));
        assert_eq!(confirmations.next_extrinsic(&account), None, "all landed");
    }
}
