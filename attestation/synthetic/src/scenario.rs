//! A platform's evidence with all its collateral, before it is signed: build, change one thing, sign, use.

use cloister_claims::{Collateral, SignedCrl};
use sha2::{Digest, Sha256};

use crate::{
    TCB_DATE, VALID_FROM, VALID_UNTIL,
    authority::{Authority, PckIssuer},
    certificate::{Certificate, Certified, Role, pem},
    crl::Crl,
    documents::{IsvLevel, QeIdentity, Tcb, TcbInfo, TcbLevel, TdxModule, TdxModuleIdentity},
    key::Key,
    quote::{Body, EnclaveReport, Header, Lengths, Quote, Regions, TdReport},
    sgx_extension::{Configuration, PckTcb, SgxExtension},
};

/// A processor that can attest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// Its PCK key, attestation key, PPID and platform instance id are drawn from this.
    pub id: [u8; 32],
    /// What it quotes.
    pub tee: Tee,
    /// Who issued its PCK certificate.
    pub issuer: PckIssuer,
}

/// What a platform quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tee {
    /// SGX enclaves, quote version 3.
    Sgx,
    /// TDX domains, quote version 4.
    Tdx,
}

impl Platform {
    /// A single-package platform that quotes SGX enclaves.
    pub const fn sgx(id: [u8; 32]) -> Self {
        Self { id, tee: Tee::Sgx, issuer: PckIssuer::Processor }
    }

    /// A multi-package platform that quotes TDX domains.
    pub const fn tdx(id: [u8; 32]) -> Self {
        Self { id, tee: Tee::Tdx, issuer: PckIssuer::Platform }
    }
}

/// Evidence and collateral of one platform. As made by [`Scenario::new`] everything is right and up to date; every field
/// may be changed before [`Scenario::build`] signs. Each signed part has `raw`, signed in place of what its fields say,
/// and `signed_by`, who signs in place of the rightful signer.
#[derive(Clone)]
pub struct Scenario {
    /// Roots and authorities.
    pub authority: Authority,
    /// Who issued the PCK certificate.
    pub issuer: PckIssuer,
    /// PCK key and certificate, without Intel's extension.
    pub pck: Certified,
    /// Intel's extension, appended to the PCK certificate's.
    pub sgx_extension: Option<SgxExtension>,
    /// DER certificates in the quote, in place of PCK certificate, its issuer and the root.
    pub pck_chain: Option<Vec<Vec<u8>>>,
    /// The quote.
    pub quote: Quote,
    /// TCB info.
    pub tcb_info: TcbInfo,
    /// Identity of the quoting enclave.
    pub qe_identity: QeIdentity,
    /// The root's revocation list.
    pub root_crl: Option<Crl>,
    /// The revocation list of the PCK certificate's issuer.
    pub pck_crl: Option<Crl>,
}

impl Scenario {
    /// Everything right.
    pub fn new(authority: &Authority, platform: &Platform) -> Self {
        let Platform { id, tee, issuer } = *platform;
        let ca = authority.pck_ca(issuer);
        let ca_name = match issuer {
            PckIssuer::Processor => "Intel SGX PCK Processor CA",
            PckIssuer::Platform => "Intel SGX PCK Platform CA",
        };
        let key = Key::from_seed(&id, "pck");
        let certificate = Certificate::new("Intel SGX PCK Certificate", &key, ca_name, &ca.key, Role::Leaf);
        Self {
            issuer,
            pck: Certified { key, certificate },
            sgx_extension: Some(sgx_extension(&id, tee, issuer)),
            pck_chain: None,
            quote: quote(&id, tee),
            tcb_info: tcb_info(tee),
            qe_identity: qe_identity(tee),
            root_crl: Some(Crl::of(&authority.root)),
            pck_crl: Some(Crl::of(ca)),
            authority: authority.clone(),
        }
    }

    /// SGX evidence of an ordinary platform under a root.
    pub fn sgx(authority: &Authority) -> Self {
        Self::new(authority, &Platform::sgx([1; 32]))
    }

    /// TDX evidence of an ordinary platform under a root.
    pub fn tdx(authority: &Authority) -> Self {
        Self::new(authority, &Platform::tdx([2; 32]))
    }

    /// Signs everything.
    pub fn build(&self) -> (Vec<u8>, Collateral) {
        (self.quote(), self.collateral())
    }

    /// Signs the quote and what certifies it.
    pub fn quote(&self) -> Vec<u8> {
        self.quote_with_regions().0
    }

    /// The same, and where its parts lie.
    pub fn quote_with_regions(&self) -> (Vec<u8>, Regions) {
        let chain = self.pck_chain.clone().unwrap_or_else(|| self.rightful_pck_chain());
        // Intel's library ends the chain with the zero of a C string.
        let chain = [pem(&chain), vec![0]].concat();
        self.quote.encode(&self.pck.key, &chain)
    }

