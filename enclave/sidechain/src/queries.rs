//! What clients ask of the engine.

use cloister_chain_primitives::{Balance, BlockNumber, H256, Moment, ShardId, ShardMode};
use cloister_pool::{Admission, Admitted, Refused};
use cloister_stf::{Context, Rules, VerifiedCall};
use cloister_wire::{
    BoundGetterSigned, Getter, PublicGetter, SignatureScope, SignedAnswer, TrustedCall, TrustedGetter,
    TrustedOperationStatus, sidechain::SidechainHeader,
};
use codec::Encode;

use crate::{action::Action, engine::Engine, poison::Item, production::Pause, reads::MAX_WAITING};

/// Why a call was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallRefused {
    /// The shard's entry is not proven yet.
    #[error("the shard is not served yet")]
    NotServing,
    /// No blocks are made for now.
    #[error("paused: {0}")]
    Paused(#[from] Pause),
    /// The sender has nothing on the shard.
    #[error("the sender does not exist on the shard")]
    UnknownSender,
    /// Only calls by which money leaves the shard are taken.
    #[error("the shard is under maintenance: it takes no calls but unshieldings")]
    Maintenance,
    /// All accounts leave the shard.
    #[error("the shard is retired: it takes no calls, and its accounts are paid on layer one")]
    Retired,
    /// The sender has less than the call costs, or could not stand after that.
    #[error("the sender cannot pay the call's fee of {fee} planck and keep the existential deposit")]
    CannotPayFee {
        /// Planck.
        fee: Balance,
    },
    /// The last block that its sender named has passed.
    #[error("the call has expired: its last block is {last_block}, and the next one is {block}")]
    Expired {
        /// That the sender named.
        last_block: u64,
        /// The next block's height.
        block: u64,
    },
    /// It reads layer one's state, and too many calls wait for that.
    #[error("too many calls wait for layer one's state")]
    TooManyWait,
    /// It ended an enclave twice, the second time alone.
    #[error("the call was set aside: it ended the enclave that executed it")]
    SetAside,
    /// The pool refused it.
    #[error(transparent)]
    Pool(#[from] Refused),
}

/// Why a query was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryRefused {
    /// The shard's entry is not proven yet.
    #[error("the shard is not served yet")]
    NotServing,
    /// Nothing is signed for now.
    #[error("paused: {0}")]
    Paused(#[from] Pause),
    /// The request names another shard.
    #[error("unknown shard")]
    UnknownShard,
    /// The query is not signed by the account that it asks about, for this shard and code. Also the answer to what is no
    /// query at all.
    #[error("the query does not decode or is not signed by the account's owner")]
    NotOwner,
    /// The shard's configuration wants queries about an account bound to it, to one code and a short time.
    #[error(
        "this shard does not answer queries about accounts that can be replayed: use a bound getter (see docs/wire.md)"
    )]
    Unbound,
    /// The query's last block has passed.
    #[error("the query has expired")]
    Expired,
    /// The query's last block is too far ahead: it could be replayed for good by whoever got hold of it.
    #[error("the query's last block is more than {MAX_QUERY_LIFETIME_BLOCKS} blocks ahead")]
    LivesTooLong,
}

/// A query whose signature was checked for one shard. Only [`VerifiedGetter::verify`] makes one, outside of the engine's
/// task: strangers' queries must not take its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedGetter(Getter);

impl VerifiedGetter {
    /// Checks that the account asked itself, if the query is about one, and in a form that the configuration allows.
    pub fn verify(getter: Getter, genesis: &H256, scope: &SignatureScope, rules: &Rules) -> Result<Self, QueryRefused> {
        let by_owner = match &getter {
            Getter::Public(PublicGetter::Inbox | PublicGetter::Outbox(_) | PublicGetter::App(_)) => true,
            Getter::Trusted(_) if !rules.unbound_getters_allowed => return Err(QueryRefused::Unbound),
            Getter::Trusted(signed) => signed.verify(),
            Getter::Bound(signed) => signed.verify(genesis, &scope.shard, &scope.mrenclave),
        };
        if by_owner { Ok(Self(getter)) } else { Err(QueryRefused::NotOwner) }
    }
}

