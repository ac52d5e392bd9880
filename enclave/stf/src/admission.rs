//! Which calls may be tried at all.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cloister_chain_primitives::{AccountId, Balance, H256, Nonce, ShardMode};
use cloister_wire::{BoundCall, BoundCallSigned, SignatureScope, TrustedCall, TrustedCallSigned};
use frame_support::traits::{
    fungible::Mutate,
    tokens::{Fortitude, Precision, Preservation},
};

use crate::{
    Fee, MAX_LAYER_ONE_KEY, MAX_LAYER_ONE_READS, Payments, Program,
    ledger::{Nonces, Pallet as Ledger},
    runtime::{Balances, Runtime, System},
};

/// What the measured configuration says about calls and queries.
#[derive(Clone)]
pub struct Rules {
    /// Whether evidence of a simulated TEE counts, which is when balances may be set out of nothing.
    pub simulation_allowed: bool,
    /// Who may set them.
    pub root: Option<AccountId>,
    /// What calls do.
    pub program: &'static dyn Program,
    /// The largest declared weight of a call, in picoseconds.
    pub max_weight: u64,
    /// Whether queries about an account are answered in the published form.
    pub unbound_getters_allowed: bool,
}

impl Default for Rules {
    /// Payments of whatever weight, without simulation; queries in either form.
    fn default() -> Self {
        Self {
            simulation_allowed: false,
            root: None,
            program: &Payments,
            max_weight: u64::MAX,
            unbound_getters_allowed: true,
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { simulation_allowed, root, max_weight, unbound_getters_allowed, program: _ } = self;
        f.debug_struct("Rules")
            .field("simulation_allowed", simulation_allowed)
            .field("root", root)
            .field("max_weight", max_weight)
            .field("unbound_getters_allowed", unbound_getters_allowed)
            .finish_non_exhaustive()
    }
}

/// A call whose signature and kind were checked. Only [`verify`] and [`verify_bound`] make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedCall {
    hash: H256,
    call: TrustedCall,
    nonce: Nonce,
    last_block: Option<u64>,
    weight: u64,
    fee: Fee,
    layer_one_reads: Vec<Vec<u8>>,
}

impl VerifiedCall {
    fn new(
        hash: H256,
        call: TrustedCall,
        nonce: Nonce,
        last_block: Option<u64>,
        rules: &Rules,
    ) -> Result<Self, Refused> {
        let program = rules.program;
        // A mistake in what a program declares costs the call, not who serves others beside it.
        let declared = || (program.weight(&call), program.fee(&call), program.layer_one_reads(&call));
        let (weight, fee, layer_one_reads) = catch_unwind(AssertUnwindSafe(declared)).map_err(|_| Refused::Panicked)?;
        let limit = rules.max_weight;
        if weight > limit {
            return Err(Refused::TooHeavy { weight, limit });
        }
        if layer_one_reads.len() > MAX_LAYER_ONE_READS
            || layer_one_reads.iter().any(|key| key.len() > MAX_LAYER_ONE_KEY)
        {
            return Err(Refused::TooManyReads);
        }
        Ok(Self { hash, call, nonce, last_block, weight, fee, layer_one_reads })
    }

    /// Hash of the operation that carried the call.
    pub fn hash(&self) -> H256 {
        self.hash
    }

    /// What to do.
    pub fn call(&self) -> &TrustedCall {
        &self.call
    }

    /// Who signed it.
    pub fn sender(&self) -> &AccountId {
        self.call.sender()
    }

    /// Its place in the order of the sender's calls.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The last block that may hold it, if its sender named one.
    pub fn last_block(&self) -> Option<u64> {
        self.last_block
    }

    /// Its declared weight in picoseconds.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// What its sender pays.
    pub fn fee(&self) -> Fee {
        self.fee
    }

    /// Storage keys of layer one whose values it needs.
    pub fn layer_one_reads(&self) -> &[Vec<u8>] {
        &self.layer_one_reads
    }

    /// Bytes that it holds beyond its own size: payload and keys.
    pub fn heap_bytes(&self) -> usize {
        let payload = match &self.call {
            TrustedCall::App(_, payload) => payload.len(),
            TrustedCall::Noop(_)
            | TrustedCall::BalanceSetBalance(..)
            | TrustedCall::BalanceTransfer(..)
            | TrustedCall::BalanceUnshield(..)
            | TrustedCall::BalanceShield(..)
            | TrustedCall::TimestampSet(..) => 0,
        };
        let keys = self.layer_one_reads.iter().map(|key| size_of::<Vec<u8>>().saturating_add(key.len()));
        keys.fold(payload, usize::saturating_add)
    }
}

