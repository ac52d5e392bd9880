//! Clients that sign for others, for other shards and other code, alter what was signed, and ask for what is not theirs.
//! And one that checks every answer.

use cloister_chain_primitives::ShardId;
use cloister_sidechain::{MAX_QUERY_LIFETIME_BLOCKS, QueryRefused};
use cloister_stf::{Refused, verify};
use cloister_wire::{
    BoundGetter, BoundGetterSigned, Getter, ParentchainId, PublicGetter, SignedAnswer, TrustedCall, TrustedCallSigned,
    TrustedGetter, TrustedGetterSigned, TrustedOperation,
};
use codec::{Decode, DecodeAll, Encode};
use rand::Rng;
use sp_core::{Pair, ed25519};

use super::foreign;
use crate::{
    Defect, UNIT,
    clients::{self, CLIENTS, Sent},
    life::Life,
    model::ensure,
};

impl Life {
    /// A call that nobody may make. Nothing of it reaches the engine.
    pub(crate) fn lie_in_a_call(&mut self) -> Result<(), String> {
        if self.random.gen_ratio(1, 4) {
            return self.replay_of_the_twins();
        }
        let who = self.random.gen_range(0..CLIENTS);
        let (from, liar) = (clients::accounts()[who].clone(), clients::accounts()[(who + 1) % CLIENTS].clone());
        let nonce = self.model.ledger().nonce(&from);
        let scope = self.world.engine.scope();
        let elsewhere = foreign().shard;
        let (mut signs, mut signed_for) = (who, scope);
        let mut call = TrustedCall::BalanceTransfer(from.clone(), liar.clone(), UNIT / 100);
        let mut altered = None;
        let (what, expected): (_, fn(&Refused) -> bool) = match self.random.gen_range(0..8) {
            0 => {
                signs = (who + 1) % CLIENTS;
                ("lie: call signed by another", |refused| matches!(refused, Refused::Signature))
            }
            1 => {
                signed_for.shard = elsewhere;
                ("lie: call for another shard", |refused| matches!(refused, Refused::Signature))
            }
            2 => {
                signed_for.mrenclave = [9; 32];
                ("lie: call for other code", |refused| matches!(refused, Refused::Signature))
            }
            3 => {
                altered = Some(TrustedCall::BalanceTransfer(from, liar, UNIT));
                ("lie: call altered", |refused| matches!(refused, Refused::Signature))
            }
            4 => {
                call = TrustedCall::BalanceUnshield(from, clients::PUBLIC[0].clone(), UNIT / 100, elsewhere);
                ("lie: call that unshields elsewhere", |refused| matches!(refused, Refused::OtherShard))
            }
            5 => {
                call = TrustedCall::BalanceShield(from, liar, UNIT, ParentchainId::LayerOne);
                ("lie: call that shields", |refused| matches!(refused, Refused::EnclaveOnly))
            }
            6 => {
                call = TrustedCall::TimestampSet(from, u64::MAX, ParentchainId::LayerOne);
                ("lie: call that sets the time", |refused| matches!(refused, Refused::EnclaveOnly))
            }
            _ => {
                call = TrustedCall::BalanceSetBalance(from, liar, UNIT, 0);
                ("lie: call as root", |refused| matches!(refused, Refused::SimulationForbidden | Refused::NotRoot))
            }
        };
        let signature = clients::sign_as(signs, &signed_for.call_bytes(&call, nonce));
        let signed = TrustedCallSigned { call: altered.unwrap_or(call), nonce, signature };
        let hash = TrustedOperation::DirectCall(signed.clone()).hash();
        let door = if self.defect == Some(Defect::TakesForeignCalls) { signed_for } else { scope };
        match verify(hash, signed, &door, &self.world.engine.rules()) {
            Err(refused) if expected(&refused) => {
                self.count(what);
                Ok(())
            }
            Ok(call) if self.defect == Some(Defect::TakesForeignCalls) => {
                drop(self.world.engine.submit(call));
                self.world.take_actions();
                Ok(())
            }
            verified => Err(format!("{what}: {verified:?}")),
        }
    }

    /// A call that was sent to one start of the identity goes to the other, too.
    fn replay_of_the_twins(&mut self) -> Result<(), String> {
        let Some(twin) = self.adversary.as_ref().and_then(|adversary| adversary.twin.as_ref()) else { return Ok(()) };
        let Some(call) = twin.clients().any_signed(&mut self.random) else { return Ok(()) };
        let result = self.world.engine.submit(call.clone()).map(drop);
        self.sent(Sent::Call { kind: "lie: call sent to two starts", call: Box::new(call), result })
    }

