//! Evidence verified with the collateral that layer one has.

use cloister_attestation::{
    Evidence, Refusal, Roots, Validity, Verification,
    collateral::{CrlIssuer, QeIdentity, RevocationList, RootOfTrust, TcbInfo, VerifiedCollateral},
    subject, verify_quote,
};
use cloister_chain_primitives::{Moment, RegistrationRefused};
use frame_support::ensure;

use crate::{Config, Pallet, QeIdentities, RevocationLists, SimulationAllowed, TcbInfos};

impl<T: Config> Pallet<T> {
    /// Verifies evidence with the collateral of today, all of which must be valid.
    pub(crate) fn verify(evidence: &Evidence, now: Moment) -> Result<Verification, RegistrationRefused> {
        let Evidence::Dcap(quote) = evidence;
        StoredCollateral::of::<T>(quote)?.verify::<T>(quote, now)
    }

    /// Verifies evidence again that was verified at `then`, with the newest that layer one was told of its platform, be
    /// that valid today or not: that nobody brought anything newer says nothing about the platform.
    pub(crate) fn verify_again(evidence: &Evidence, then: Moment) -> Result<Verification, RegistrationRefused> {
        let Evidence::Dcap(quote) = evidence;
        StoredCollateral::of::<T>(quote)?.at_any_time().without_revoked_word().verify::<T>(quote, then)
    }
}

/// What layer one was told of a quote's platform.
struct StoredCollateral {
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    root_crl: Option<RevocationList>,
    pck_crl: Option<RevocationList>,
}

impl StoredCollateral {
    fn of<T: Config>(quote: &[u8]) -> Result<Self, RegistrationRefused> {
        let subject = subject(quote, &Roots::intel_and_development()).map_err(RegistrationRefused::NotGenuine)?;
        let root = subject.root;
        // Said before the verifier says less clearly that it does not know the root.
        let simulated = root == RootOfTrust::Development;
        ensure!(!simulated || SimulationAllowed::<T>::get(), RegistrationRefused::Policy(Refusal::Simulated));
        let tcb_info = TcbInfos::<T>::get((root, subject.platform, subject.fmspc));
        let qe_identity = QeIdentities::<T>::get((root, subject.platform));
        Ok(Self {
            tcb_info: tcb_info.ok_or(RegistrationRefused::TcbInfoMissing)?,
            qe_identity: qe_identity.ok_or(RegistrationRefused::QeIdentityMissing)?,
            root_crl: RevocationLists::<T>::get((root, CrlIssuer::Root)),
            pck_crl: RevocationLists::<T>::get((root, subject.issuer)),
        })
    }

    /// Without bounds of time.
    fn at_any_time(mut self) -> Self {
        let Self { tcb_info, qe_identity, root_crl, pck_crl } = &mut self;
        let lists = [root_crl, pck_crl].into_iter().flatten();
        let documents =
            [(&mut tcb_info.validity, &mut tcb_info.signer), (&mut qe_identity.validity, &mut qe_identity.signer)];
        let all = lists
            .map(|list| (&mut list.validity, list.signer.as_mut()))
            .chain(documents.map(|(validity, signer)| (validity, Some(signer))));
        for (validity, signer) in all {
            *validity = EVER;
            if let Some(signer) = signer {
                signer.validity = EVER;
            }
        }
        self
    }

    /// Without what a revoked key says of platforms: whoever stole it could have anybody evicted.
    fn without_revoked_word(mut self) -> Self {
        let Self { root_crl, pck_crl, .. } = &mut self;
        if let (Some(root), Some(list)) = (root_crl, pck_crl)
            && list.signer.as_ref().is_some_and(|signer| root.revokes(&signer.serial))
        {
            list.revoked.clear();
        }
        self
    }

    fn verify<T: Config>(&self, quote: &[u8], at: Moment) -> Result<Verification, RegistrationRefused> {
        let collateral = VerifiedCollateral {
            tcb_info: &self.tcb_info,
            qe_identity: &self.qe_identity,
            root_crl: self.root_crl.as_ref(),
            pck_crl: self.pck_crl.as_ref(),
        };
        verify_quote(quote, collateral, &Pallet::<T>::roots(), at).map_err(RegistrationRefused::NotGenuine)
    }
}

const EVER: Validity = Validity { from: 0, until: u64::MAX };
