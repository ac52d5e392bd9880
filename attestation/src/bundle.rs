//! Collateral from files: the JSON bundle in which tools hand it around, and the vendor's own files.
//!
//! Files are sorted and put together here, never judged: whatever comes out is as unverified as what went in.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use cloister_claims::{Collateral, Signed, SignedCrl};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    bundle::authority::{Authorities, CrlKind},
    collateral::PlatformType,
    verify::Subject,
};

mod authority;

/// Reads the JSON bundle: signed documents as strings, issuer chains as PEM, revocation lists (DER) and signatures as
/// hexadecimal. The revocation lists and their chain may be left out.
pub fn parse_json(json: &str) -> Result<Collateral, BundleError> {
    let bundle: Bundle = serde_json::from_str(json).map_err(|error| BundleError::Json(error.to_string()))?;
    let mut assembler = Assembler::default();
    assembler.add_bundle(bundle)?;
    assembler.finish(None)
}

/// Writes the JSON bundle that [`parse_json`] reads. Bytes that are no UTF-8, which no genuine collateral has, are replaced.
pub fn to_json(collateral: &Collateral) -> String {
    let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl } = collateral;
    let bundle = Bundle {
        pck_crl_issuer_chain: pck_crl.as_ref().and_then(|list| text(&list.issuer_chain)),
        root_ca_crl: root_crl.as_ref().map(hex::encode),
        pck_crl: pck_crl.as_ref().map(|list| hex::encode(&list.crl)),
        tcb_info_issuer_chain: text(&tcb_info.issuer_chain),
        tcb_info: text(&tcb_info.body),
        tcb_info_signature: Some(hex::encode(tcb_info.signature)),
        qe_identity_issuer_chain: text(&qe_identity.issuer_chain),
        qe_identity: text(&qe_identity.body),
        qe_identity_signature: Some(hex::encode(qe_identity.signature)),
    };
    // A struct of strings always serialises.
    serde_json::to_string_pretty(&bundle).unwrap_or_default()
}

/// Why files do not make collateral.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It begins like JSON, but is none or not of a known shape.
    #[error("not a bundle and not a signed document: {0}")]
    Json(String),
    /// Something that should be hexadecimal is not, or has the wrong length.
    #[error("not hexadecimal, or of the wrong length: {0}")]
    Hex(Part),
    /// None of the known formats.
    #[error("neither a bundle nor a signed document, certificates, a revocation list or a signature")]
    Unrecognised,
    /// Something without which nothing can be verified is in none of the files.
    #[error("missing: {0}")]
    Missing(Part),
    /// Several files claim to be the same thing, and the evidence does not decide which is wanted.
    #[error("more than one: {0}")]
    Several(Part),
}

/// Parts of collateral.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// TCB info.
    TcbInfo,
    /// Its signature.
    TcbInfoSignature,
    /// Its signer's chain.
    TcbInfoChain,
    /// Identity of the quoting enclave.
    QeIdentity,
    /// Its signature.
    QeIdentitySignature,
    /// Its signer's chain.
    QeIdentityChain,
    /// The root's revocation list.
    RootCrl,
    /// Revocation list of whoever issued the platform's certificate.
    PckCrl,
    /// Its issuer's chain.
    PckCrlChain,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Self::TcbInfo => "TCB info",
            Self::TcbInfoSignature => "signature of the TCB info",
            Self::TcbInfoChain => "certificates of the TCB info's signer and of the root",
            Self::QeIdentity => "identity of the quoting enclave",
            Self::QeIdentitySignature => "signature of the quoting enclave's identity",
            Self::QeIdentityChain => "certificates of the signer of the quoting enclave's identity and of the root",
            Self::RootCrl => "revocation list of the root",
            Self::PckCrl => "revocation list of the PCK certificate's issuer",
            Self::PckCrlChain => "certificates of the PCK certificate's issuer and of the root",
        })
    }
}

/// Puts collateral together from any number of files in any order.
#[derive(Clone, Default, Debug)]
pub struct Assembler {
    tcb_infos: Vec<Document>,
    qe_identities: Vec<Document>,
    root_crls: Vec<Vec<u8>>,
    pck_crls: Vec<List>,
    authorities: Authorities,
    /// Whose they are shows only when they are tried.
    signatures: Vec<[u8; 64]>,
}

/// A signed document, as far as the files told.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Document {
    body: Vec<u8>,
    signature: Option<[u8; 64]>,
    issuer_chain: Option<Vec<u8>>,
}

/// A revocation list of an authority below the root.
#[derive(Clone, PartialEq, Eq, Debug)]
struct List {
    crl: Vec<u8>,
    issuer_chain: Option<Vec<u8>>,
}

