//! Identities of quoting enclaves, version 2 ("Enclave Identity V2" of Intel's PCS API, version 4).

use cloister_claims::{Error, Signed};

use crate::{
    collateral::{PlatformType, QeIdentity},
    document,
    roots::Roots,
};

impl QeIdentity {
    /// Checks a signed document at whatever time; see [`Self::check_time`].
    pub fn verify(signed: &Signed, roots: &Roots) -> Result<Self, Error> {
        let (signer, identity) = document::open(signed, roots)?;
        let platform = document::kind(&identity, [("QE", PlatformType::Sgx), ("TD_QE", PlatformType::Tdx)], 2)?;
        Ok(Self {
            root: signer.root,
            platform,
            validity: document::validity(&identity)?,
            evaluation_number: identity.number("tcbEvaluationDataNumber")?,
            misc_select: identity.bytes("miscselect")?,
            misc_select_mask: identity.bytes("miscselectMask")?,
            attributes: identity.bytes("attributes")?,
            attributes_mask: identity.bytes("attributesMask")?,
            mr_signer: identity.bytes("mrsigner")?,
            isv_prod_id: identity.number("isvprodid")?,
            levels: document::isv_levels::<u16>(&identity)?,
            signer: signer.signer,
        })
    }

    /// Whether document and signer are valid at `at` (Unix milliseconds).
    pub fn check_time(&self, at: u64) -> Result<(), Error> {
        document::check_time(&self.signer, &self.validity, at)
    }
}
