//! Layer one's registry of attested enclaves: who may serve, by which evidence, under which collateral.

use cloister_attestation::collateral::{CrlIssuer, PlatformType, RootOfTrust};
use cloister_chain_primitives::{
    AccountId, EnclaveRecord, H256, Moment, RegistrationPolicy, registry::Appraised, storage,
};
use cloister_claims::{Collateral, Evidence, Policy, Signed, SignedCrl};
use codec::{DecodeAll, Encode};

use super::{Error, LayerOne, from_hex, malformed, to_hex};

/// Which collateral of layer one belongs to a quote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollateralOf {
    /// The root that the quote hangs on.
    pub root: RootOfTrust,
    /// SGX or TDX.
    pub platform: PlatformType,
    /// The platform's family.
    pub fmspc: [u8; 6],
    /// Who issued the platform's PCK certificate.
    pub issuer: CrlIssuer,
}

/// Collateral as layer one stores it; any part may be missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredCollateral {
    /// TCB info.
    pub tcb_info: Option<Signed>,
    /// Identity of the quoting enclave.
    pub qe_identity: Option<Signed>,
    /// The root's revocation list.
    pub root_crl: Option<SignedCrl>,
    /// The revocation list of the PCK certificate's issuer.
    pub pck_crl: Option<SignedCrl>,
}

impl StoredCollateral {
    /// The parts together, or which of the indispensable ones is missing.
    pub fn complete(self) -> Result<Collateral, &'static str> {
        Ok(Collateral {
            tcb_info: self.tcb_info.ok_or("TCB info")?,
            qe_identity: self.qe_identity.ok_or("identity of the quoting enclave")?,
            root_crl: self.root_crl.map(|list| list.crl),
            pck_crl: self.pck_crl,
        })
    }
}

impl LayerOne {
    /// A registered enclave at the finalized head.
    pub async fn enclave(&self, account: &AccountId) -> Result<Option<EnclaveRecord>, Error> {
        self.enclave_at(account, self.finalized_hash().await?).await
    }

    /// A registered enclave as a block left it.
    pub async fn enclave_at(&self, account: &AccountId, at: H256) -> Result<Option<EnclaveRecord>, Error> {
        self.storage(&storage::enclave(account), at).await
    }

    /// All registered enclaves at the finalized head, those included that may no longer serve.
    pub async fn enclaves(&self) -> Result<Vec<(AccountId, EnclaveRecord)>, Error> {
        self.enclaves_at(self.finalized_hash().await?).await
    }

    /// All registered enclaves as a block left them.
    pub async fn enclaves_at(&self, at: H256) -> Result<Vec<(AccountId, EnclaveRecord)>, Error> {
        let entries = self.storage_map(&storage::enclaves_prefix(), at).await?;
        Ok(entries.into_iter().map(|(account, record)| (AccountId::new(account), record)).collect())
    }

    /// The records of some accounts as a block left them, in their order.
    pub async fn enclaves_of(&self, accounts: &[&AccountId], at: H256) -> Result<Vec<Option<EnclaveRecord>>, Error> {
        let keys: Vec<_> = accounts.iter().map(|account| storage::enclave(account)).collect();
        self.storage_values(&keys, at).await
    }

    /// The evidence by which an enclave registered, as a block left it.
    pub async fn evidence_at(&self, account: &AccountId, at: H256) -> Result<Option<Evidence>, Error> {
        self.storage(&storage::evidence(account), at).await
    }

    /// What layer one demands of registrations, at the finalized head.
    pub async fn registration_policy(&self) -> Result<Option<RegistrationPolicy>, Error> {
        self.storage(&storage::registration_policy(), self.finalized_hash().await?).await
    }

    /// Collateral as it was submitted to layer one, so that anybody can verify it again.
    pub async fn collateral_at(&self, of: &CollateralOf, at: H256) -> Result<StoredCollateral, Error> {
        let tcb_info = storage::raw_tcb_info(&(of.root, of.platform, of.fmspc));
        let qe_identity = storage::raw_qe_identity(&(of.root, of.platform));
        let root_crl = storage::raw_revocation_list(&(of.root, CrlIssuer::Root));
        let pck_crl = storage::raw_revocation_list(&(of.root, of.issuer));
        let (tcb_info, qe_identity, root_crl, pck_crl) = tokio::try_join!(
            self.storage(&tcb_info, at),
            self.storage(&qe_identity, at),
            self.storage(&root_crl, at),
            self.storage(&pck_crl, at),
        )?;
        Ok(StoredCollateral { tcb_info, qe_identity, root_crl, pck_crl })
    }

    /// Lets the runtime of the finalized head verify and appraise evidence at `time` (Unix milliseconds). Without a
    /// policy it is the chain's own.
    pub async fn appraise(
        &self,
        evidence: &Evidence,
        collateral: &Collateral,
        time: Moment,
        policy: Option<&Policy>,
    ) -> Result<Appraised, Error> {
        let arguments = (evidence, collateral, time, policy).encode();
        let at = self.finalized_hash().await?;
        let answer: String = self.request("state_call", ("TeerexApi_appraise", to_hex(&arguments), at)).await?;
        let answer = from_hex("an appraisal", &answer)?;
        Appraised::decode_all(&mut answer.as_slice()).map_err(|error| malformed("an appraisal", error))
    }
}
