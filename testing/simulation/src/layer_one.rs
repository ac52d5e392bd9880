//! What the simulated layer one does with extrinsics of an enclave's account. It believes what the pallets would check of
//! evidence and signatures, and checks what orders and counts.

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    AccountId, Acknowledgement, Anchor, Anchored, BlockNumber, H256, Nonce, ShardBirth, ShardEntry, ShardId,
    SidechainBlockConfirmation, storage,
};
use cloister_synthetic_layer_one::Registry;
use codec::{Compact, Decode, Encode};
use sp_core::{Pair, ed25519};
use sp_runtime::{MultiAddress, MultiSignature, generic::Era};

use crate::UNIT;

type Storage = BTreeMap<Vec<u8>, Vec<u8>>;

/// What landed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A shard was born.
    Born(ShardId),
    /// A block was anchored.
    Anchored(Anchor),
    /// An anchor did not follow the stored one.
    Refused(Anchor),
    /// An anchor was not acknowledged by the incarnation that is registered.
    Unacknowledged(Anchor),
    /// Consumption was confirmed up to this block, with this root.
    Processed(BlockNumber, H256),
}

/// What is signed of an extrinsic besides its call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub account: AccountId,
    pub nonce: Nonce,
    pub era: Era,
}

impl Signed {
    /// Reads up to the call.
    pub fn read(input: &mut &[u8]) -> Self {
        Compact::<u32>::decode(input).unwrap();
        assert_eq!(u8::decode(input).unwrap(), 0x84, "signed, version 4");
        let MultiAddress::Id(account) = MultiAddress::<AccountId, ()>::decode(input).unwrap() else {
            panic!("no account")
        };
        MultiSignature::decode(input).unwrap();
        let era = Era::decode(input).unwrap();
        let Compact(nonce) = Compact::<Nonce>::decode(input).unwrap();
        Compact::<u128>::decode(input).unwrap();
        assert_eq!(u8::decode(input).unwrap(), 0, "no metadata hash");
        Self { account, nonce, era }
    }
}

/// Executes a signed extrinsic in the block `at` if its nonce is the account's next. `None` if it is not.
pub fn execute(storage: &mut Storage, genesis: &H256, at: BlockNumber, extrinsic: &[u8]) -> Option<Vec<Effect>> {
    let input = &mut &extrinsic[..];
    let Signed { account, nonce, .. } = Signed::read(input);
    if nonce != next_nonce(storage, &account) {
        return None;
    }
    use_nonce(storage, &account);
    let mut effects = Vec::new();
    call(storage, genesis, at, input, &mut effects);
    assert!(input.is_empty(), "bytes after the call");
    Some(effects)
}

/// The account's next nonce.
pub fn next_nonce(storage: &Storage, account: &AccountId) -> Nonce {
    let info = storage.get(&storage::account(account));
    info.map_or(0, |info| storage::AccountInfo::decode(&mut &info[..]).unwrap().nonce)
}

/// The account signed one more extrinsic.
pub fn use_nonce(storage: &mut Storage, account: &AccountId) {
    let nonce = next_nonce(storage, account) + 1;
    let info = storage::AccountInfo { nonce, free: UNIT, ..Default::default() };
    storage.insert(storage::account(account), info.encode());
}

/// Whether the member's registered incarnation signed it.
fn acknowledged(storage: &Storage, message: &[u8], acknowledgement: &Acknowledgement) -> bool {
    let Acknowledgement { account, signature } = acknowledgement;
    Registry::record(storage, account).is_some_and(|record| {
        let key = ed25519::Public::from_raw(record.incarnation_key);
        ed25519::Pair::verify(&ed25519::Signature::from_raw(*signature), message, &key)
    })
}

/// Consumed entries go, so many at a time.
fn prune(storage: &mut Storage, shard: &ShardId) {
    let decoded = |key: &Vec<u8>| storage.get(key).map(|bytes| u64::decode(&mut &bytes[..]).unwrap()).unwrap_or(0);
    let from = decoded(&storage::inbox_pruned(shard));
    let anchored = storage.get(&storage::anchor(shard)).map(|bytes| Anchored::decode(&mut &bytes[..]).unwrap());
    let to = anchored.map_or(0, |anchored| anchored.anchor.inbox_consumed).min(from + PRUNED_PER_CALL);
    for number in from..to {
        storage.remove(&storage::inbox_entry(shard, number)).expect("pruned twice");
    }
    storage.insert(storage::inbox_pruned(shard), to.max(from).encode());
}

const PRUNED_PER_CALL: u64 = 256;

fn call(storage: &mut Storage, genesis: &H256, at: BlockNumber, input: &mut &[u8], effects: &mut Vec<Effect>) {
    match <(u8, u8)>::decode(input).unwrap() {
        (9, 4) => {
            for _ in 0..Compact::<u32>::decode(input).unwrap().0 {
                call(storage, genesis, at, input, effects);
            }
        }
        (53, 0) => {
            type Arguments = (ShardId, Option<SidechainBlockConfirmation>, Anchor, Vec<Acknowledgement>);
            let (shard, ancestor, anchor, acknowledgements) = Arguments::decode(input).unwrap();
            let [acknowledgement] = &acknowledgements[..] else { panic!("one member acknowledges") };
            if !acknowledged(storage, &anchor.signed_bytes(genesis, &shard), acknowledgement) {
                return effects.push(Effect::Unacknowledged(anchor));
            }
            let key = storage::anchor(&shard);
            let stored = storage.get(&key).map(|stored| Anchored::decode(&mut &stored[..]).unwrap().anchor);
            let follows = ancestor == stored.map(|stored| stored.confirmation())
                && stored.is_none_or(|stored| stored.number < anchor.number);
            if follows {
                storage.insert(key, Anchored { anchor, at }.encode());
            }
            effects.push(if follows { Effect::Anchored(anchor) } else { Effect::Refused(anchor) });
        }
        (54, 1) => {
            let (shard, _, number, root) = <(ShardId, H256, BlockNumber, H256)>::decode(input).unwrap();
            prune(storage, &shard);
            effects.push(Effect::Processed(number, root));
        }
        (54, 10) => {
            let birth = ShardBirth::decode(input).unwrap();
            let shard = birth.shard_id(genesis);
            storage.entry(storage::shard(&shard)).or_insert(ShardEntry { birth, born_at: at }.encode());
            effects.push(Effect::Born(shard));
        }
        (pallet, call) => panic!("the enclave's account calls {pallet}.{call}"),
    }
}
