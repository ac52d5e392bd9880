//! Calls of layer one that only tests make, by pinned pallet and call index.

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, calls::Call};
use codec::{Compact, Encode};
use sp_crypto_hashing::blake2_256;

/// An encoded call of any kind.
#[derive(Clone, Debug)]
pub struct AnyCall(Vec<u8>);

impl Encode for AnyCall {
    fn encode_to<W: codec::Output + ?Sized>(&self, output: &mut W) {
        output.write(&self.0);
    }
}

impl From<&Call> for AnyCall {
    fn from(call: &Call) -> Self {
        Self(call.encode())
    }
}

impl From<Call> for AnyCall {
    fn from(call: Call) -> Self {
        Self::from(&call)
    }
}

fn call(pallet: u8, index: u8, arguments: impl Encode) -> AnyCall {
    let mut bytes = vec![pallet, index];
    arguments.encode_to(&mut bytes);
    AnyCall(bytes)
}

/// `MultiAddress::Id`.
fn address(account: &AccountId) -> (u8, &AccountId) {
    (0, account)
}

/// `system.remark`.
pub fn remark(text: &[u8]) -> AnyCall {
    call(0, 0, text)
}

/// `sudo.sudo`.
pub fn sudo(inner: &AnyCall) -> AnyCall {
    call(5, 0, inner)
}

/// `sudo.sudo_as`: root calls in the name of `who`.
pub fn sudo_as(who: &AccountId, inner: &AnyCall) -> AnyCall {
    call(5, 3, (address(who), inner))
}

/// `multisig.as_multi_threshold_1`.
pub fn multisig_of_one(others: &[AccountId], inner: &AnyCall) -> AnyCall {
    call(6, 0, (others, inner))
}

/// Block and extrinsic in which a multisig call was first approved.
#[derive(Clone, Copy, Debug, Encode)]
pub struct Timepoint {
    /// Height.
    pub height: BlockNumber,
    /// Index in the block.
    pub index: u32,
}

/// `multisig.as_multi`. `others` in ascending order.
pub fn multisig(threshold: u16, others: &[AccountId], first: Option<Timepoint>, inner: &AnyCall) -> AnyCall {
    // More than any call here needs: (reference time in ps, proof size in bytes).
    let max_weight = (Compact(100_000_000_000u64), Compact(500_000u64));
    call(6, 1, (threshold, others, first, inner, max_weight))
}

/// The account of a multisig; `signatories` in ascending order.
pub fn multisig_account(signatories: &[AccountId], threshold: u16) -> AccountId {
    AccountId::new(blake2_256(&(b"modlpy/utilisuba", signatories, threshold).encode()))
}

/// `proxy.proxy`.
pub fn proxy(real: &AccountId, inner: &AnyCall) -> AnyCall {
    call(7, 0, (address(real), None::<u8>, inner))
}

/// `proxy.add_proxy` for calls of every kind, without delay.
pub fn add_proxy(delegate: &AccountId) -> AnyCall {
    let any = 0u8;
    call(7, 1, (address(delegate), any, 0u32))
}

/// `scheduler.schedule`, once, at the highest priority.
pub fn schedule(when: BlockNumber, inner: &AnyCall) -> AnyCall {
    let priority = 0u8;
    call(8, 0, (when, None::<(BlockNumber, u32)>, priority, inner))
}

/// `utility.batch`: stops at the first failure and keeps what went before.
pub fn batch(calls: &[AnyCall]) -> AnyCall {
    call(9, 0, calls)
}

/// `utility.batch_all`: all or nothing.
pub fn batch_all(calls: &[AnyCall]) -> AnyCall {
    call(9, 2, calls)
}

/// `balances.transfer_allow_death`.
pub fn transfer(to: &AccountId, amount: Balance) -> AnyCall {
    Call::transfer_allow_death(to, amount).into()
}

/// `balances.force_transfer`: root moves money of `from`.
pub fn force_transfer(from: &AccountId, to: &AccountId, amount: Balance) -> AnyCall {
    call(10, 2, (address(from), address(to), Compact(amount)))
}

/// `validatorSet.set_validators`.
pub fn set_validators(validators: &[AccountId]) -> AnyCall {
    call(21, 0, validators)
}
