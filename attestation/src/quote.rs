//! DCAP quotes as bytes: SGX version 3 and TDX version 4 (TD report 1.0), after Intel's "SGX Data Center Attestation
//! Primitives: ECDSA Quote Library API" appendix A.4 and "TDX DCAP Quoting Library API" appendix A.3. Little endian.
//!
//! Nothing here is verified. What is parsed is exactly what is there: every declared length must be used up.
//!
//! Two things outside the signed bytes are tolerated because Intel's own software produces them: bytes 0 after the quote
//! (callers hand out their whole buffer, which is an estimate; recorded TDX quotes have 70 of them) and bytes 0 after the
//! certificate chain (a C string). Any other byte there is refused, and none of them is part of anything that is hashed.
//!
//! Reserved bytes of reports are written by the processor and signed with the rest. They carry no meaning and later
//! processors may give them one, so they are not compared with zero.

use cloister_claims::{Error, Evidence};

/// Bytes of an SGX report body.
pub const ENCLAVE_REPORT_BYTES: usize = 384;
/// Bytes of a TD report 1.0.
pub const TD_REPORT_BYTES: usize = 584;

const HEADER_BYTES: usize = 48;
const VERSION_SGX: u16 = 3;
const VERSION_TDX: u16 = 4;
const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;
/// ECDSA-256-with-P-256.
const KEY_TYPE_P256: u16 = 2;
const INTEL_QE_VENDOR: [u8; 16] = *b"\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07";
/// PCK leaf, its issuer and the root, PEM.
const CERTIFICATION_PCK_CHAIN: u16 = 5;
/// The quoting enclave's report and what certifies it; only in quotes of version 4.
const CERTIFICATION_QE_REPORT: u16 = 6;

/// A parsed quote.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    /// Bytes of the quote itself, without the zeros that may follow it.
    pub length: usize,
    /// Header and report: what the attestation key signs.
    pub signed: &'a [u8],
    /// Who is attested.
    pub report: Report<'a>,
    /// By the attestation key, r ‖ s.
    pub signature: &'a [u8; 64],
    /// P-256, x ‖ y.
    pub attestation_key: &'a [u8; 64],
    /// Report of the quoting enclave, which vouches for the attestation key.
    pub qe_report: EnclaveReport<'a>,
    /// By the PCK key, r ‖ s.
    pub qe_report_signature: &'a [u8; 64],
    /// Hashed with the attestation key into the quoting enclave's report.
    pub qe_authentication: &'a [u8; 32],
    /// PCK certificate, its issuer, the root: PEM.
    pub pck_chain: &'a [u8],
}

/// Report of what is attested.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists at a time, on the stack")]
pub enum Report<'a> {
    /// Of an SGX enclave.
    Enclave(EnclaveReport<'a>),
    /// Of a TDX domain.
    Domain(TdReport<'a>),
}

/// Body of an SGX report.
#[derive(Clone, Debug)]
pub struct EnclaveReport<'a> {
    /// All of it.
    pub bytes: &'a [u8; ENCLAVE_REPORT_BYTES],
    /// MISCSELECT.
    pub misc_select: [u8; 4],
    /// ATTRIBUTES: flags and XFRM.
    pub attributes: [u8; 16],
    /// MRENCLAVE.
    pub mr_enclave: [u8; 32],
    /// MRSIGNER.
    pub mr_signer: [u8; 32],
    /// ISVPRODID.
    pub isv_prod_id: u16,
    /// ISVSVN.
    pub isv_svn: u16,
    /// REPORTDATA.
    pub report_data: [u8; 64],
}

/// TD report 1.0.
#[derive(Clone, Debug)]
pub struct TdReport<'a> {
    /// All of it.
    pub bytes: &'a [u8; TD_REPORT_BYTES],
    /// Security versions of the TDX module (0: its security version, 1: its major version) and of what is below it.
    pub tee_tcb_svn: [u8; 16],
    /// Signer of the TDX module.
    pub mr_signer_seam: [u8; 48],
    /// Attributes of the TDX module.
    pub seam_attributes: [u8; 8],
    /// Attributes of the domain.
    pub td_attributes: u64,
    /// Extended features of the domain.
    pub xfam: u64,
    /// Measurement of the initial contents.
    pub mr_td: [u8; 48],
    /// Software-defined configuration.
    pub mr_config_id: [u8; 48],
    /// Software-defined owner.
    pub mr_owner: [u8; 48],
    /// Software-defined configuration of the owner.
    pub mr_owner_config: [u8; 48],
    /// Run-time measurements.
    pub rtmr: [[u8; 48]; 4],
    /// REPORTDATA.
    pub report_data: [u8; 64],
}