impl Assembler {
    /// Takes a file: a JSON bundle; a signed document with (`{"tcbInfo": …, "signature": …}`, `{"enclaveIdentity": …}`) or
    /// without its wrapper and signature; certificates or revocation lists as PEM; one of them as DER or hexadecimal of it; a
    /// signature, 64 bytes or hexadecimal.
    pub fn add(&mut self, file: &[u8]) -> Result<(), BundleError> {
        let text = core::str::from_utf8(file).map(str::trim).ok();
        match text {
            Some(json) if json.starts_with('{') => self.add_json(json),
            Some(pem) if pem.contains("-----BEGIN ") => {
                self.authorities.add_pem(pem).and_then(|lists| self.add_lists(lists))
            }
            Some(text) => match hex::decode(text.trim_start_matches("0x")) {
                Ok(bytes) => self.add_binary(bytes),
                Err(_) => self.add_binary(file.to_vec()),
            },
            None => self.add_binary(file.to_vec()),
        }
    }

    /// Takes the certificates of a chain as far as they can be read; refusing the others is the verifier's business. With
    /// those that a quote carries ([`crate::quote::Quote::pck_chain`]) the issuer of its PCK certificate need not be in a file.
    pub fn add_chain(&mut self, pem: &[u8]) {
        if let Ok(pem) = core::str::from_utf8(pem) {
            let _ = self.authorities.add_pem(pem);
        }
    }

    /// The collateral. If there are several documents of a kind, those that are about `subject` are taken.
    pub fn finish(mut self, subject: Option<&Subject>) -> Result<Collateral, BundleError> {
        let tcb_info = choose(core::mem::take(&mut self.tcb_infos), Part::TcbInfo, |document| {
            subject.is_none_or(|subject| Head::read(&document.body).is_some_and(|head| head.is_tcb_info_of(subject)))
        })?;
        let qe_identity = choose(core::mem::take(&mut self.qe_identities), Part::QeIdentity, |document| {
            subject.is_none_or(|subject| Head::read(&document.body).is_some_and(|head| head.is_qe_identity_of(subject)))
        })?;
        let tcb_info = tcb_info.ok_or(BundleError::Missing(Part::TcbInfo))?;
        let qe_identity = qe_identity.ok_or(BundleError::Missing(Part::QeIdentity))?;
        let pck_crl = choose(core::mem::take(&mut self.pck_crls), Part::PckCrl, |list| {
            subject.is_none_or(|subject| self.authorities.kind_of(&list.crl) == Some(CrlKind::Pck(subject.issuer)))
        })?;
        Ok(Collateral {
            tcb_info: self.signed(tcb_info, Part::TcbInfoSignature, Part::TcbInfoChain)?,
            qe_identity: self.signed(qe_identity, Part::QeIdentitySignature, Part::QeIdentityChain)?,
            root_crl: choose(core::mem::take(&mut self.root_crls), Part::RootCrl, |_| true)?,
            pck_crl: pck_crl
                .map(|list| {
                    let chain = list.issuer_chain.or_else(|| self.authorities.chain_of_crl(&list.crl));
                    let issuer_chain = chain.ok_or(BundleError::Missing(Part::PckCrlChain))?;
                    Ok(SignedCrl { crl: list.crl, issuer_chain })
                })
                .transpose()?,
        })
    }

    fn add_json(&mut self, json: &str) -> Result<(), BundleError> {
        let invalid = |error: serde_json::Error| BundleError::Json(error.to_string());
        let shape: Shape = serde_json::from_str(json).map_err(invalid)?;
        let signature = |part| shape.signature.map(|text| signature(text, part)).transpose();
        match shape {
            Shape { tcb_info_wrapper: Some(body), .. } => {
                self.tcb_infos.push(Document::new(body.get(), signature(Part::TcbInfoSignature)?));
            }
            Shape { qe_identity_wrapper: Some(body), .. } => {
                self.qe_identities.push(Document::new(body.get(), signature(Part::QeIdentitySignature)?));
            }
            Shape { id: Some("SGX" | "TDX"), .. } => self.tcb_infos.push(Document::new(json, None)),
            Shape { id: Some("QE" | "TD_QE"), .. } => self.qe_identities.push(Document::new(json, None)),
            _ => self.add_bundle(serde_json::from_str(json).map_err(invalid)?)?,
        }
        Ok(())
    }

    fn add_bundle(&mut self, bundle: Bundle) -> Result<(), BundleError> {
        if bundle == Bundle::default() {
            return Err(BundleError::Json("none of a bundle's fields".to_string()));
        }
        // A chain may serve several documents, of which not all came with it.
        for chain in [&bundle.pck_crl_issuer_chain, &bundle.tcb_info_issuer_chain, &bundle.qe_identity_issuer_chain] {
            chain.iter().for_each(|chain| self.add_chain(chain.as_bytes()));
        }
        let binary = |text: String, part| hex::decode(text).map_err(|_| BundleError::Hex(part));
        let chain = |text: Option<String>| text.map(String::into_bytes);
        let document = |body: String, text: Option<String>, issuer_chain, part| {
            let signature = text.map(|text| signature(&text, part)).transpose()?;
            Ok(Document { body: body.into_bytes(), signature, issuer_chain: chain(issuer_chain) })
        };
        if let Some(body) = bundle.tcb_info {
            let part = Part::TcbInfoSignature;
            self.tcb_infos.push(document(body, bundle.tcb_info_signature, bundle.tcb_info_issuer_chain, part)?);
        }
        if let Some(body) = bundle.qe_identity {
            let part = Part::QeIdentitySignature;
            self.qe_identities.push(document(
                body,
                bundle.qe_identity_signature,
                bundle.qe_identity_issuer_chain,
                part,
            )?);
        }
        if let Some(crl) = bundle.root_ca_crl {
            self.root_crls.push(binary(crl, Part::RootCrl)?);
        }
        if let Some(crl) = bundle.pck_crl {
            let issuer_chain = chain(bundle.pck_crl_issuer_chain);
            self.pck_crls.push(List { crl: binary(crl, Part::PckCrl)?, issuer_chain });
        }
        Ok(())
    }

