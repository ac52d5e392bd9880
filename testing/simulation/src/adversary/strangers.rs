//! Users of layer one who forge anchors, confirmations, births and paths. One of them runs an enclave of its own.

use cloister_chain_primitives::{
    AccountId, Acknowledgement, Anchor, H256, OutboxEntry, OutboxKind, Registration,
    calls::Call,
    outbox::{self, OutboxTree},
};
use cloister_claims::Evidence;
use codec::Encode;
use rand::{Rng, seq::SliceRandom};
use sp_core::{Pair, ed25519};

use super::foreign;
use crate::{
    UNIT, bridge,
    layer_one::{self, Called},
    life::Life,
    pooled::{Pooled, STRANGER},
};

/// Has an enclave of the same code with another identity.
const LIAR: AccountId = AccountId::new([0x66; 32]);

impl Life {
    /// The liar's enclave is registered like any other.
    pub(crate) fn enroll_liar(&mut self) -> Result<(), String> {
        let registration = Registration {
            evidence: Evidence::Dcap(vec![]),
            incarnation_key: liar().public().0,
            tls_key_hash: [7; 32],
            block_number: 0,
            url: None,
        };
        let (storage, now) = (&mut self.world.storage, self.world.now);
        self.world.registry.register(storage, &LIAR, &registration, now).map_err(|refused| format!("{refused:?}"))
    }

    pub(crate) fn lie_on_layer_one(&mut self) -> Result<(), String> {
        let shard = self.shard();
        let (what, call) = match self.random.gen_range(0..10) {
            0..3 => self.forged_anchor(),
            3 => {
                let root = H256::repeat_byte(0xbd);
                let number = self.world.next_block();
                let call = Call::confirm_processed_parentchain_block(&shard, &H256::zero(), number, &root);
                ("lie: consumption confirmed by a stranger", call)
            }
            4 => {
                let mut birth = self.world.engine.birth().clone();
                birth.founder = LIAR;
                ("lie: birth of a shard that looks alike", Call::create_shard(&birth))
            }
            5 => ("lie: birth once more", Call::create_shard(self.world.engine.birth())),
            6 => {
                // A path that leads to a root of its own.
                let (entry, tree) = self.own_outbox();
                let Some((_, path)) = tree.prove(entry.number) else { return Ok(()) };
                ("lie: path to another root", Call::unshield_funds(&shard, &entry, &path))
            }
            7 | 8 => {
                // Of a start that may be superseded by now, or under an anchor that has gone.
                let newest = self.known.iter().rev().filter_map(|pooled| match pooled {
                    Pooled::Enclave { extrinsic, registration: None, .. } => Some(layer_one::call_bytes(extrinsic)),
                    _ => None,
                });
                let Some(call) = newest.take(4).collect::<Vec<_>>().choose(&mut self.random).cloned() else {
                    return Ok(());
                };
                self.count("lie: a start's calls by a stranger");
                self.pool.push(Pooled::Stranger(call));
                return Ok(());
            }
            _ => {
                let paid = self.known.iter().filter_map(|pooled| match pooled {
                    Pooled::Enclave { extrinsic, registration: None, .. } => Some(layer_one::calls(extrinsic)),
                    _ => None,
                });
                let paid: Vec<Called> =
                    paid.flatten().filter(|called| matches!(called, Called::Unshield { .. })).collect();
                let Some(Called::Unshield { mut entry, mut path, .. }) = paid.choose(&mut self.random).cloned() else {
                    return Ok(());
                };
                match self.random.gen_range(0..4) {
                    0 => {
                        (entry.number, path.number) = (entry.number + 1, path.number + 1);
                    }
                    1 => {
                        let other = if entry.kind == OutboxKind::Exit { OutboxKind::Return } else { OutboxKind::Exit };
                        (entry.kind, path.kind) = (other, other);
                    }
                    2 => path.leaf_index ^= 1,
                    _ => entry.id = H256::repeat_byte(0xbd),
                }
                ("lie: path altered", Call::unshield_funds(&shard, &entry, &path))
            }
        };
        self.count(what);
        self.pool.push(Pooled::Stranger(call.encode()));
        Ok(())
    }

    /// An entry that pays a stranger, and the tree in which it stands.
    fn own_outbox(&self) -> (OutboxEntry, OutboxTree) {
        let (genesis, shard) = (self.world.genesis(), self.shard());
        let number = self.model.ledger().books.outbox_next;
        let entry = OutboxEntry {
            number,
            id: outbox::outbox_id(&genesis, &shard, self.model.height() + 1, number),
            kind: OutboxKind::Return,
            beneficiary: STRANGER,
            amount: UNIT,
        };
        (entry.clone(), OutboxTree::new(&genesis, &shard, vec![entry]))
    }

    /// An anchor that no registered start of the shard's enclave acknowledged.
    fn forged_anchor(&mut self) -> (&'static str, Call) {
        let (genesis, shard) = (self.world.genesis(), self.shard());
        let stored = bridge::anchored(&self.world.storage, &shard).map(|stored| stored.anchor);
        let ancestor = stored.map(|stored| stored.confirmation());
        let (_, tree) = self.own_outbox();
        let ledger = self.model.ledger();
        let anchor = Anchor {
            number: stored.map_or(0, |stored| stored.number) + self.random.gen_range(1..3),
            header_hash: H256::repeat_byte(0xbd),
            inbox_consumed: ledger.consumed(),
            outbox_root: tree.root(),
            outbox_closed: ledger.books.outbox_closed,
            fees: ledger.books.fees,
        };
        let by_liar = liar().sign(&anchor.signed_bytes(&genesis, &shard)).0;
        let for_elsewhere = liar().sign(&anchor.signed_bytes(&genesis, &foreign().shard)).0;
        let founder = self.world.account();
        let genuine = self.known.iter().rev().find_map(|pooled| {
            let Pooled::Enclave { extrinsic, registration: None, .. } = pooled else { return None };
            layer_one::calls(extrinsic).into_iter().find_map(|called| match called {
                Called::Anchor { acknowledgements, .. } => acknowledgements.into_iter().next(),
                _ => None,
            })
        });
        let (what, acknowledgement) = match (self.random.gen_range(0..4), genuine) {
            (0, _) => ("lie: anchor by another enclave", Acknowledgement { account: LIAR, signature: by_liar }),
            (1, _) => ("lie: anchor by another's key", Acknowledgement { account: founder, signature: by_liar }),
            (2, _) => ("lie: anchor for another shard", Acknowledgement { account: LIAR, signature: for_elsewhere }),
            (_, Some(genuine)) => ("lie: anchor under another's signature", genuine),
            (_, None) => {
                let nothing = Acknowledgement { account: founder, signature: [0; 64] };
                ("lie: anchor by nobody", nothing)
            }
        };
        (what, Call::confirm_imported_sidechain_block(&shard, ancestor.as_ref(), &anchor, &[acknowledgement]))
    }
}

fn liar() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[0x66; 32])
}
