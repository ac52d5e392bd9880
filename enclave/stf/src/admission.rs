//! Which calls may be tried at all.

use core::fmt;

use cloister_chain_primitives::{AccountId, Balance, H256, Nonce, ShardMode};
use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned};
use frame_support::traits::{
    fungible::Mutate,
    tokens::{Fortitude, Precision, Preservation},
};

use crate::{
    Fee, Payments, Program,
    ledger::{Nonces, Pallet as Ledger},
    runtime::{Balances, Runtime, System},
};

/// What the measured configuration says about calls.
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
}

impl Default for Rules {
    /// Payments of whatever weight, without simulation.
    fn default() -> Self {
        Self { simulation_allowed: false, root: None, program: &Payments, max_weight: u64::MAX }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { simulation_allowed, root, max_weight, program: _ } = self;
        f.debug_struct("Rules")
            .field("simulation_allowed", simulation_allowed)
            .field("root", root)
            .field("max_weight", max_weight)
            .finish_non_exhaustive()
    }
}

/// A call whose signature and kind were checked. Only [`verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedCall {
    hash: H256,
    call: TrustedCall,
    nonce: Nonce,
    weight: u64,
    fee: Fee,
}

impl VerifiedCall {
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

    /// Its declared weight in picoseconds.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// What its sender pays.
    pub fn fee(&self) -> Fee {
        self.fee
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

/// Checks what can be checked of a call without the state. `hash` is that of the operation that carried it.
pub fn verify(
    hash: H256,
    signed: TrustedCallSigned,
    scope: &SignatureScope,
    rules: &Rules,
) -> Result<VerifiedCall, Refused> {
    if !signed.verify(scope) {
        return Err(Refused::Signature);
    }
    match &signed.call {
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
    let weight = rules.program.weight(&signed.call);
    if weight > rules.max_weight {
        return Err(Refused::TooHeavy { weight, limit: rules.max_weight });
    }
    let fee = rules.program.fee(&signed.call);
    Ok(VerifiedCall { hash, call: signed.call, nonce: signed.nonce, weight, fee })
}

/// Checks a call against the state, takes its nonce and the fee. Inside externalities.
pub(crate) fn admit(call: &VerifiedCall, mode: ShardMode, fee: Balance) -> Result<(), Refused> {
    match (mode, &call.call) {
        (ShardMode::Open, _) | (ShardMode::Maintenance, TrustedCall::BalanceUnshield(..)) => {}
        (ShardMode::Maintenance, _) => return Err(Refused::Maintenance),
        (ShardMode::Retired, _) => return Err(Refused::Retired),
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
