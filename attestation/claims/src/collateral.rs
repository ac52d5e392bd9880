//! Collateral as it is fetched from the vendor and submitted: not verified.

use alloc::vec::Vec;

use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;

/// Raw collateral of one platform, as fetched from the vendor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Collateral {
    /// TCB info.
    pub tcb_info: Signed,
    /// Identity of the quoting enclave.
    pub qe_identity: Signed,
    /// DER revocation list of the root.
    pub root_crl: Option<Vec<u8>>,
    /// Revocation list of the authority that issued the platform's PCK certificate.
    pub pck_crl: Option<SignedCrl>,
}

/// A signed JSON document.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Signed {
    /// Exactly the bytes that are signed: the inner object, from `{` to `}`.
    pub body: Vec<u8>,
    /// ECDSA P-256 over SHA-256, r ‖ s.
    pub signature: [u8; 64],
    /// PEM, signer first, root last.
    pub issuer_chain: Vec<u8>,
}

/// A revocation list and who signed it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct SignedCrl {
    /// DER.
    pub crl: Vec<u8>,
    /// PEM, signer first, root last.
    pub issuer_chain: Vec<u8>,
}

impl Collateral {
    /// Most bytes of a signed document. The largest that Intel publishes have some 30 kB.
    pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
    /// Most bytes of an issuer chain.
    pub const MAX_CHAIN_BYTES: usize = 8 * 1024;
    /// Most bytes of a revocation list.
    pub const MAX_CRL_BYTES: usize = 256 * 1024;
}
