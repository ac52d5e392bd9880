//! Reasons inside this pallet's errors.

use cloister_chain_primitives::RegistrationRefused;
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::traits::PalletError;
use scale_info::TypeInfo;

/// Why a registration is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Refused(pub RegistrationRefused);

impl PalletError for Refused {
    // One byte of its own, and the one of the reason inside.
    const MAX_ENCODED_SIZE: usize = 2;
}

impl From<RegistrationRefused> for Refused {
    fn from(refused: RegistrationRefused) -> Self {
        Self(refused)
    }
}

/// Why evidence or collateral is not genuine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct NotGenuine(pub cloister_attestation::Error);

impl PalletError for NotGenuine {
    const MAX_ENCODED_SIZE: usize = 1;
}

impl From<cloister_attestation::Error> for NotGenuine {
    fn from(error: cloister_attestation::Error) -> Self {
        Self(error)
    }
}

#[cfg(test)]
mod tests {
    use codec::MaxEncodedLen;

    use super::*;

    #[test]
    fn reasons_fit_a_module_error() {
        assert_eq!(Refused::MAX_ENCODED_SIZE, RegistrationRefused::max_encoded_len());
        assert_eq!(NotGenuine::MAX_ENCODED_SIZE, cloister_attestation::Error::max_encoded_len());
    }
}
