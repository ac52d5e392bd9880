//! What users of layer one send into the inbox that is no call and no shielding to anybody, one by one and in floods.

use cloister_chain_primitives::{Balance, H256, InboxEntry};
use cloister_wire::{
    Getter, PublicGetter, TrustedCall, TrustedCallSigned, TrustedOperation,
    envelope::{self, Context, Purpose},
};
use codec::Encode;
use rand::Rng;

use super::foreign;
use crate::{
    UNIT,
    clients::{self, CLIENTS},
    life::Life,
    model::Holds,
    pooled::{Deposit, Pooled, STRANGER},
};

impl Life {
    pub(crate) fn lie_in_the_inbox(&mut self) -> Result<(), String> {
        if self.random.gen_ratio(1, 50) {
            for _ in 0..self.random.gen_range(65..100) {
                // What might be RSA takes a millisecond to find out.
                let length = if self.random.gen_ratio(1, 30) { 384 } else { 385 };
                let entry = self.world.request(vec![7; length]);
                self.pool.push(Pooled::Deposit(Deposit { entry, holds: Holds::Invoke(None) }));
            }
            self.count("lie: flood of the inbox");
            return Ok(());
        }
        let (what, cyphertext) = self.rubbish();
        self.count(what);
        let deposit = match self.random.gen_bool(0.7) {
            true => Deposit { entry: self.world.request(cyphertext), holds: Holds::Invoke(None) },
            false => {
                let amount: Balance = UNIT + self.random.gen_range(0..UNIT);
                let mut beneficiary = cyphertext;
                beneficiary.truncate(300);
                let encrypted_beneficiary = beneficiary.try_into().unwrap_or_default();
                let entry = InboxEntry::Shield { encrypted_beneficiary, amount, sender: STRANGER };
                Deposit { entry, holds: Holds::Shield { beneficiary: None, amount, sender: STRANGER } }
            }
        };
        self.pool.push(Pooled::Deposit(deposit));
        Ok(())
    }

    /// Neither a request that its sender signed for this shard nor a beneficiary.
    fn rubbish(&mut self) -> (&'static str, Vec<u8>) {
        let who = self.random.gen_range(0..CLIENTS);
        let (account, liar) = (clients::accounts()[who].clone(), clients::accounts()[(who + 1) % CLIENTS].clone());
        let nonce = self.model.ledger().nonce(&account);
        let elsewhere = foreign().shard;
        let scope = self.world.engine.scope();
        let call = TrustedCall::BalanceTransfer(account.clone(), liar.clone(), UNIT / 10);
        let signed = |call: TrustedCall, scope: cloister_wire::SignatureScope| {
            let signature = clients::sign_as(who, &scope.call_bytes(&call, nonce));
            TrustedOperation::IndirectCall(TrustedCallSigned { call, nonce, signature }).encode()
        };
        let good = signed(call.clone(), scope);
        let truth = Context { genesis: self.world.genesis(), shard: self.shard(), purpose: Purpose::Request };
        let keys = self.world.engine.birth().shielding_keys.clone();
        let sealed = |context: &Context, epoch: u32, plain: &[u8]| {
            envelope::seal(context, epoch, &keys.hpke, plain).unwrap_or_default()
        };
        match self.random.gen_range(0..14) {
            0 => ("lie: sealed for another shard", sealed(&Context { shard: elsewhere, ..truth }, keys.epoch, &good)),
            1 => {
                let context = Context { genesis: H256::repeat_byte(9), ..truth };
                ("lie: sealed for another chain", sealed(&context, keys.epoch, &good))
            }
            2 => {
                // A call where an account belongs, and the other way round.
                (
                    "lie: sealed for another purpose",
                    match self.random.gen_bool(0.5) {
                        true => sealed(&Context { purpose: Purpose::Beneficiary, ..truth }, keys.epoch, &good),
                        false => sealed(&truth, keys.epoch, &account.encode()),
                    },
                )
            }
            3 => ("lie: sealed for another epoch", sealed(&truth, keys.epoch + 1, &good)),
            4 => {
                let mut sealed = sealed(&truth, keys.epoch, &good);
                let at = self.random.gen_range(0..sealed.len());
                sealed[at] ^= 1 << self.random.gen_range(0..8);
                ("lie: sealed and altered", sealed)
            }
            5 => {
                let mut sealed = sealed(&truth, keys.epoch, &good);
                sealed.truncate(self.random.gen_range(0..sealed.len()));
                ("lie: sealed and cut", sealed)
            }
            6 => {
                let mut longer = good;
                longer.push(0);
                ("lie: bytes after a call", sealed(&truth, keys.epoch, &longer))
            }
            7 => {
                let getter = TrustedOperation::Get(Getter::Public(PublicGetter::Inbox)).encode();
                ("lie: query in the inbox", sealed(&truth, keys.epoch, &getter))
            }
            8 => {
                let for_another = cloister_wire::SignatureScope { shard: elsewhere, ..scope };
                ("lie: signed for another shard", sealed(&truth, keys.epoch, &signed(call, for_another)))
            }
            9 => {
                let root = TrustedCall::BalanceSetBalance(account, liar, UNIT, 0);
                ("lie: root in the inbox", sealed(&truth, keys.epoch, &signed(root, scope)))
            }
            10 => {
                let shield = TrustedCall::BalanceShield(account, liar, UNIT, cloister_wire::ParentchainId::LayerOne);
                ("lie: shielding by a call", sealed(&truth, keys.epoch, &signed(shield, scope)))
            }
            11 => {
                let unshield = TrustedCall::BalanceUnshield(account, clients::PUBLIC[0].clone(), UNIT, elsewhere);
                ("lie: unshielding from elsewhere", sealed(&truth, keys.epoch, &signed(unshield, scope)))
            }
            12 => ("lie: a call in clear", good),
            _ => {
                // Points of low order, and of none.
                let point = if self.random.gen_bool(0.5) { [0; 32] } else { [0xff; 32] };
                let mut sealed = sealed(&truth, keys.epoch, &good);
                sealed[8..40].copy_from_slice(&point);
                ("lie: sealed to no point", sealed)
            }
        }
    }
}
