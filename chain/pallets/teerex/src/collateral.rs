//! Collateral: verified when it is submitted, so that a registration costs few signatures, and never replaced by an
//! older one, so that nobody makes a platform look better than its vendor says today.
//!
//! Age does not count against a document whose signer the root's list revokes now: with a stolen key its issue date and
//! number can be made so high that no genuine document would ever be newer. Whatever replaces it is signed by somebody
//! who is not revoked.

use alloc::vec::Vec;

use cloister_attestation::{
    Roots, Signed, SignedCrl, Validity,
    collateral::{CrlIssuer, RootOfTrust, Signer},
    verify_crl, verify_qe_identity, verify_tcb_info,
};
use frame_support::{dispatch::DispatchResult, ensure};

use crate::{
    CollateralKey, Config, Error, Event, Pallet, QeIdentities, RawQeIdentities, RawRevocationLists, RawTcbInfos,
    RevocationLists, SimulationAllowed, TcbInfos,
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
        let revoked = Self::revoked_by(new.root);
        ensure!(!revoked(&new.signer), Error::<T>::SignerRevoked);
        let key = (new.root, new.platform, new.fmspc);
        if let Some(old) = TcbInfos::<T>::get(key)
            && !revoked(&old.signer)
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
        let revoked = Self::revoked_by(new.root);
        ensure!(!revoked(&new.signer), Error::<T>::SignerRevoked);
        let key = (new.root, new.platform);
        if let Some(old) = QeIdentities::<T>::get(key)
            && !revoked(&old.signer)
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

    fn updated(collateral: CollateralKey, validity: Validity) {
        let Validity { from: issued, until: valid_until } = validity;
        Self::deposit_event(Event::CollateralUpdated { collateral, issued, valid_until });
    }
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

fn not_genuine<T: Config>(error: cloister_attestation::Error) -> Error<T> {
    Error::Collateral(error.into())
}