    fn add_binary(&mut self, bytes: Vec<u8>) -> Result<(), BundleError> {
        if let Ok(signature) = <[u8; 64]>::try_from(bytes.as_slice()) {
            self.signatures.push(signature);
            return Ok(());
        }
        match self.authorities.add_der(&bytes) {
            true => Ok(()),
            false => self.add_lists(alloc::vec![bytes]),
        }
    }

    fn add_lists(&mut self, lists: Vec<Vec<u8>>) -> Result<(), BundleError> {
        for crl in lists {
            match self.authorities.kind_of(&crl).ok_or(BundleError::Unrecognised)? {
                CrlKind::Root => self.root_crls.push(crl),
                CrlKind::Pck(_) => self.pck_crls.push(List { crl, issuer_chain: None }),
            }
        }
        Ok(())
    }

    /// A document with what the other files add to it.
    fn signed(&mut self, document: Document, signature: Part, chain: Part) -> Result<Signed, BundleError> {
        let issuer_chain = document.issuer_chain.or_else(|| self.authorities.chain_of_tcb_signer());
        let issuer_chain = issuer_chain.ok_or(BundleError::Missing(chain))?;
        let signature = match document.signature {
            Some(signature) => signature,
            None => {
                let fits = |signature: &[u8; 64]| authority::signs(&issuer_chain, &document.body, signature);
                let position = self.signatures.iter().position(fits);
                // If none fits, there is still one to be judged: the verifier refuses it.
                let position = position.or_else(|| (!self.signatures.is_empty()).then_some(0));
                position.map(|position| self.signatures.remove(position)).ok_or(BundleError::Missing(signature))?
            }
        };
        Ok(Signed { body: document.body, signature, issuer_chain })
    }
}

impl Document {
    fn new(body: &str, signature: Option<[u8; 64]>) -> Self {
        Self { body: body.as_bytes().to_vec(), signature, issuer_chain: None }
    }
}

/// The only one, or the only one that is wanted. Equal ones count as one.
fn choose<T: PartialEq>(
    mut candidates: Vec<T>,
    part: Part,
    is_wanted: impl Fn(&T) -> bool,
) -> Result<Option<T>, BundleError> {
    candidates.dedup();
    if candidates.len() > 1 {
        candidates.retain(is_wanted);
    }
    let first = candidates.pop();
    match candidates.is_empty() {
        true => Ok(first),
        false => Err(BundleError::Several(part)),
    }
}

fn signature(text: &str, part: Part) -> Result<[u8; 64], BundleError> {
    let mut signature = [0; 64];
    hex::decode_to_slice(text, &mut signature).map_err(|_| BundleError::Hex(part))?;
    Ok(signature)
}

#[derive(Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Bundle {
    #[serde(skip_serializing_if = "Option::is_none")]
    pck_crl_issuer_chain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_ca_crl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pck_crl: Option<String>,
    tcb_info_issuer_chain: Option<String>,
    tcb_info: Option<String>,
    tcb_info_signature: Option<String>,
    qe_identity_issuer_chain: Option<String>,
    qe_identity: Option<String>,
    qe_identity_signature: Option<String>,
}

/// By which a file of the vendor's is recognised.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    tcb_info_wrapper: Option<&'a RawValue>,
    #[serde(borrow, rename = "enclaveIdentity")]
    qe_identity_wrapper: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a str>,
    #[serde(borrow)]
    id: Option<&'a str>,
}

/// What a document says it is about.
#[derive(Deserialize)]
struct Head {
    id: String,
    fmspc: Option<String>,
}

impl Head {
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn is_tcb_info_of(&self, subject: &Subject) -> bool {
        let fmspc = hex::encode(subject.fmspc);
        let id = match subject.platform {
            PlatformType::Sgx => "SGX",
            PlatformType::Tdx => "TDX",
        };
        self.id == id && self.fmspc.as_ref().is_some_and(|stated| stated.eq_ignore_ascii_case(&fmspc))
    }

    fn is_qe_identity_of(&self, subject: &Subject) -> bool {
        match subject.platform {
            PlatformType::Sgx => self.id == "QE",
            PlatformType::Tdx => self.id == "TD_QE",
        }
    }
}
