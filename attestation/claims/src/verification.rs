//! What genuine evidence says. Only the verifier makes these.

use alloc::vec::Vec;

use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;

use crate::{Advisory, TcbStatus, TeeKind, Validity};

/// Facts that genuine evidence states, together with what the vendor's collateral says of its platform. That the
/// evidence is genuine does not mean that anybody wants it: see [`crate::Policy`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Verification {
    /// Decided by the root of trust ([`TeeKind::Simulated`] under the development root) and the quote's type.
    pub kind: TeeKind,
    /// What ran: SGX: MRENCLAVE. TDX: SHA-256 over `cloister/1`, `tdx fingerprint`, attributes, XFAM, MRTD, MRCONFIGID, MROWNER,
    /// MROWNERCONFIG, RTMR0–3, each as u32 (little endian) length and bytes.
    pub fingerprint: [u8; 32],
    /// Who signed it: SGX: MRSIGNER. TDX: SHA-256 over `cloister/1`, `tdx signer`, MRSIGNERSEAM in the same way.
    pub signer: [u8; 32],
    /// SGX ISVPRODID; 0 for TDX.
    pub product_id: u16,
    /// SGX ISVSVN; 0 for TDX.
    pub security_version: u16,
    /// What the attested program put there.
    pub report_data: [u8; 64],
    /// Whether its operator can read its memory: SGX: DEBUG. TDX: DEBUG or profiling of the domain by the host.
    pub debug: bool,
    /// The single registers of a TDX domain; `None` for SGX.
    pub tdx: Option<TdxMeasurements>,
    /// Of the platform, lowered by a TDX module or quoting enclave that is out of date or revoked.
    pub tcb_status: TcbStatus,
    /// Of the matched levels, sorted, without repetition.
    pub advisories: Vec<Advisory>,
    /// The platform: SHA-256 over `cloister/1`, `platform`, the root (`intel` or `development`) and the platform's PPID, each as
    /// u32 (little endian) length and bytes.
    pub platform_id_hash: [u8; 32],
    /// Family, model, stepping, platform type and custom SKU of the platform.
    pub fmspc: [u8; 6],
    /// The lower of TCB info's and QE identity's `tcbEvaluationDataNumber`.
    pub evaluation_number: u32,
    /// Unix milliseconds: since when the vendor judges so. Of the matched levels of platform and TDX module the older.
    pub tcb_date: u64,
    /// Whether the revocation lists of root and PCK issuer were there. A revoked certificate is an error, never a fact.
    pub revocation_checked: bool,
    /// Unix milliseconds of the oldest issue date among TCB info, QE identity and revocation lists.
    pub collateral_issued: u64,
    /// The time inside all validities: certificates, TCB info, QE identity, revocation lists.
    pub validity: Validity,
}

/// Measurements of a TDX trust domain (48 bytes each: SHA-384).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct TdxMeasurements {
    /// Of the initial contents.
    pub mr_td: [u8; 48],
    /// Extended at run time.
    pub rtmr: [[u8; 48]; 4],
    /// Software-defined configuration.
    pub mr_config_id: [u8; 48],
    /// Software-defined owner.
    pub mr_owner: [u8; 48],
    /// Software-defined configuration of the owner.
    pub mr_owner_config: [u8; 48],
    /// Signer of the TDX module; zero is Intel.
    pub mr_signer_seam: [u8; 48],
    /// TD attributes.
    pub attributes: u64,
    /// Features of the domain's extended state.
    pub xfam: u64,
    /// Whether the domain is bound to a service TD, which could read it (SERVTD_EXT).
    pub service_td: bool,
}