impl Engine {
    /// Takes a direct call. Its later statuses come as actions.
    pub fn submit(&mut self, call: VerifiedCall) -> Result<Admitted, CallRefused> {
        if !self.is_serving() {
            return Err(CallRefused::NotServing);
        }
        self.slot_time()?;
        match self.mode() {
            ShardMode::Open => {}
            ShardMode::Maintenance if matches!(call.call(), TrustedCall::BalanceUnshield(..)) => {}
            ShardMode::Maintenance => return Err(CallRefused::Maintenance),
            ShardMode::Retired => return Err(CallRefused::Retired),
        }
        let block = self.height().saturating_add(1);
        if let Some(last_block) = call.last_block().filter(|last_block| *last_block < block) {
            return Err(CallRefused::Expired { last_block, block });
        }
        if !call.layer_one_reads().is_empty() && self.carried.len() >= MAX_WAITING {
            return Err(CallRefused::TooManyWait);
        }
        if self.suspects.is_set_aside(&Item::Call(call.hash())) {
            return Err(CallRefused::SetAside);
        }
        if !cloister_stf::account_exists(&self.state, call.sender()) {
            return Err(CallRefused::UnknownSender);
        }
        if !cloister_stf::can_pay_fee(&self.state, &call) {
            return Err(CallRefused::CannotPayFee { fee: call.fee().direct() });
        }
        let next = cloister_stf::nonce(&self.state, call.sender());
        let operation = call.hash();
        let Admission { admitted, displaced } = self.pool.admit(call, next)?;
        for operation in displaced {
            let error = Some("the pool is full".into());
            self.actions.push(Action::Status { operation, status: TrustedOperationStatus::Dropped, error });
        }
        let status = match admitted {
            Admitted::Ready => TrustedOperationStatus::Ready,
            Admitted::Future => TrustedOperationStatus::Future,
        };
        self.actions.push(Action::Status { operation, status, error: None });
        Ok(admitted)
    }

    /// Answers a query with its SCALE result, if there is one.
    pub fn answer(&self, shard: &ShardId, getter: &VerifiedGetter) -> Result<Option<Vec<u8>>, QueryRefused> {
        if *shard != self.shard {
            return Err(QueryRefused::UnknownShard);
        }
        if !self.is_serving() {
            return Err(QueryRefused::NotServing);
        }
        self.time_to_sign()?;
        match &getter.0 {
            Getter::Public(PublicGetter::Inbox) => Ok(Some(cloister_stf::inbox_status(&self.state).encode())),
            Getter::Public(PublicGetter::Outbox(from)) => Ok(Some(self.outbox.proofs(*from).encode())),
            Getter::Public(PublicGetter::App(query)) => {
                Ok(cloister_stf::answer_public(&self.state, self.program, query, &self.context()))
            }
            Getter::Trusted(signed) => Ok(self.read(&signed.getter)),
            Getter::Bound(signed) => self.answer_bound(signed).map(|answer| Some(answer.encode())),
        }
    }

    /// Answers a method of the program's own.
    pub fn rpc(&self, method: &str, params: &[u8]) -> Result<Result<Vec<u8>, String>, QueryRefused> {
        if !self.is_serving() {
            return Err(QueryRefused::NotServing);
        }
        self.time_to_sign()?;
        Ok(cloister_stf::rpc(&self.state, self.program, method, params, &self.context()))
    }

    /// Where the shard stands with its newest block.
    fn context(&self) -> Context {
        cloister_stf::context(&self.state, self.mode(), self.unanchored.anchored())
    }

    /// Header of the newest block, if there is one.
    pub fn header(&self) -> Option<&SidechainHeader> {
        self.head.as_ref().map(|head| &head.header)
    }