    /// PCK certificate, its issuer and the root in DER.
    pub fn rightful_pck_chain(&self) -> Vec<Vec<u8>> {
        let root = &self.authority.root;
        let ca = self.authority.pck_ca(self.issuer);
        vec![self.pck_certificate().der(&ca.key), ca.certificate.der(&root.key), root.certificate.der(&root.key)]
    }

    /// The PCK certificate with Intel's extension.
    pub fn pck_certificate(&self) -> Certificate {
        let mut certificate = self.pck.certificate.clone();
        certificate.extensions.extend(self.sgx_extension.as_ref().map(SgxExtension::extension));
        certificate
    }

    /// Signs the collateral.
    pub fn collateral(&self) -> Collateral {
        let Authority { root, tcb_signing, .. } = &self.authority;
        Collateral {
            tcb_info: self.tcb_info.sign(tcb_signing, root),
            qe_identity: self.qe_identity.sign(tcb_signing, root),
            root_crl: self.root_crl.as_ref().map(|crl| crl.der(&root.key)),
            pck_crl: self.pck_crl.as_ref().map(|crl| SignedCrl {
                crl: crl.der(&self.authority.pck_ca(self.issuer).key),
                issuer_chain: self.authority.pck_ca_chain(self.issuer),
            }),
        }
    }

    /// The body's enclave report; `None` for TDX.
    pub fn enclave_report_mut(&mut self) -> Option<&mut EnclaveReport> {
        match &mut self.quote.body {
            Body::Sgx(report) => Some(report),
            _ => None,
        }
    }

    /// The body's domain report; `None` for SGX.
    pub fn td_report_mut(&mut self) -> Option<&mut TdReport> {
        match &mut self.quote.body {
            Body::Tdx(report) => Some(report),
            _ => None,
        }
    }

    /// With this report data in the body.
    pub fn with_report_data(mut self, report_data: &[u8; 64]) -> Self {
        match &mut self.quote.body {
            Body::Sgx(report) => report.report_data = *report_data,
            Body::Tdx(report) => report.report_data = *report_data,
            Body::Raw(_) => {}
        }
        self
    }

    /// With this MRENCLAVE (SGX) or, zero-padded, MRTD (TDX).
    pub fn with_measurement(mut self, measurement: &[u8; 32]) -> Self {
        match &mut self.quote.body {
            Body::Sgx(report) => report.mr_enclave = *measurement,
            Body::Tdx(report) => {
                report.mr_td = [0; 48];
                for (to, from) in report.mr_td.iter_mut().zip(measurement) {
                    *to = *from;
                }
            }
            Body::Raw(_) => {}
        }
        self
    }
}

fn sgx_extension(id: &[u8; 32], tee: Tee, issuer: PckIssuer) -> SgxExtension {
    let multi_package = issuer == PckIssuer::Platform;
    SgxExtension {
        ppid: Some(drawn(id, "ppid")),
        tcb: Some(PckTcb {
            components: CPU_SVN.map(u64::from).to_vec(),
            pce_svn: Some(PCE_SVN),
            cpu_svn: Some(CPU_SVN.to_vec()),
            more: vec![],
        }),
        pce_id: Some(vec![0, 0]),
        fmspc: Some(fmspc(tee).to_vec()),
        sgx_type: Some(multi_package.into()),
        platform_instance_id: multi_package.then(|| drawn(id, "platform instance")),
        configuration: multi_package.then_some(Configuration {
            dynamic_platform: false,
            cached_keys: true,
            smt_enabled: true,
        }),
        more: vec![],
    }
}

fn quote(id: &[u8; 32], tee: Tee) -> Quote {
    let (header, body) = match tee {
        Tee::Sgx => (Header::SGX, Body::Sgx(EnclaveReport { mr_enclave: [0xe1; 32], ..enclave_report([0xe2; 32]) })),
        Tee::Tdx => (Header::TDX, Body::Tdx(Box::new(td_report()))),
    };
    Quote {
        header,
        body,
        attestation_key: Key::from_seed(id, "attestation"),
        attestation_public_key: None,
        signed_by: None,
        qe_report: EnclaveReport {
            attributes: QE_ATTRIBUTES,
            mr_enclave: [0xe3; 32],
            isv_prod_id: isv_prod_id(tee),
            isv_svn: 8,
            ..enclave_report(QE_MR_SIGNER)
        },
        qe_report_data: None,
        qe_report_signed_by: None,
        qe_auth_data: (0..32).collect(),
        certification_type: 5,
        certification_data: None,
        outer_certification_type: 6,
        lengths: Lengths::default(),
        trailing: vec![],
        inner_trailing: vec![],
    }
}

fn enclave_report(mr_signer: [u8; 32]) -> EnclaveReport {
    EnclaveReport {
        cpu_svn: CPU_SVN,
        misc_select: [0; 4],
        reserved1: [0; 28],
        attributes: [5, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0],
        mr_enclave: [0; 32],
        reserved2: [0; 32],
        mr_signer,
        reserved3: [0; 96],
        isv_prod_id: 1,
        isv_svn: 1,
        reserved4: [0; 60],
        report_data: [0; 64],
    }
}

