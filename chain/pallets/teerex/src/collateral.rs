//! Collateral: verified when it is submitted, so that a registration costs few signatures, and never replaced by an
//! older one, so that nobody makes a platform look better than its vendor says today.
//!
//! Age does not count against a document whose signer the root's list revokes now: with a stolen key its issue date and
//! number can be made so high that no genuine document would ever be newer. Whatever replaces it is signed by somebody
//! who is not revoked. The same holds for a document whose evaluation number is above the limit that root has set.

use alloc::vec::Vec;

use cloister_attestation::{
    Roots, Signed, SignedCrl, Validity,
    collateral::{CrlIssuer, PlatformType, RootOfTrust, Signer, TcbInfo},
    verify_crl, verify_qe_identity, verify_tcb_info,
};
use frame_support::{dispatch::DispatchResult, ensure};

use crate::{
    CollateralKey, Config, Error, EvaluationLimit, Event, Pallet, QeIdentities, RawQeIdentities, RawRevocationLists,
    RawTcbInfos, RevocationLists, SimulationAllowed, TcbInfos,
};

impl<T: Config> Pallet<T> {
    /// The roots that evidence and collateral may hang on here.
    pub(crate) fn roots() -> Roots {
        match SimulationAllowed::<T>::get() {
            true => Roots::intel_and_development(),
            false => Roots::intel(),
        }
    }

    pub(crate) fn take_tcb_info(raw: Signed) -> DispatchResult {
        let new = verify_tcb_info(&raw, &Self::roots(), Self::now()).map_err(not_genuine::<T>)?;
        ensure!(is_of_a_platform(&new), Error::<T>::NotTheDevelopmentPlatform);
        let modules = new.tdx_modules.iter().flat_map(|module| &module.levels);
        let of_modules = modules.map(|level| level.advisories.len());
        ensure_few::<T>(new.levels.iter().map(|level| level.advisories.len()).chain(of_modules))?;
        let counts = Self::counts();
        ensure!(counts(new.evaluation_number), Error::<T>::EvaluationTooNew);
        let revoked = Self::revoked_by(new.root);
        ensure!(!revoked(&new.signer), Error::<T>::SignerRevoked);
        let key = (new.root, new.platform, new.fmspc);
        if let Some(old) = TcbInfos::<T>::get(key)
            && !revoked(&old.signer)
            && counts(old.evaluation_number)
        {
            ensure_newer::<T>(
                (old.validity, u64::from(old.evaluation_number)),
                (new.validity, u64::from(new.evaluation_number)),
            )?;
        }
        Self::updated(CollateralKey::TcbInfo(new.root, new.platform, new.fmspc), new.validity);
        TcbInfos::<T>::insert(key, new);
        RawTcbInfos::<T>::insert(key, raw);
        Ok(())
    }

    pub(crate) fn take_qe_identity(raw: Signed) -> DispatchResult {
        let new = verify_qe_identity(&raw, &Self::roots(), Self::now()).map_err(not_genuine::<T>)?;
        ensure_few::<T>(new.levels.iter().map(|level| level.advisories.len()))?;
        let counts = Self::counts();
        ensure!(counts(new.evaluation_number), Error::<T>::EvaluationTooNew);
        let revoked = Self::revoked_by(new.root);
        ensure!(!revoked(&new.signer), Error::<T>::SignerRevoked);
        let key = (new.root, new.platform);
        if let Some(old) = QeIdentities::<T>::get(key)
            && !revoked(&old.signer)
            && counts(old.evaluation_number)
        {
            ensure_newer::<T>(
                (old.validity, u64::from(old.evaluation_number)),
                (new.validity, u64::from(new.evaluation_number)),
            )?;
        }
        Self::updated(CollateralKey::QeIdentity(new.root, new.platform), new.validity);
        QeIdentities::<T>::insert(key, new);
        RawQeIdentities::<T>::insert(key, raw);
        Ok(())
    }

