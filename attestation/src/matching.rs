//! What the vendor's collateral says about versions: of the platform, of its TDX module, of its quoting enclave. After
//! Intel's description of `tcbLevels` and the rules of its Quote Verification Library.

use alloc::vec::Vec;

use cloister_claims::{Advisory, Error, TcbStatus};

use crate::{
    chain::PckCertificate,
    collateral::{IsvLevel, QeIdentity, TcbInfo, TcbLevel, TdxModule},
    quote::{EnclaveReport, TdReport},
};

/// How up to date everything is on which a quote depends.
#[derive(Debug)]
pub(crate) struct Tcb {
    /// Of platform, TDX module and quoting enclave together.
    pub status: TcbStatus,
    /// Of all three, sorted, without repetition.
    pub advisories: Vec<Advisory>,
    /// Unix milliseconds: of platform and TDX module, the older.
    pub date: u64,
}

impl Tcb {
    /// Matches the platform's certificate and, of a domain, the report of its TDX module against the TCB info, and adds the
    /// quoting enclave's level.
    pub fn converge(
        tcb_info: &TcbInfo,
        pck: &PckCertificate,
        domain: Option<&TdReport>,
        qe_level: &IsvLevel,
    ) -> Result<Self, Error> {
        let platform = platform_level(tcb_info, pck, domain.map(|report| &report.tee_tcb_svn))?;
        let module = domain.map(|report| module_level(tcb_info, report)).transpose()?.flatten();
        let mut tcb = Self { status: platform.status, advisories: platform.advisories.clone(), date: platform.date };
        if let Some(module) = module {
            tcb.add(module);
            tcb.date = tcb.date.min(module.date);
        }
        tcb.add(qe_level);
        tcb.advisories.sort_unstable();
        tcb.advisories.dedup();
        Ok(tcb)
    }

    fn add(&mut self, component: &IsvLevel) {
        self.status = converge(self.status, component.status);
        self.advisories.extend(component.advisories.iter().cloned());
    }
}

/// Checks a quoting enclave's report against its identity. Returns its level: the first that its security version reaches.
pub(crate) fn qe_level<'a>(identity: &'a QeIdentity, report: &EnclaveReport) -> Result<&'a IsvLevel, Error> {
    if report.mr_signer != identity.mr_signer {
        return Err(Error::QeMrSigner);
    }
    // The mask of every published identity covers the debug flag. A key that anyone can read out must not depend on a mask.
    if report.is_debug() {
        return Err(Error::QeDebug);
    }
    if report.isv_prod_id != identity.isv_prod_id {
        return Err(Error::QeProductId);
    }
    if !equal_masked(&report.misc_select, &identity.misc_select, &identity.misc_select_mask) {
        return Err(Error::QeMiscSelect);
    }
    if !equal_masked(&report.attributes, &identity.attributes, &identity.attributes_mask) {
        return Err(Error::QeAttributes);
    }
    let level = isv_level(&identity.levels, report.isv_svn).ok_or(Error::QeSecurityVersion)?;
    // The others are defined for platforms only: readers of a quoting enclave's level take them for out of date or for nothing.
    match level.status {
        TcbStatus::UpToDate | TcbStatus::OutOfDate | TcbStatus::Revoked => Ok(level),
        _ => Err(Error::QeStatus),
    }
}

/// The first level, from newest to oldest, that the platform reaches in every component.
fn platform_level<'a>(
    tcb_info: &'a TcbInfo,
    pck: &PckCertificate,
    tee_tcb_svn: Option<&[u8; 16]>,
) -> Result<&'a TcbLevel, Error> {
    let reached = |level: &&TcbLevel| {
        reaches(&pck.tcb_components, &level.sgx_components)
            && pck.pce_svn >= level.pce_svn
            && tee_tcb_svn.is_none_or(|svn| reaches_tdx(svn, level))
    };
    tcb_info.levels.iter().find(reached).ok_or(Error::TcbLevelMissing)
}

/// Of the 16 TDX components, the first two are the TDX module's security version and major version. From major version 1
/// on the module has an identity and levels of its own, and the platform's levels speak about the rest only.
fn reaches_tdx(tee_tcb_svn: &[u8; 16], level: &TcbLevel) -> bool {
    let Some(components) = &level.tdx_components else {
        return false;
    };
    match (tee_tcb_svn, components) {
        ([_, 0, ..], _) => reaches(tee_tcb_svn, components),
        ([_, _, versions @ ..], [_, _, components @ ..]) => reaches(versions, components),
    }
}

/// Checks the TDX module that made a report. Returns the module's level; `None` for modules of version 0, which the
/// platform's levels judge.
fn module_level<'a>(tcb_info: &'a TcbInfo, report: &TdReport) -> Result<Option<&'a IsvLevel>, Error> {
    let [security_version, version, ..] = report.tee_tcb_svn;
    let module: &TdxModule =
        tcb_info.tdx_modules.iter().find(|module| module.version == version).ok_or(Error::TdxModuleUnknown)?;
    if report.mr_signer_seam != module.mr_signer {
        return Err(Error::TdxModuleSigner);
    }
    // A bit outside the mask is one whose meaning the vendor has not given to verifiers yet.
    let outside_mask = equal_masked(&report.seam_attributes, &[0; 8], &module.attributes_mask.map(|mask| !mask));
    if !outside_mask || !equal_masked(&report.seam_attributes, &module.attributes, &module.attributes_mask) {
        return Err(Error::TdxModuleAttributes);
    }
    if version == 0 {
        return Ok(None);
    }
    let level = isv_level(&module.levels, u16::from(security_version)).ok_or(Error::TdxModuleSecurityVersion)?;
    match level.status {
        TcbStatus::UpToDate | TcbStatus::OutOfDate | TcbStatus::Revoked => Ok(Some(level)),
        _ => Err(Error::TdxModuleStatus),
    }
}

/// The first level that a security version reaches.
fn isv_level(levels: &[IsvLevel], isv_svn: u16) -> Option<&IsvLevel> {
    levels.iter().find(|level| isv_svn >= level.isv_svn)
}

/// The status of a platform together with that of its TDX module or quoting enclave, which is up to date, out of date or
/// revoked.
fn converge(platform: TcbStatus, component: TcbStatus) -> TcbStatus {
    use TcbStatus::*;
    match (component, platform) {
        (Revoked, _) => Revoked,
        (OutOfDate, UpToDate | SwHardeningNeeded) => OutOfDate,
        (OutOfDate, ConfigurationNeeded | ConfigurationAndSwHardeningNeeded) => OutOfDateConfigurationNeeded,
        _ => platform,
    }
}

/// Whether every version is at least that of the level. Both have the same length by type wherever this is called.
fn reaches(versions: &[u8], level: &[u8]) -> bool {
    versions.len() == level.len() && versions.iter().zip(level).all(|(version, level)| version >= level)
}

fn equal_masked<const N: usize>(left: &[u8; N], right: &[u8; N], mask: &[u8; N]) -> bool {
    left.iter().zip(right).zip(mask).all(|((left, right), mask)| left & mask == right & mask)
}
