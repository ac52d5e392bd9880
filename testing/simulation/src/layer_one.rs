//! What the simulated layer one does with extrinsics. It believes what the pallets would check of evidence and
//! signatures of extrinsics, and checks what acknowledges, orders, counts and pays.

use std::collections::BTreeMap;

use cloister_chain_primitives::{
    AccountId, Acknowledgement, Anchor, Anchored, Balance, BlockNumber, H256, Nonce, OutboxEntry, OutboxPath,
    ShardBirth, ShardEntry, ShardId, SidechainBlockConfirmation, Verdict, storage,
};
use cloister_synthetic_layer_one::Registry;
use codec::{Compact, Decode, Encode};
use sp_core::{Pair, ed25519};
use sp_runtime::{MultiAddress, MultiSignature, generic::Era};

use crate::{
    Defect, UNIT,
    bridge::{Bridge, anchored, decoded, shard_entry},
};

/// What is read by proof.
pub type Storage = BTreeMap<Vec<u8>, Vec<u8>>;

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
    /// Who confirmed consumption is not the enclave.
    NotTheFounder,
    /// An entry of the outbox was settled; `again` is never true where settling works.
    Settled { entry: OutboxEntry, verdict: Verdict, again: bool },
    /// An entry is to come again later.
    Deferred(OutboxEntry),
    /// An entry was settled before.
    AlreadySettled(u64),
    /// An entry does not stand under the anchored root.
    NotInOutbox(OutboxEntry),
}

/// A call, as far as layer one knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Called {
    Born(Box<ShardBirth>),
    Anchor {
        shard: ShardId,
        ancestor: Option<SidechainBlockConfirmation>,
        anchor: Anchor,
        acknowledgements: Vec<Acknowledgement>,
    },
    Processed {
        shard: ShardId,
        number: BlockNumber,
        root: H256,
    },
    Unshield {
        shard: ShardId,
        entry: OutboxEntry,
        path: OutboxPath,
    },
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

/// The calls in an extrinsic, those of a batch one by one.
pub fn calls(extrinsic: &[u8]) -> Vec<Called> {
    let input = &mut &extrinsic[..];
    Signed::read(input);
    called(input)
}

/// The encoded call of an extrinsic.
pub fn call_bytes(extrinsic: &[u8]) -> Vec<u8> {
    let input = &mut &extrinsic[..];
    Signed::read(input);
    input.to_vec()
}

/// What stands in an encoded call.
pub fn called(mut call: &[u8]) -> Vec<Called> {
    let mut calls = Vec::new();
    decode(&mut call, &mut calls);
    assert!(call.is_empty(), "bytes after the call");
    calls
}

fn decode(input: &mut &[u8], calls: &mut Vec<Called>) {
    match <(u8, u8)>::decode(input).unwrap() {
        (9, 4) => (0..Compact::<u32>::decode(input).unwrap().0).for_each(|_| decode(input, calls)),
        (53, 0) => {
            let (shard, ancestor, anchor, acknowledgements) = Decode::decode(input).unwrap();
            calls.push(Called::Anchor { shard, ancestor, anchor, acknowledgements });
        }
        (54, 1) => {
            let (shard, _, number, root) = <(ShardId, H256, BlockNumber, H256)>::decode(input).unwrap();
            calls.push(Called::Processed { shard, number, root });
        }
        (54, 3) => {
            type Arguments = (ShardId, AccountId, Balance, H256, OutboxPath);
            let (shard, beneficiary, amount, id, path) = Arguments::decode(input).unwrap();
            let entry = OutboxEntry { number: path.number, id, kind: path.kind, beneficiary, amount };
            calls.push(Called::Unshield { shard, entry, path });
        }
        (54, 10) => calls.push(Called::Born(Box::new(ShardBirth::decode(input).unwrap()))),
        (pallet, call) => panic!("unexpected call {pallet}.{call}"),
    }
}

/// A block in the making.
pub struct LayerOne<'a> {
    pub storage: &'a mut Storage,
    pub bridge: &'a mut Bridge,
    pub genesis: H256,
    /// Its height.
    pub at: BlockNumber,
}

