//! DCAP quotes: SGX version 3 and TDX version 4 (Intel SGX ECDSA QuoteLibReference, Intel TDX DCAP Quoting Library API).

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::key::Key;

/// A quote before it is signed.
#[derive(Clone)]
pub struct Quote {
    /// First 48 bytes.
    pub header: Header,
    /// What is attested.
    pub body: Body,
    /// Of the quoting enclave.
    pub attestation_key: Key,
    /// Written and vouched for in place of its public half.
    pub attestation_public_key: Option<[u8; 64]>,
    /// Signs header and body in place of the attestation key.
    pub signed_by: Option<Key>,
    /// Report of the quoting enclave. Its report data is overwritten, see `qe_report_data`.
    pub qe_report: EnclaveReport,
    /// In place of SHA-256(attestation key ‖ QE authentication data) ‖ zeros.
    pub qe_report_data: Option<[u8; 64]>,
    /// Signs the report of the quoting enclave in place of the PCK key.
    pub qe_report_signed_by: Option<Key>,
    /// Chosen by the quoting enclave.
    pub qe_auth_data: Vec<u8>,
    /// 5: PCK certificate chain in PEM.
    pub certification_type: u16,
    /// In place of the PCK certificate chain.
    pub certification_data: Option<Vec<u8>>,
    /// 6: report of the quoting enclave and what certifies it. In version 4 only.
    pub outer_certification_type: u16,
    /// Lengths that are written in place of the true ones.
    pub lengths: Lengths,
    /// After the quote.
    pub trailing: Vec<u8>,
    /// After the certification data, inside the signature data.
    pub inner_trailing: Vec<u8>,
}

/// First 48 bytes of a quote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// 3 or 4.
    pub version: u16,
    /// 2: ECDSA P-256.
    pub attestation_key_type: u16,
    /// 0 SGX, 0x81 TDX.
    pub tee_type: u32,
    /// Security version of the quoting enclave; reserved in version 4.
    pub qe_svn: u16,
    /// Security version of the provisioning certification enclave; reserved in version 4.
    pub pce_svn: u16,
    /// Intel's: [`INTEL_QE_VENDOR_ID`].
    pub qe_vendor_id: [u8; 16],
    /// Ignored.
    pub user_data: [u8; 20],
}

/// What is attested.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "plain fields are easier to change")]
pub enum Body {
    /// An SGX enclave.
    Sgx(EnclaveReport),
    /// A TDX trust domain.
    Tdx(Box<TdReport>),
    /// Anything.
    Raw(Vec<u8>),
}

/// Report of an SGX enclave, 384 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnclaveReport {
    /// CPUSVN.
    pub cpu_svn: [u8; 16],
    /// MISCSELECT.
    pub misc_select: [u8; 4],
    /// Reserved (with ISVEXTPRODID).
    pub reserved1: [u8; 28],
    /// ATTRIBUTES; bit 1 is DEBUG.
    pub attributes: [u8; 16],
    /// MRENCLAVE.
    pub mr_enclave: [u8; 32],
    /// Reserved.
    pub reserved2: [u8; 32],
    /// MRSIGNER.
    pub mr_signer: [u8; 32],
    /// Reserved (with CONFIGID).
    pub reserved3: [u8; 96],
    /// ISVPRODID.
    pub isv_prod_id: u16,
    /// ISVSVN.
    pub isv_svn: u16,
    /// Reserved (with CONFIGSVN and ISVFAMILYID).
    pub reserved4: [u8; 60],
    /// Chosen by the enclave.
    pub report_data: [u8; 64],
}

/// Report of a TDX 1.0 trust domain, 584 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TdReport {
    /// TEE_TCB_SVN: [0] is the module's security version, [1] its major version.
    pub tee_tcb_svn: [u8; 16],
    /// Measurement of the TDX module.
    pub mr_seam: [u8; 48],
    /// Signer of the TDX module; zero is Intel.
    pub mr_signer_seam: [u8; 48],
    /// Attributes of the TDX module.
    pub seam_attributes: [u8; 8],
    /// TDATTRIBUTES; bit 0 is DEBUG.
    pub td_attributes: [u8; 8],
    /// XFAM.
    pub xfam: [u8; 8],
    /// MRTD.
    pub mr_td: [u8; 48],
    /// MRCONFIGID.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// RTMR0 to RTMR3.
    pub rtmr: [[u8; 48]; 4],
    /// Chosen by the domain.
    pub report_data: [u8; 64],
}

/// Lengths that are written in place of the true ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lengths {
    /// Of the signature data.
    pub signature_data: Option<u32>,
    /// Of the outer certification data (version 4).
    pub outer_certification_data: Option<u32>,
    /// Of the QE authentication data.
    pub qe_auth_data: Option<u16>,
    /// Of the certification data.
    pub certification_data: Option<u32>,
}

/// Where the parts of an encoded quote lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Regions {
    /// Header.
    pub header: Range<usize>,
    /// Body.
    pub body: Range<usize>,
    /// Over header and body.
    pub signature: Range<usize>,
    /// x ‖ y.
    pub attestation_key: Range<usize>,
    /// Report of the quoting enclave.
    pub qe_report: Range<usize>,
    /// Over it.
    pub qe_report_signature: Range<usize>,
    /// QE authentication data.
    pub qe_auth_data: Range<usize>,
    /// PCK certificate chain.
    pub certification_data: Range<usize>,
}