fn td_report() -> TdReport {
    TdReport {
        tee_tcb_svn: TEE_TCB_SVN,
        mr_seam: [0xd1; 48],
        mr_signer_seam: [0; 48],
        seam_attributes: [0; 8],
        td_attributes: [0, 0, 0, 0x10, 0, 0, 0, 0],
        xfam: [0xe7, 2, 6, 0, 0, 0, 0, 0],
        mr_td: [0xd2; 48],
        mr_config_id: [0; 48],
        mr_owner: [0; 48],
        mr_owner_config: [0; 48],
        rtmr: [[0xd3; 48], [0xd4; 48], [0xd5; 48], [0; 48]],
        report_data: [0; 64],
    }
}

fn tcb_info(tee: Tee) -> TcbInfo {
    let tdx = tee == Tee::Tdx;
    let module = || TdxModule { mrsigner: vec![0; 48], attributes: vec![0; 8], attributes_mask: vec![0xff; 8] };
    let level = |sgx: u8, pce_svn, tdx_svn: u8, status: &str, advisories: Option<&[&str]>| TcbLevel {
        tcb: Tcb {
            sgx_components: CPU_SVN.map(|svn| svn.min(sgx).into()).to_vec(),
            pce_svn,
            tdx_components: tdx.then(|| TEE_TCB_SVN.map(|svn| svn.min(tdx_svn).into()).to_vec()),
        },
        tcb_date: TCB_DATE,
        tcb_status: status.into(),
        advisory_ids: advisories.map(|ids| ids.iter().map(|id| String::from(*id)).collect()),
    };
    TcbInfo {
        id: if tdx { "TDX" } else { "SGX" }.into(),
        version: 3,
        issue_date: VALID_FROM,
        next_update: VALID_UNTIL,
        fmspc: fmspc(tee).to_vec(),
        pce_id: vec![0, 0],
        tcb_type: 0,
        tcb_evaluation_data_number: EVALUATION_NUMBER,
        tdx_module: tdx.then(module),
        tdx_module_identities: tdx.then(|| {
            vec![TdxModuleIdentity {
                id: "TDX_01".into(),
                module: module(),
                tcb_levels: vec![isv_level(5, "UpToDate", None), isv_level(2, "OutOfDate", Some(&["INTEL-SA-01036"]))],
            }]
        }),
        tcb_levels: vec![
            level(u8::MAX, PCE_SVN, u8::MAX, "UpToDate", None),
            level(5, 10, 2, "OutOfDate", Some(&["INTEL-SA-00828", "INTEL-SA-00615"])),
        ],
        raw: None,
        signed_by: None,
    }
}

fn qe_identity(tee: Tee) -> QeIdentity {
    QeIdentity {
        id: match tee {
            Tee::Sgx => "QE",
            Tee::Tdx => "TD_QE",
        }
        .into(),
        version: 2,
        issue_date: VALID_FROM,
        next_update: VALID_UNTIL,
        tcb_evaluation_data_number: EVALUATION_NUMBER,
        miscselect: vec![0; 4],
        miscselect_mask: vec![0xff; 4],
        attributes: [&[0x11][..], &[0; 15]].concat(),
        attributes_mask: [&[0xfb][..], &[0xff; 7], &[0; 8]].concat(),
        mrsigner: QE_MR_SIGNER.to_vec(),
        isvprodid: isv_prod_id(tee).into(),
        tcb_levels: vec![isv_level(8, "UpToDate", None), isv_level(6, "OutOfDate", Some(&["INTEL-SA-00615"]))],
        raw: None,
        signed_by: None,
    }
}

fn isv_level(isv_svn: u64, status: &str, advisories: Option<&[&str]>) -> IsvLevel {
    IsvLevel {
        isv_svn,
        tcb_date: TCB_DATE,
        tcb_status: status.into(),
        advisory_ids: advisories.map(|ids| ids.iter().map(|id| String::from(*id)).collect()),
    }
}

/// 16 bytes of a platform's own.
fn drawn(id: &[u8; 32], label: &str) -> Vec<u8> {
    let digest =
        Sha256::new_with_prefix(b"cloister synthetic platform").chain_update(id).chain_update(label).finalize();
    digest.iter().copied().take(16).collect()
}

const fn fmspc(tee: Tee) -> [u8; 6] {
    match tee {
        Tee::Sgx => [0x00, 0xa0, 0x67, 0x11, 0x00, 0x00],
        Tee::Tdx => [0xb0, 0xc0, 0x6f, 0x00, 0x00, 0x00],
    }
}

const fn isv_prod_id(tee: Tee) -> u16 {
    match tee {
        Tee::Sgx => 1,
        Tee::Tdx => 2,
    }
}

const CPU_SVN: [u8; 16] = [11, 11, 2, 2, 255, 1, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0];
const PCE_SVN: u64 = 13;
const TEE_TCB_SVN: [u8; 16] = [5, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const EVALUATION_NUMBER: u64 = 17;
const QE_ATTRIBUTES: [u8; 16] = [0x15, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0];
const QE_MR_SIGNER: [u8; 32] = [0xe4; 32];