    pub(crate) fn take_crls(crls: Vec<Vec<u8>>, issuer_chain: Vec<u8>) -> DispatchResult {
        ensure!(!crls.is_empty(), Error::<T>::NoRevocationLists);
        let roots = Self::roots();
        let mut any_new = false;
        for crl in crls {
            any_new |= Self::take_crl(SignedCrl { crl, issuer_chain: issuer_chain.clone() }, &roots)?;
        }
        ensure!(any_new, Error::<T>::AlreadyKnown);
        Ok(())
    }

    /// Whether the list is new.
    fn take_crl(raw: SignedCrl, roots: &Roots) -> Result<bool, Error<T>> {
        let new = verify_crl(&raw.crl, &raw.issuer_chain, roots, Self::now()).map_err(not_genuine::<T>)?;
        let revoked = Self::revoked_by(new.root);
        ensure!(!new.signer.as_ref().is_some_and(&revoked), Error::<T>::SignerRevoked);
        let key = (new.root, new.issuer);
        if let Some(old) = RevocationLists::<T>::get(key)
            && !old.signer.as_ref().is_some_and(&revoked)
        {
            match ensure_newer::<T>((old.validity, old.number), (new.validity, new.number)) {
                Err(Error::AlreadyKnown) => return Ok(false),
                newer => newer?,
            }
        }
        Self::updated(CollateralKey::RevocationList(new.root, new.issuer), new.validity);
        RevocationLists::<T>::insert(key, new);
        RawRevocationLists::<T>::insert(key, raw);
        Ok(true)
    }

    /// Tells revoked signers. Every use of a document looks its signer up again; here this keeps whoever holds a
    /// revoked key from putting their documents in the place of genuine ones.
    fn revoked_by(root: RootOfTrust) -> impl Fn(&Signer) -> bool {
        let list = RevocationLists::<T>::get((root, CrlIssuer::Root));
        move |signer| list.as_ref().is_some_and(|list| list.revokes(&signer.serial))
    }

    /// Tells evaluation numbers that root lets count.
    fn counts() -> impl Fn(u32) -> bool {
        let limit = EvaluationLimit::<T>::get();
        move |number| limit.is_none_or(|limit| number <= limit)
    }

    fn updated(collateral: CollateralKey, validity: Validity) {
        let Validity { from: issued, until: valid_until } = validity;
        Self::deposit_event(Event::CollateralUpdated { collateral, issued, valid_until });
    }
}

/// Genuine TCB infos are as many as there are kinds of platforms. Under the development root anybody could make one for
/// every number, each stored for ever.
fn is_of_a_platform(tcb_info: &TcbInfo) -> bool {
    let TcbInfo { root, platform, fmspc, .. } = tcb_info;
    *root == RootOfTrust::Intel || (*platform == PlatformType::Sgx && *fmspc == DEVELOPMENT_FMSPC)
}

/// Of each level. What is stored is read at every registration, and comes into its record.
fn ensure_few<T: Config>(advisories: impl IntoIterator<Item = usize>) -> Result<(), Error<T>> {
    ensure!(advisories.into_iter().all(|count| count <= MAX_ADVISORIES), Error::<T>::TooManyAdvisories);
    Ok(())
}

/// Issue date and number must not fall, and one of them must rise. ECDSA signatures are malleable, so that the same
/// document can come with other bytes: it is known none the less.
fn ensure_newer<T: Config>(old: (Validity, u64), new: (Validity, u64)) -> Result<(), Error<T>> {
    let ((old_validity, old_number), (new_validity, new_number)) = (old, new);
    let fell = new_validity.from < old_validity.from || new_number < old_number;
    ensure!(!fell, Error::<T>::OlderCollateral);
    let rose = new_validity.from > old_validity.from || new_number > old_number;
    ensure!(rose, Error::<T>::AlreadyKnown);
    Ok(())
}

/// The kind of platform that simulated evidence names.
const DEVELOPMENT_FMSPC: [u8; 6] = [0x00, 0xa0, 0x67, 0x11, 0x00, 0x00];
/// Most advisories of a level: three times as many as Intel has published of one.
const MAX_ADVISORIES: usize = 64;

fn not_genuine<T: Config>(error: cloister_attestation::Error) -> Error<T> {
    Error::Collateral(error.into())
}