    /// A query about what is somebody else's, for another shard or time.
    pub(crate) fn lie_in_a_query(&mut self) -> Result<(), String> {
        let who = self.random.gen_range(0..CLIENTS);
        let (genesis, shard, scope) = (self.world.genesis(), self.shard(), self.world.engine.scope());
        let height = self.world.engine.figures().block;
        let elsewhere = foreign().shard;
        let getter = TrustedGetter::FreeBalance(clients::accounts()[who].clone());
        let bound = |last_block: u64, mrenclave: &[u8; 32], of: &ShardId, signs: usize| {
            let query = BoundGetter { getter: getter.clone(), last_block, client_nonce: [3; 16] };
            let signature = clients::sign_as(signs, &query.signed_bytes(&genesis, of, mrenclave));
            BoundGetterSigned { query, signature }
        };
        let thief = (who + 1) % CLIENTS;
        let (what, getter, expected) = match self.random.gen_range(0..8) {
            0 => {
                let signature = clients::sign_as(thief, &getter.encode());
                let signed = TrustedGetterSigned { getter: getter.clone(), signature };
                ("lie: query about another", Getter::Trusted(signed), QueryRefused::NotOwner)
            }
            1 => {
                let signed = bound(height, &scope.mrenclave, &shard, thief);
                ("lie: bound query about another", Getter::Bound(signed), QueryRefused::NotOwner)
            }
            2 => {
                let signed = bound(height, &scope.mrenclave, &elsewhere, who);
                ("lie: query for another shard", Getter::Bound(signed), QueryRefused::NotOwner)
            }
            3 => {
                let signed = bound(height, &[9; 32], &shard, who);
                ("lie: query for other code", Getter::Bound(signed), QueryRefused::NotOwner)
            }
            4 => {
                let mut signed = bound(height, &scope.mrenclave, &shard, who);
                signed.query.last_block += 1;
                ("lie: query altered", Getter::Bound(signed), QueryRefused::NotOwner)
            }
            5 if height > 0 => {
                let signed = bound(height - 1, &scope.mrenclave, &shard, who);
                ("lie: query whose time is over", Getter::Bound(signed), QueryRefused::Expired)
            }
            6 => {
                let last = height + MAX_QUERY_LIFETIME_BLOCKS + 1;
                let signed = bound(last, &scope.mrenclave, &shard, who);
                ("lie: query that lives too long", Getter::Bound(signed), QueryRefused::LivesTooLong)
            }
            _ => {
                let answer = self.world.answer(&elsewhere, Getter::Public(PublicGetter::Inbox));
                ensure(answer == Err(QueryRefused::UnknownShard), || format!("answers for another shard: {answer:?}"))?;
                self.count("lie: query of another shard");
                return Ok(());
            }
        };
        match self.world.answer(&shard, getter) {
            Err(refused) if refused == expected => self.count(what),
            // Before it looks at its time.
            Err(QueryRefused::NotServing | QueryRefused::Paused(_)) if expected != QueryRefused::NotOwner => {}
            answer => return Err(format!("{what}: {answer:?}")),
        }
        Ok(())
    }

    /// An answer says what is so in the block that it names, and whoever signs it is registered where it says to be.
    pub(crate) fn ask(&mut self) -> Result<(), String> {
        let who = self.random.gen_range(0..CLIENTS);
        let account = &clients::accounts()[who];
        let (genesis, shard, scope) = (self.world.genesis(), self.shard(), self.world.engine.scope());
        let figures = self.world.engine.figures();
        let of_nonce = self.random.gen_bool(0.5);
        let getter = match of_nonce {
            true => TrustedGetter::Nonce(account.clone()),
            false => TrustedGetter::FreeBalance(account.clone()),
        };
        let last_block = figures.block + self.random.gen_range(0..=MAX_QUERY_LIFETIME_BLOCKS);
        let query = BoundGetter { getter, last_block, client_nonce: self.random.r#gen() };
        let signature = clients::sign_as(who, &query.signed_bytes(&genesis, &shard, &scope.mrenclave));
        let signed = BoundGetterSigned { query, signature };
        let request_hash = signed.hash();
        let answer = match self.world.answer(&shard, Getter::Bound(signed)) {
            Ok(Some(answer)) => answer,
            Err(QueryRefused::NotServing | QueryRefused::Paused(_)) => return Ok(()),
            other => return Err(format!("a query is answered with {other:?}")),
        };
        let answer = SignedAnswer::decode_all(&mut &answer[..]).map_err(|error| error.to_string())?;
        let read = answer.layer_one_number;
        let is_final = read <= self.finalized && self.world.chain.header(read).hash() == answer.layer_one_head;
        ensure(is_final, || format!("an answer rests on block {read}, which is not final"))?;
        let registered = self.registered.iter().rfind(|(at, _)| *at <= read).map(|(_, incarnation)| *incarnation);
        let is_signed = registered.is_some_and(|incarnation| {
            let signature = ed25519::Signature::from_raw(answer.signature);
            let key = ed25519::Public::from_raw(incarnation);
            ed25519::Pair::verify(&signature, answer.signed_bytes(&genesis, &shard), &key)
        });
        ensure(is_signed && answer.request_hash == request_hash, || {
            format!("an answer at block {read} is not signed by the incarnation that is registered there")
        })?;
        let block = self.model.block(answer.block_number);
        let ledger = block.map(|block| block.ledger.clone()).unwrap_or_default();
        let commitment = block.map_or(self.world.engine.birth().genesis_commitment, |block| block.commitment);
        let value = &mut &answer.value.unwrap_or_default()[..];
        let is_true = match of_nonce {
            true => u32::decode(value).unwrap_or_default() == ledger.nonce(account),
            false => u128::decode(value).unwrap_or_default() == ledger.balance(account),
        };
        ensure(is_true && commitment == answer.commitment, || {
            format!("an answer about block {} is not so", answer.block_number)
        })?;
        self.count("answer checked");
        Ok(())
    }
}