/// Why a call is not included in a block. It leaves no trace in the state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Not signed by the sender for this enclave code and shard.
    #[error("signature is not the sender's for this enclave and shard")]
    Signature,
    /// Money and time come from layer one.
    #[error("shielding and time are set by the enclave, never by a client's call")]
    EnclaveOnly,
    /// The configuration does not allow simulation.
    #[error("balances can be set only where simulation is allowed")]
    SimulationForbidden,
    /// The sender is not root.
    #[error("only root may set balances")]
    NotRoot,
    /// Money leaves the shard on which it is.
    #[error("the call unshields from another shard")]
    OtherShard,
    /// No slot has room for the call.
    #[error("call weighs {weight} ps, more than the {limit} ps that a slot has")]
    TooHeavy {
        /// That the program declares for the call.
        weight: u64,
        /// The largest that is allowed.
        limit: u64,
    },
    /// It names more of layer one's storage than it may.
    #[error("the call names more than {MAX_LAYER_ONE_READS} keys of layer one, or one above {MAX_LAYER_ONE_KEY} bytes")]
    TooManyReads,
    /// The host brings no proof of what the call reads of layer one.
    #[error("layer one's state could not be read")]
    LayerOneUnread,
    /// The last block that its sender named has passed.
    #[error("the call has expired: its last block is {last_block}, and block {block} is being made")]
    Expired {
        /// That the sender named.
        last_block: u64,
        /// That would hold the call.
        block: u64,
    },
    /// Not the next call of its sender.
    #[error("nonce is {got}, expected {expected}")]
    Nonce {
        /// The sender's next nonce.
        expected: Nonce,
        /// The call's.
        got: Nonce,
    },
    /// The sender has made 2^32 - 1 calls.
    #[error("the sender's nonces are used up")]
    NoncesUsedUp,
    /// The sender has no account that could answer for the call.
    #[error("sender does not exist on this shard")]
    NoAccount,
    /// The sender has less than the fee and the existential deposit.
    #[error("sender cannot pay the fee of {0} planck and keep the existential deposit")]
    CannotPayFee(Balance),
    /// The shard takes only calls by which money leaves it.
    #[error("the shard is in maintenance: only unshieldings are taken")]
    Maintenance,
    /// The shard takes no calls.
    #[error("the shard is retired: every account is paid on layer one")]
    Retired,
    /// The runtime broke while admitting the call.
    #[error("call panicked at admission")]
    Panicked,
}

/// Checks what can be checked of a call in the published form without the state. `hash` is that of the operation that
/// carried it.
pub fn verify(
    hash: H256,
    signed: TrustedCallSigned,
    scope: &SignatureScope,
    rules: &Rules,
) -> Result<VerifiedCall, Refused> {
    if !signed.verify(scope) {
        return Err(Refused::Signature);
    }
    permit(&signed.call, scope, rules)?;
    VerifiedCall::new(hash, signed.call, signed.nonce, None, rules)
}

/// As [`verify`], of a call that its sender signed for the chain with `genesis` and a last block. Whether that has passed
/// only the state tells.
pub fn verify_bound(
    hash: H256,
    signed: BoundCallSigned,
    genesis: &H256,
    scope: &SignatureScope,
    rules: &Rules,
) -> Result<VerifiedCall, Refused> {
    if !signed.verify(genesis, scope) {
        return Err(Refused::Signature);
    }
    let BoundCall { call, nonce, last_block } = signed.bound;
    permit(&call, scope, rules)?;
    VerifiedCall::new(hash, call, nonce, Some(last_block), rules)
}

/// Whether clients may make a call.
fn permit(call: &TrustedCall, scope: &SignatureScope, rules: &Rules) -> Result<(), Refused> {
    match call {
        TrustedCall::Noop(_) | TrustedCall::BalanceTransfer(..) | TrustedCall::App(..) => {}
        TrustedCall::BalanceSetBalance(..) if !rules.simulation_allowed => return Err(Refused::SimulationForbidden),
        TrustedCall::BalanceSetBalance(sender, ..) if rules.root.as_ref() != Some(sender) => {
            return Err(Refused::NotRoot);
        }
        TrustedCall::BalanceSetBalance(..) => {}
        TrustedCall::BalanceUnshield(.., shard) if *shard != scope.shard => return Err(Refused::OtherShard),
        TrustedCall::BalanceUnshield(..) => {}
        TrustedCall::BalanceShield(..) | TrustedCall::TimestampSet(..) => return Err(Refused::EnclaveOnly),
    }
    Ok(())
}

/// Checks a call against the state that block `block` begins with, takes its nonce and the fee. Inside externalities.
pub(crate) fn admit(call: &VerifiedCall, block: u64, mode: ShardMode, fee: Balance) -> Result<(), Refused> {
    match (mode, &call.call) {
        (ShardMode::Open, _) | (ShardMode::Maintenance, TrustedCall::BalanceUnshield(..)) => {}
        (ShardMode::Maintenance, _) => return Err(Refused::Maintenance),
        (ShardMode::Retired, _) => return Err(Refused::Retired),
    }
    if let Some(last_block) = call.last_block
        && block > last_block
    {
        return Err(Refused::Expired { last_block, block });
    }
    let sender = call.sender();
    let expected = Nonces::<Runtime>::get(sender);
    if call.nonce != expected {
        return Err(Refused::Nonce { expected, got: call.nonce });
    }
    // Root, which `verify` has compared with the configuration, fills the first accounts of a simulated shard.
    let from_root = matches!(call.call, TrustedCall::BalanceSetBalance(..));
    if !from_root && !System::account_exists(sender) {
        return Err(Refused::NoAccount);
    }
    Nonces::<Runtime>::insert(sender, expected.checked_add(1).ok_or(Refused::NoncesUsedUp)?);
    if fee > 0 {
        // Whoever can pay is not reaped by it: the nonce's account exists, whatever the call does then.
        Balances::burn_from(sender, fee, Preservation::Preserve, Precision::Exact, Fortitude::Polite)
            .map_err(|_| Refused::CannotPayFee(fee))?;
        Ledger::<Runtime>::book(|books| &mut books.fees, fee).map_err(|_| Refused::CannotPayFee(fee))?;
    }
    Ok(())
}
