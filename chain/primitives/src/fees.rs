//! What a shard charges, in planck. Constants, so that every enclave of a shard charges the same.

use crate::{Balance, EXISTENTIAL_DEPOSIT};

/// For a call that comes by the worker's RPC, whatever it does. What comes through the inbox has paid layer one, whose
/// fee covers that the enclave opens it.
pub const DIRECT_CALL_FEE: Balance = 100_000_000;

/// For money that leaves a shard, however the call came: more than the extrinsic that settles it costs at layer one's
/// lowest fees. It is kept if layer one refuses. A returned shielding and a forced exit pay it out of their amount.
pub const UNSHIELD_FEE: Balance = 3_000_000_000;

/// Least planck of a shielding: what is left of it when it is returned can stand as an account's balance.
pub const MIN_SHIELD: Balance = EXISTENTIAL_DEPOSIT + UNSHIELD_FEE;
