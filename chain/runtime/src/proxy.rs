//! What an account may let another do for it.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::InstanceFilter;
use scale_info::TypeInfo;

use crate::RuntimeCall;

/// Power of a proxy.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Default,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum ProxyType {
    /// Everything.
    #[default]
    #[codec(index = 0)]
    Any,
    /// What moves no money, also not by a detour over root or another account.
    #[codec(index = 1)]
    NonTransfer,
    /// Only to refuse what other proxies have announced.
    #[codec(index = 2)]
    CancelProxy,
}

impl InstanceFilter<RuntimeCall> for ProxyType {
    fn filter(&self, call: &RuntimeCall) -> bool {
        let cancels = matches!(call, RuntimeCall::Proxy(pallet_proxy::Call::reject_announcement { .. }));
        match self {
            Self::Any => true,
            // Named one by one, so that a new call is not open by oversight. Calls inside a batch are filtered again.
            Self::NonTransfer => {
                cancels
                    || matches!(
                        call,
                        RuntimeCall::System(_)
                            | RuntimeCall::Session(_)
                            | RuntimeCall::Utility(_)
                            | RuntimeCall::EnclaveBridge(
                                pallet_enclave_bridge::Call::invoke { .. }
                                    | pallet_enclave_bridge::Call::confirm_processed_parentchain_block { .. }
                            )
                    )
            }
            Self::CancelProxy => cancels,
        }
    }

    fn is_superset(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::NonTransfer, Self::NonTransfer | Self::CancelProxy) => true,
            (Self::CancelProxy, Self::CancelProxy) => true,
            (Self::NonTransfer | Self::CancelProxy, _) => false,
        }
    }
}