impl LayerOne<'_> {
    /// Executes a signed extrinsic if its nonce is the account's next. `None` if it is not.
    pub fn execute(&mut self, extrinsic: &[u8]) -> Option<Vec<Effect>> {
        let Signed { account, nonce, .. } = Signed::read(&mut &extrinsic[..]);
        if nonce != next_nonce(self.storage, &account) {
            return None;
        }
        use_nonce(self.storage, &account);
        Some(self.dispatch(&account, &call_bytes(extrinsic)))
    }

    /// Executes an encoded call of `sender`.
    pub fn dispatch(&mut self, sender: &AccountId, call: &[u8]) -> Vec<Effect> {
        called(call).into_iter().map(|called| self.call(sender, called)).collect()
    }

    fn call(&mut self, sender: &AccountId, called: Called) -> Effect {
        let Self { storage, bridge, genesis, at } = self;
        match called {
            Called::Born(birth) => {
                let shard = birth.shard_id(genesis);
                storage.entry(storage::shard(&shard)).or_insert(ShardEntry::born(*birth, *at).encode());
                Effect::Born(shard)
            }
            Called::Anchor { shard, ancestor, anchor, acknowledgements } => {
                let [acknowledgement] = &acknowledgements[..] else { panic!("one member acknowledges") };
                let message = anchor.signed_bytes(genesis, &shard);
                let is_member = is_founder(storage, &shard, &acknowledgement.account)
                    || bridge.defect == Some(Defect::TakesAnyMember);
                if !is_member || !acknowledged(storage, &message, acknowledgement) {
                    return Effect::Unacknowledged(anchor);
                }
                let stored = anchored(storage, &shard).map(|stored| stored.anchor);
                let follows = ancestor == stored.map(|stored| stored.confirmation())
                    && stored.is_none_or(|stored| stored.number < anchor.number);
                if !follows {
                    return Effect::Refused(anchor);
                }
                storage.insert(storage::anchor(&shard), Anchored { anchor, at: *at }.encode());
                bridge.repay(storage, &shard, sender);
                Effect::Anchored(anchor)
            }
            Called::Processed { shard, .. } if !is_founder(storage, &shard, sender) => Effect::NotTheFounder,
            Called::Processed { shard, number, root } => {
                prune(storage, &shard);
                bridge.prune_settled(storage, &shard, PRUNED_PER_CALL);
                bridge.repay(storage, &shard, sender);
                Effect::Processed(number, root)
            }
            Called::Unshield { shard, entry, path } => {
                let effect = bridge.unshield(storage, genesis, *at, &shard, entry, &path);
                if matches!(effect, Effect::Settled { .. }) {
                    bridge.repay(storage, &shard, sender);
                }
                effect
            }
        }
    }
}

/// The account's next nonce.
pub fn next_nonce(storage: &Storage, account: &AccountId) -> Nonce {
    decoded::<storage::AccountInfo>(storage, &storage::account(account)).map_or(0, |info| info.nonce)
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

/// Whether the account is the shard's one member, and registered.
fn is_founder(storage: &Storage, shard: &ShardId, account: &AccountId) -> bool {
    let is_founder = shard_entry(storage, shard).is_some_and(|entry| entry.birth.founder == *account);
    is_founder && Registry::record(storage, account).is_some()
}

/// Consumed entries go, so many at a time.
fn prune(storage: &mut Storage, shard: &ShardId) {
    let from = decoded::<u64>(storage, &storage::inbox_pruned(shard)).unwrap_or(0);
    let consumed = anchored(storage, shard).map_or(0, |anchored| anchored.anchor.inbox_consumed);
    let to = consumed.min(from + PRUNED_PER_CALL).max(from);
    for number in from..to {
        storage.remove(&storage::inbox_entry(shard, number)).expect("pruned twice");
    }
    storage.insert(storage::inbox_pruned(shard), to.encode());
}

const PRUNED_PER_CALL: u64 = 256;
