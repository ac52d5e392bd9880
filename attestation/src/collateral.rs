//! Collateral as it is used: verified, and without what no check needs.
#![allow(clippy::cast_possible_truncation, reason = "derived encoders cast the literal index of a variant")]

use alloc::vec::Vec;

use cloister_claims::{Advisory, TcbStatus, Validity};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Which root of trust something hangs on.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum RootOfTrust {
    /// Intel SGX Root CA.
    #[codec(index = 0)]
    Intel,
    /// The development root, whose private key is public.
    #[codec(index = 1)]
    Development,
}

/// Serial number of a certificate: the content octets of its DER INTEGER, at most 21.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Serial(pub Vec<u8>);

/// The certificate that signed a verified document: looked up in the root's revocation list again whenever the document is
/// used, because that list may be newer than the document.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Signer {
    /// Its serial number under the root.
    pub serial: Serial,
    /// Of its chain.
    pub validity: Validity,
}

/// Verified TCB info (version 3).
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct TcbInfo {
    /// Its root.
    pub root: RootOfTrust,
    /// What it speaks about.
    pub platform: PlatformType,
    /// From issue date to next update.
    pub validity: Validity,
    /// Platforms that it speaks about.
    pub fmspc: [u8; 6],
    /// Provisioning certification enclave.
    pub pce_id: [u8; 2],
    /// Rises with every re-evaluation by the vendor.
    pub evaluation_number: u32,
    /// Identities of TDX modules; none for SGX. The first is the one of the version 0 module (`tdxModule`).
    pub tdx_modules: Vec<TdxModule>,
    /// Strictly falling by SGX components, then PCE, then TDX components, whatever the order of publication.
    pub levels: Vec<TcbLevel>,
    /// Who signed it.
    pub signer: Signer,
}

/// What a TCB info speaks about (its `id`).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum PlatformType {
    /// `SGX`.
    #[codec(index = 0)]
    Sgx,
    /// `TDX`.
    #[codec(index = 1)]
    Tdx,
}

/// One level of a platform's TCB.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct TcbLevel {
    /// `sgxtcbcomponents`: always exactly 16.
    pub sgx_components: [u8; 16],
    /// Of the provisioning certification enclave.
    pub pce_svn: u16,
    /// `tdxtcbcomponents`: exactly 16, for TDX only.
    pub tdx_components: Option<[u8; 16]>,
    /// Status of platforms at this level.
    pub status: TcbStatus,
    /// Unix milliseconds.
    pub date: u64,
    /// Open advisories at this level.
    pub advisories: Vec<Advisory>,
}

/// Identity of a TDX module.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct TdxModule {
    /// Major version (`TDX_01` is 1); 0 for `tdxModule`.
    pub version: u8,
    /// MRSIGNERSEAM.
    pub mr_signer: [u8; 48],
    /// SEAMATTRIBUTES.
    pub attributes: [u8; 8],
    /// Bits of them that count.
    pub attributes_mask: [u8; 8],
    /// As published, newest first.
    pub levels: Vec<IsvLevel>,
}

/// A level by security version, of a quoting enclave or a TDX module.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct IsvLevel {
    /// Lowest ISVSVN at this level.
    pub isv_svn: u16,
    /// Its status.
    pub status: TcbStatus,
    /// Unix milliseconds.
    pub date: u64,
    /// Open advisories at this level.
    pub advisories: Vec<Advisory>,
}

/// Verified identity (version 2) of a quoting enclave.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct QeIdentity {
    /// Its root.
    pub root: RootOfTrust,
    /// `QE` quotes SGX, `TD_QE` TDX.
    pub platform: PlatformType,
    /// From issue date to next update.
    pub validity: Validity,
    /// Rises with every re-evaluation by the vendor.
    pub evaluation_number: u32,
    /// MISCSELECT.
    pub misc_select: [u8; 4],
    /// Bits of it that count.
    pub misc_select_mask: [u8; 4],
    /// ATTRIBUTES.
    pub attributes: [u8; 16],
    /// Bits of them that count.
    pub attributes_mask: [u8; 16],
    /// MRSIGNER.
    pub mr_signer: [u8; 32],
    /// ISVPRODID.
    pub isv_prod_id: u16,
    /// As published, newest first.
    pub levels: Vec<IsvLevel>,
    /// Who signed it.
    pub signer: Signer,
}

/// Whose certificates a revocation list revokes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum CrlIssuer {
    /// The root's.
    #[codec(index = 0)]
    Root,
    /// `Intel SGX PCK Processor CA`.
    #[codec(index = 1)]
    Processor,
    /// `Intel SGX PCK Platform CA`.
    #[codec(index = 2)]
    Platform,
}

/// A verified revocation list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct RevocationList {
    /// Its root.
    pub root: RootOfTrust,
    /// Who revokes.
    pub issuer: CrlIssuer,
    /// From this update to one millisecond before the next.
    pub validity: Validity,
    /// CRL number, rising.
    pub number: u64,
    /// Sorted serial numbers of revoked certificates.
    pub revoked: Vec<Serial>,
    /// The issuer's certificate; `None` for the root's own list.
    pub signer: Option<Signer>,
}

/// Verified collateral for one quote. Revocation lists may be absent; then the result says so.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedCollateral<'a> {
    /// TCB info.
    pub tcb_info: &'a TcbInfo,
    /// Identity of the quoting enclave.
    pub qe_identity: &'a QeIdentity,
    /// The root's list.
    pub root_crl: Option<&'a RevocationList>,
    /// The list of whoever issued the platform's PCK certificate.
    pub pck_crl: Option<&'a RevocationList>,
}