/// Intel's quoting enclaves: 939a7233-f79c-4ca9-940a-0db3957f0607.
pub const INTEL_QE_VENDOR_ID: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];

impl Quote {
    /// Signs and encodes.
    pub fn encode(&self, pck_key: &Key, pck_chain_pem: &[u8]) -> (Vec<u8>, Regions) {
        let mut out = Writer::default();
        let header = out.put(&self.header.encode());
        let body = out.put(&self.body.encode());
        let signature = self.signed_by.as_ref().unwrap_or(&self.attestation_key).sign(&out.0);
        let chain = self.certification_data.as_deref().unwrap_or(pck_chain_pem);
        let nested = self.header.version >= 4;
        let after_outer = [384, 64, 2, self.qe_auth_data.len(), 2, 4, chain.len(), self.inner_trailing.len()]
            .into_iter()
            .fold(0usize, usize::saturating_add);
        let signature_data = after_outer.saturating_add(if nested { 64 + 64 + 6 } else { 64 + 64 });
        out.put(&self.lengths.signature_data.unwrap_or(length(signature_data)).to_le_bytes());
        let signature = out.put(&signature);
        let attestation_key = out.put(&self.public_key());
        if nested {
            out.put(&self.outer_certification_type.to_le_bytes());
            out.put(&self.lengths.outer_certification_data.unwrap_or(length(after_outer)).to_le_bytes());
        }
        let qe_report = self.qe_report();
        let qe_report_signature = self.qe_report_signed_by.as_ref().unwrap_or(pck_key).sign(&qe_report);
        let qe_report = out.put(&qe_report);
        let qe_report_signature = out.put(&qe_report_signature);
        let auth_length = u16::try_from(self.qe_auth_data.len()).unwrap_or(u16::MAX);
        out.put(&self.lengths.qe_auth_data.unwrap_or(auth_length).to_le_bytes());
        let qe_auth_data = out.put(&self.qe_auth_data);
        out.put(&self.certification_type.to_le_bytes());
        out.put(&self.lengths.certification_data.unwrap_or(length(chain.len())).to_le_bytes());
        let certification_data = out.put(chain);
        out.put(&self.inner_trailing);
        out.put(&self.trailing);
        let regions = Regions {
            header,
            body,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_auth_data,
            certification_data,
        };
        (out.0, regions)
    }

    fn public_key(&self) -> [u8; 64] {
        self.attestation_public_key.unwrap_or_else(|| self.attestation_key.public())
    }

    fn qe_report(&self) -> Vec<u8> {
        let report_data = self.qe_report_data.unwrap_or_else(|| {
            let hash = Sha256::new_with_prefix(self.public_key()).chain_update(&self.qe_auth_data).finalize();
            let mut report_data = [0; 64];
            for (to, from) in report_data.iter_mut().zip(hash) {
                *to = from;
            }
            report_data
        });
        EnclaveReport { report_data, ..self.qe_report.clone() }.encode()
    }
}

impl Header {
    /// Of quotes that Intel's quoting enclaves make of SGX enclaves (version 3).
    pub const SGX: Self = Self {
        version: 3,
        attestation_key_type: 2,
        tee_type: 0,
        qe_svn: 10,
        pce_svn: 15,
        qe_vendor_id: INTEL_QE_VENDOR_ID,
        user_data: [0; 20],
    };

    /// Of quotes that Intel's quoting enclaves make of TDX domains (version 4).
    pub const TDX: Self = Self { version: 4, tee_type: 0x81, qe_svn: 0, pce_svn: 0, ..Self::SGX };

    /// 48 bytes.
    pub fn encode(&self) -> Vec<u8> {
        [
            &self.version.to_le_bytes()[..],
            &self.attestation_key_type.to_le_bytes(),
            &self.tee_type.to_le_bytes(),
            &self.qe_svn.to_le_bytes(),
            &self.pce_svn.to_le_bytes(),
            &self.qe_vendor_id,
            &self.user_data,
        ]
        .concat()
    }
}

impl Body {
    /// 384 bytes for SGX, 584 for TDX.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Sgx(report) => report.encode(),
            Self::Tdx(report) => report.encode(),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

impl EnclaveReport {
    /// 384 bytes.
    pub fn encode(&self) -> Vec<u8> {
        [
            &self.cpu_svn[..],
            &self.misc_select,
            &self.reserved1,
            &self.attributes,
            &self.mr_enclave,
            &self.reserved2,
            &self.mr_signer,
            &self.reserved3,
            &self.isv_prod_id.to_le_bytes(),
            &self.isv_svn.to_le_bytes(),
            &self.reserved4,
            &self.report_data,
        ]
        .concat()
    }
}

impl TdReport {
    /// 584 bytes.
    pub fn encode(&self) -> Vec<u8> {
        [
            &self.tee_tcb_svn[..],
            &self.mr_seam,
            &self.mr_signer_seam,
            &self.seam_attributes,
            &self.td_attributes,
            &self.xfam,
            &self.mr_td,
            &self.mr_config_id,
            &self.mr_owner,
            &self.mr_owner_config,
            self.rtmr.as_flattened(),
            &self.report_data,
        ]
        .concat()
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.0.len();
        self.0.extend(bytes);
        start..self.0.len()
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
