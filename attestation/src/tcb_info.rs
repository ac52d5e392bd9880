//! TCB info, version 3 ("TCB Info V3" of Intel's PCS API, version 4).

use alloc::vec::Vec;
use core::cmp::Reverse;

use cloister_claims::{Error, Signed};

use crate::{
    collateral::{PlatformType, TcbInfo, TcbLevel, TdxModule},
    document::{self, Standing},
    json::{Json, Object},
    roots::Roots,
};

impl TcbInfo {
    /// Checks a signed document at whatever time; see [`Self::check_time`].
    pub fn verify(signed: &Signed, roots: &Roots) -> Result<Self, Error> {
        let (signer, tcb_info) = document::open(signed, roots)?;
        let platform = document::kind(&tcb_info, [("SGX", PlatformType::Sgx), ("TDX", PlatformType::Tdx)], 3)?;
        // How components are compared. Only one way is defined: each by itself.
        if tcb_info.number::<u64>("tcbType")? != 0 {
            return Err(Error::TcbType);
        }
        Ok(Self {
            root: signer.root,
            platform,
            validity: document::validity(&tcb_info)?,
            fmspc: tcb_info.bytes("fmspc")?,
            pce_id: tcb_info.bytes("pceId")?,
            evaluation_number: tcb_info.number("tcbEvaluationDataNumber")?,
            tdx_modules: tdx_modules(&tcb_info, platform)?,
            levels: levels(&tcb_info, platform)?,
            signer: signer.signer,
        })
    }

    /// Whether document and signer are valid at `at` (Unix milliseconds).
    pub fn check_time(&self, at: u64) -> Result<(), Error> {
        document::check_time(&self.signer, &self.validity, at)
    }
}

/// Levels from newest to oldest. The first that a platform reaches in every component is its level, and where levels are not
/// comparable the order decides: it is that of Intel's own library, which sorts them whatever the document's order.
fn levels(tcb_info: &Object, platform: PlatformType) -> Result<Vec<TcbLevel>, Error> {
    let levels = tcb_info.array("tcbLevels")?.iter().map(|level| read_level(level, platform));
    let mut levels = levels.collect::<Result<Vec<_>, _>>()?;
    if levels.is_empty() {
        return Err(Error::LevelsMissing);
    }
    let rank = |level: &TcbLevel| (level.sgx_components, level.pce_svn, level.tdx_components);
    levels.sort_by_key(|level| Reverse(rank(level)));
    // Of two levels with the same numbers, readers might take either.
    match levels.is_sorted_by(|newer, older| rank(newer) > rank(older)) {
        true => Ok(levels),
        false => Err(Error::LevelsOrder),
    }
}

fn read_level(level: &Json, platform: PlatformType) -> Result<TcbLevel, Error> {
    let level = level.as_object()?;
    let tcb = level.object("tcb")?;
    let tdx_components = match platform {
        PlatformType::Sgx if tcb.has("tdxtcbcomponents") => return Err(Error::TdxUnexpected),
        PlatformType::Sgx => None,
        PlatformType::Tdx => Some(components(tcb, "tdxtcbcomponents")?),
    };
    let Standing { status, date, advisories } = Standing::read(level)?;
    Ok(TcbLevel {
        sgx_components: components(tcb, "sgxtcbcomponents")?,
        pce_svn: tcb.number("pcesvn")?,
        tdx_components,
        status,
        date,
        advisories,
    })
}

/// Exactly 16: with fewer, somebody who compares pair by pair would not compare the rest.
fn components(tcb: &Object, name: &str) -> Result<[u8; 16], Error> {
    let components = if tcb.has(name) { tcb.array(name)? } else { &[] };
    if components.len() != 16 {
        return Err(Error::TcbComponents);
    }
    let svns = components.iter().map(|component| component.as_object()?.number("svn"));
    svns.collect::<Result<Vec<u8>, _>>()?.try_into().map_err(|_| Error::TcbComponents)
}

/// The module of version 0 (`tdxModule`), then those with versions (`tdxModuleIdentities`).
fn tdx_modules(tcb_info: &Object, platform: PlatformType) -> Result<Vec<TdxModule>, Error> {
    if platform == PlatformType::Sgx {
        return match tcb_info.has("tdxModule") || tcb_info.has("tdxModuleIdentities") {
            true => Err(Error::TdxUnexpected),
            false => Ok(Vec::new()),
        };
    }
    if !tcb_info.has("tdxModule") {
        return Err(Error::TdxModuleMissing);
    }
    // It has no levels: versions of this module are TDX components of the platform's levels.
    let mut modules = Vec::from([tdx_module(tcb_info.object("tdxModule")?, 0, Vec::new())?]);
    if tcb_info.has("tdxModuleIdentities") {
        for identity in tcb_info.array("tdxModuleIdentities")? {
            let identity = identity.as_object()?;
            let version = module_version(identity.string("id")?)?;
            if modules.iter().any(|module| module.version == version) {
                return Err(Error::TdxModuleDuplicate);
            }
            modules.push(tdx_module(identity, version, document::isv_levels::<u8>(identity)?)?);
        }
    }
    Ok(modules)
}

fn tdx_module(module: &Object, version: u8, levels: Vec<crate::collateral::IsvLevel>) -> Result<TdxModule, Error> {
    Ok(TdxModule {
        version,
        mr_signer: module.bytes("mrsigner")?,
        attributes: module.bytes("attributes")?,
        attributes_mask: module.bytes("attributesMask")?,
        levels,
    })
}

/// `TDX_` and two hexadecimal digits; never 0, which is `tdxModule`'s.
fn module_version(id: &str) -> Result<u8, Error> {
    let mut version = [0];
    let digits = id.strip_prefix("TDX_").ok_or(Error::TdxModuleId)?;
    hex::decode_to_slice(digits, &mut version).map_err(|_| Error::TdxModuleId)?;
    match version {
        [0] => Err(Error::TdxModuleId),
        [version] => Ok(version),
    }
}