impl<'a> Quote<'a> {
    /// Parses a quote of at most [`Evidence::MAX_BYTES`].
    pub fn parse(quote: &'a [u8]) -> Result<Self, Error> {
        if quote.len() > Evidence::MAX_BYTES {
            return Err(Error::QuoteTooLarge);
        }
        let mut reader = Reader(quote);
        let version = parse_header(&mut Reader(reader.array::<HEADER_BYTES>()?))?;
        let report = match version {
            Version::Sgx => Report::Enclave(EnclaveReport::parse(reader.array()?)?),
            Version::Tdx => Report::Domain(TdReport::parse(reader.array()?)?),
        };
        let signed = quote.get(..quote.len().saturating_sub(reader.0.len())).ok_or(Error::QuoteTruncated)?;
        let mut signature_data = Reader(reader.sized_u32()?);
        let length = quote.len().saturating_sub(reader.0.len());
        if reader.0.iter().any(|byte| *byte != 0) {
            return Err(Error::TrailingBytes);
        }
        let signature = signature_data.array()?;
        let attestation_key = signature_data.array()?;
        if version == Version::Tdx {
            signature_data = Reader(signature_data.certification(CERTIFICATION_QE_REPORT)?);
        }
        let qe_report = EnclaveReport::parse(signature_data.array()?)?;
        let qe_report_signature = signature_data.array()?;
        // The format leaves the length open; Intel's quoting enclaves have always used 32 bytes.
        let qe_authentication = signature_data.sized_u16()?.try_into().map_err(|_| Error::QeAuthenticationData)?;
        let pck_chain = signature_data.certification(CERTIFICATION_PCK_CHAIN)?;
        Ok(Self {
            length,
            signed,
            report,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_authentication,
            pck_chain: without_final_zeros(pck_chain),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Sgx,
    Tdx,
}

/// The fields that are not read here (security versions and user data of the quoting enclave) are its own statements and
/// decide nothing: its security version counts as its report states it.
fn parse_header(header: &mut Reader) -> Result<Version, Error> {
    let version = match header.u16()? {
        VERSION_SGX => Version::Sgx,
        VERSION_TDX => Version::Tdx,
        _ => return Err(Error::QuoteVersion),
    };
    if header.u16()? != KEY_TYPE_P256 {
        return Err(Error::AttestationKeyType);
    }
    // Version 3 has reserved zeros where version 4 has the TEE type. The format of version 4 has room for SGX reports, but
    // no quoting enclave of Intel's makes such quotes.
    match (version, header.u32()?) {
        (Version::Sgx, TEE_SGX) | (Version::Tdx, TEE_TDX) => {}
        _ => return Err(Error::TeeType),
    }
    header.bytes(4)?;
    if *header.array()? != INTEL_QE_VENDOR {
        return Err(Error::QeVendor);
    }
    Ok(version)
}

impl<'a> EnclaveReport<'a> {
    fn parse(bytes: &'a [u8; ENCLAVE_REPORT_BYTES]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        // CPUSVN: the PCK certificate states what counts.
        reader.bytes(16)?;
        let misc_select = *reader.array()?;
        reader.bytes(28)?;
        let attributes = *reader.array()?;
        let mr_enclave = *reader.array()?;
        reader.bytes(32)?;
        let mr_signer = *reader.array()?;
        reader.bytes(96)?;
        let isv_prod_id = reader.u16()?;
        let isv_svn = reader.u16()?;
        reader.bytes(60)?;
        let report_data = *reader.array()?;
        Ok(Self { bytes, misc_select, attributes, mr_enclave, mr_signer, isv_prod_id, isv_svn, report_data })
    }

    /// Whether the enclave's memory can be read from outside.
    pub fn is_debug(&self) -> bool {
        self.attributes.first().is_some_and(|flags| flags & 0b10 != 0)
    }
}

impl<'a> TdReport<'a> {
    fn parse(bytes: &'a [u8; TD_REPORT_BYTES]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        let tee_tcb_svn = *reader.array()?;
        // MRSEAM: the TCB info names the module by signer and version.
        reader.bytes(48)?;
        Ok(Self {
            bytes,
            tee_tcb_svn,
            mr_signer_seam: *reader.array()?,
            seam_attributes: *reader.array()?,
            td_attributes: reader.u64()?,
            xfam: reader.u64()?,
            mr_td: *reader.array()?,
            mr_config_id: *reader.array()?,
            mr_owner: *reader.array()?,
            mr_owner_config: *reader.array()?,
            rtmr: [*reader.array()?, *reader.array()?, *reader.array()?, *reader.array()?],
            report_data: *reader.array()?,
        })
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Error::QuoteTruncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Error::QuoteTruncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn sized_u16(&mut self) -> Result<&'a [u8], Error> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    fn sized_u32(&mut self) -> Result<&'a [u8], Error> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).map_err(|_| Error::QuoteTruncated)?)
    }

    /// Certification data of this type, which must be the last thing there is.
    fn certification(&mut self, kind: u16) -> Result<&'a [u8], Error> {
        if self.u16()? != kind {
            return Err(Error::CertificationDataType);
        }
        let certification = self.sized_u32()?;
        match self.0 {
            [] => Ok(certification),
            _ => Err(Error::SignatureDataLength),
        }
    }
}

fn without_final_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = bytes {
        bytes = rest;
    }
    bytes
}