    /// Hashes of the pending operations.
    pub fn pending(&self) -> Vec<H256> {
        self.pool.pending()
    }

    /// Figures for operators. None of them says anything about an account.
    pub fn figures(&self) -> Figures {
        Figures {
            pool: self.pool.len(),
            block: self.height(),
            accounts: cloister_stf::account_count(&self.state),
            state_bytes: u64::try_from(self.state.bytes()).unwrap_or(u64::MAX),
            layer_one: self.light_client.head().number,
            layer_one_read: self.view.as_ref().map_or(0, |view| view.number),
            layer_one_time: self.view.as_ref().map_or(0, |view| view.time),
            inbox_consumed: self.consumed,
            anchored: self.unanchored.anchored(),
            journal_bytes: self.snapshots.journal_bytes,
            snapshot: self.snapshots.base,
            account_free: self.view.as_ref().map_or(0, |view| view.account_free),
            outbox_next: cloister_stf::books(&self.state).outbox_next,
            outbox_open: self.outbox.len(),
            mode: self.mode(),
            paused: self.slot_time().err().filter(|_| self.is_serving()),
        }
    }

    fn answer_bound(&self, signed: &BoundGetterSigned) -> Result<SignedAnswer, QueryRefused> {
        let view = self.view.as_ref().ok_or(QueryRefused::NotServing)?;
        let block_number = self.height();
        if signed.query.last_block < block_number {
            return Err(QueryRefused::Expired);
        }
        if signed.query.last_block.saturating_sub(block_number) > MAX_QUERY_LIFETIME_BLOCKS {
            return Err(QueryRefused::LivesTooLong);
        }
        let mut answer = SignedAnswer {
            value: self.read(&signed.query.getter),
            request_hash: signed.hash(),
            commitment: self.state.commitment(),
            block_number,
            layer_one_number: view.number,
            layer_one_head: view.hash,
            layer_one_time: view.time,
            signature: [0; 64],
        };
        answer.signature = self.identity.incarnation.sign(&answer.signed_bytes(&self.genesis, &self.shard));
        Ok(answer)
    }

    fn read(&self, getter: &TrustedGetter) -> Option<Vec<u8>> {
        match getter {
            TrustedGetter::App(owner, query) => {
                cloister_stf::answer(&self.state, self.program, owner, query, &self.context())
            }
            TrustedGetter::CallOutcome(account, operation) => self.outcomes.get(account, operation).map(Encode::encode),
            getter => cloister_stf::get(&self.state, getter),
        }
    }
}

/// Figures for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Pending calls.
    pub pool: usize,
    /// Height of the newest block.
    pub block: u64,
    /// Accounts on the shard.
    pub accounts: u64,
    /// Bytes of keys and values of the state.
    pub state_bytes: u64,
    /// Height of the newest finalized layer-one block.
    pub layer_one: BlockNumber,
    /// Height of the newest one whose state was proven.
    pub layer_one_read: BlockNumber,
    /// Its time (Unix milliseconds); 0 without one.
    pub layer_one_time: Moment,
    /// Inbox entries consumed.
    pub inbox_consumed: u64,
    /// Height of the newest block that layer one is proven to have anchored.
    pub anchored: u64,
    /// Bytes of the blocks after the newest snapshot.
    pub journal_bytes: u64,
    /// The block on which it rests; 0 without one.
    pub snapshot: u64,
    /// Planck that the enclave's account on layer one can spend.
    pub account_free: Balance,
    /// Entries of the outbox that were ever opened.
    pub outbox_next: u64,
    /// Those that are open.
    pub outbox_open: u32,
    /// What the shard does.
    pub mode: ShardMode,
    /// Why a serving shard makes no blocks for now.
    pub paused: Option<Pause>,
}

/// How far ahead the last block of a bound query may be: five minutes of slots.
pub const MAX_QUERY_LIFETIME_BLOCKS: u64 = 1_000;
