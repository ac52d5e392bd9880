//! TCB info and identities of quoting enclaves: the signed JSON documents of Intel's provisioning certification service.

use cloister_claims::Signed;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    certificate::{Certified, pem},
    der,
    key::Key,
};

/// TCB info. Fields serialise as Intel names them, in this order.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcbInfo {
    /// `SGX` or `TDX`.
    pub id: String,
    /// 3.
    pub version: u64,
    /// Unix milliseconds, written in seconds.
    #[serde(serialize_with = "time")]
    pub issue_date: u64,
    /// Unix milliseconds, written in seconds.
    #[serde(serialize_with = "time")]
    pub next_update: u64,
    /// 6 bytes.
    #[serde(serialize_with = "hex")]
    pub fmspc: Vec<u8>,
    /// 2 bytes.
    #[serde(serialize_with = "hex")]
    pub pce_id: Vec<u8>,
    /// 0.
    pub tcb_type: u64,
    /// Rises with every re-evaluation.
    pub tcb_evaluation_data_number: u64,
    /// Of the version 0 module; TDX only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tdx_module: Option<TdxModule>,
    /// By version; TDX only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tdx_module_identities: Option<Vec<TdxModuleIdentity>>,
    /// Newest first.
    pub tcb_levels: Vec<TcbLevel>,
    /// Signed in place of what the fields above say.
    #[serde(skip)]
    pub raw: Option<Vec<u8>>,
    /// Signs in place of the authority.
    #[serde(skip)]
    pub signed_by: Option<Key>,
}

/// A level of a platform's TCB.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcbLevel {
    /// What a platform needs.
    pub tcb: Tcb,
    /// Unix milliseconds, written in seconds.
    #[serde(serialize_with = "time")]
    pub tcb_date: u64,
    /// As Intel spells it.
    pub tcb_status: String,
    /// Open advisories; left out if `None`.
    #[serde(rename = "advisoryIDs", skip_serializing_if = "Option::is_none")]
    pub advisory_ids: Option<Vec<String>>,
}

/// What a platform needs for a level.
#[derive(Clone, Serialize)]
pub struct Tcb {
    /// Genuine ones are 16.
    #[serde(rename = "sgxtcbcomponents", serialize_with = "components")]
    pub sgx_components: Vec<u64>,
    /// Of the provisioning certification enclave.
    #[serde(rename = "pcesvn")]
    pub pce_svn: u64,
    /// Genuine ones are 16; TDX only.
    #[serde(
        rename = "tdxtcbcomponents",
        serialize_with = "optional_components",
        skip_serializing_if = "Option::is_none"
    )]
    pub tdx_components: Option<Vec<u64>>,
}

/// The version 0 TDX module.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TdxModule {
    /// 48 bytes.
    #[serde(serialize_with = "hex")]
    pub mrsigner: Vec<u8>,
    /// 8 bytes.
    #[serde(serialize_with = "hex")]
    pub attributes: Vec<u8>,
    /// 8 bytes.
    #[serde(serialize_with = "hex")]
    pub attributes_mask: Vec<u8>,
}

/// A TDX module of a later version.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TdxModuleIdentity {
    /// `TDX_01`, …
    pub id: String,
    /// Signer and attributes.
    #[serde(flatten)]
    pub module: TdxModule,
    /// Newest first.
    pub tcb_levels: Vec<IsvLevel>,
}

/// A level by security version.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IsvLevel {
    /// Lowest security version at this level.
    #[serde(rename = "tcb", serialize_with = "isv_svn")]
    pub isv_svn: u64,
    /// Unix milliseconds, written in seconds.
    #[serde(serialize_with = "time")]
    pub tcb_date: u64,
    /// As Intel spells it.
    pub tcb_status: String,
    /// Open advisories; left out if `None`.
    #[serde(rename = "advisoryIDs", skip_serializing_if = "Option::is_none")]
    pub advisory_ids: Option<Vec<String>>,
}

/// Identity of a quoting enclave. Fields serialise as Intel names them, in this order.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QeIdentity {
    /// `QE` or `TD_QE`.
    pub id: String,
    /// 2.
    pub version: u64,
    /// Unix milliseconds, written in seconds.
    #[serde(serialize_with = "time")]
    pub issue_date: u64,
    /// Unix milliseconds, written in seconds.
    #[serde(serialize_with = "time")]
    pub next_update: u64,
    /// Rises with every re-evaluation.
    pub tcb_evaluation_data_number: u64,
    /// 4 bytes.
    #[serde(serialize_with = "hex")]
    pub miscselect: Vec<u8>,
    /// 4 bytes.
    #[serde(serialize_with = "hex")]
    pub miscselect_mask: Vec<u8>,
    /// 16 bytes.
    #[serde(serialize_with = "hex")]
    pub attributes: Vec<u8>,
    /// 16 bytes.
    #[serde(serialize_with = "hex")]
    pub attributes_mask: Vec<u8>,
    /// 32 bytes.
    #[serde(serialize_with = "hex")]
    pub mrsigner: Vec<u8>,
    /// 1 quotes SGX, 2 TDX.
    pub isvprodid: u64,
    /// Newest first.
    pub tcb_levels: Vec<IsvLevel>,
    /// Signed in place of what the fields above say.
    #[serde(skip)]
    pub raw: Option<Vec<u8>>,
    /// Signs in place of the authority.
    #[serde(skip)]
    pub signed_by: Option<Key>,
}

impl TcbInfo {
    /// The bytes to sign.
    pub fn body(&self) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| serde_json::to_vec(self).unwrap_or_default())
    }

    /// Signed, with its issuer chain.
    pub fn sign(&self, signer: &Certified, root: &Certified) -> Signed {
        sign(self.body(), self.signed_by.as_ref(), signer, root)
    }
}

impl QeIdentity {
    /// The bytes to sign.
    pub fn body(&self) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| serde_json::to_vec(self).unwrap_or_default())
    }

    /// Signed, with its issuer chain.
    pub fn sign(&self, signer: &Certified, root: &Certified) -> Signed {
        sign(self.body(), self.signed_by.as_ref(), signer, root)
    }
}

fn sign(body: Vec<u8>, signed_by: Option<&Key>, signer: &Certified, root: &Certified) -> Signed {
    let signature = signed_by.unwrap_or(&signer.key).sign(&body);
    let issuer_chain = pem(&[signer.certificate.der(&root.key), root.certificate.der(&root.key)]);
    Signed { body, signature, issuer_chain }
}

fn time<S: Serializer>(unix_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&der::rfc3339(*unix_ms))
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode_upper(bytes))
}

#[derive(Serialize)]
struct Component {
    svn: u64,
}

fn components<S: Serializer>(components: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(components.iter().map(|svn| Component { svn: *svn }))
}

fn optional_components<S: Serializer>(of: &Option<Vec<u64>>, serializer: S) -> Result<S::Ok, S::Error> {
    components(of.as_deref().unwrap_or_default(), serializer)
}

fn isv_svn<S: Serializer>(isv_svn: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("isvsvn", isv_svn)?;
    map.end()
}
