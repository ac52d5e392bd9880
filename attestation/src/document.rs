//! What TCB info and QE identity have in common: a signer, a signature, dates and levels.

use alloc::{borrow::ToOwned, vec::Vec};

use cloister_claims::{Advisory, Collateral, Error, Signed, TcbStatus, Validity};

use crate::{
    chain::{Chain, TcbSigner},
    collateral::{IsvLevel, Signer},
    json::{Json, Object},
    roots::Roots,
    time,
};

/// Checks signer and signature of a document, then reads it.
pub(crate) fn open(document: &Signed, roots: &Roots) -> Result<(TcbSigner, Object), Error> {
    if document.body.len() > Collateral::MAX_DOCUMENT_BYTES {
        return Err(Error::DocumentTooLarge);
    }
    let signer = Chain::verify_tcb_signer(&document.issuer_chain, roots)?;
    crate::verify_signature(&signer.public_key, &document.body, &document.signature)
        .map_err(|_| Error::DocumentSignature)?;
    Ok((signer, Object::parse(&document.body)?))
}

/// Finds what a document speaks about by its `id`. Then the version must be right: earlier versions have no `id`.
pub(crate) fn kind<T: Copy>(object: &Object, kinds: [(&str, T); 2], version: u64) -> Result<T, Error> {
    let kind = match object.has("id") {
        true => {
            let id = object.string("id")?;
            Some(kinds.iter().find(|(name, _)| *name == id).ok_or(Error::DocumentId)?.1)
        }
        false => None,
    };
    if object.number::<u64>("version")? != version {
        return Err(Error::DocumentVersion);
    }
    kind.ok_or(Error::DocumentFieldMissing)
}

/// From `issueDate` to `nextUpdate`.
pub(crate) fn validity(object: &Object) -> Result<Validity, Error> {
    let from = time::parse(object.string("issueDate")?)?;
    let until = time::parse(object.string("nextUpdate")?)?;
    time::period(from, until, Error::DocumentPeriod)
}

/// Whether signer and document are valid at `at`.
pub(crate) fn check_time(signer: &Signer, validity: &Validity, at: u64) -> Result<(), Error> {
    crate::chain::check_chain_time(&signer.validity, at)?;
    time::check(validity, at, Error::DocumentNotYetValid, Error::DocumentExpired)
}

/// What every level says of itself beside its numbers.
pub(crate) struct Standing {
    pub(crate) status: TcbStatus,
    pub(crate) date: u64,
    pub(crate) advisories: Vec<Advisory>,
}

impl Standing {
    pub(crate) fn read(level: &Object) -> Result<Self, Error> {
        let status = level.string("tcbStatus")?;
        let status = STATUSES.into_iter().find(|known| known.name() == status).ok_or(Error::TcbStatusUnknown)?;
        let advisories = match level.has("advisoryIDs") {
            true => level.array("advisoryIDs")?.iter().map(advisory).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        Ok(Self { status, date: time::parse(level.string("tcbDate")?)?, advisories })
    }
}

fn advisory(name: &Json) -> Result<Advisory, Error> {
    Advisory::try_from(name.as_string()?.to_owned()).map_err(|_| Error::AdvisoryMalformed)
}

/// Levels by security version (of type `T`). The first that is not above an enclave's is its level, so they must fall.
pub(crate) fn isv_levels<T: TryFrom<u64> + Into<u16>>(object: &Object) -> Result<Vec<IsvLevel>, Error> {
    let levels = object.array("tcbLevels")?.iter().map(isv_level::<T>).collect::<Result<Vec<_>, _>>()?;
    if levels.is_empty() {
        return Err(Error::LevelsMissing);
    }
    match levels.is_sorted_by(|newer, older| newer.isv_svn > older.isv_svn) {
        true => Ok(levels),
        false => Err(Error::LevelsOrder),
    }
}

fn isv_level<T: TryFrom<u64> + Into<u16>>(level: &Json) -> Result<IsvLevel, Error> {
    let level = level.as_object()?;
    let isv_svn = level.object("tcb")?.number::<T>("isvsvn")?.into();
    let Standing { status, date, advisories } = Standing::read(level)?;
    Ok(IsvLevel { isv_svn, status, date, advisories })
}

const STATUSES: [TcbStatus; 7] = [
    TcbStatus::UpToDate,
    TcbStatus::SwHardeningNeeded,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::ConfigurationAndSwHardeningNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];
