//! Forms of TCB info and QE identity.

use cloister_attestation::{Advisory, Error, Signed};
use serde_json::Value;

use crate::comparison::Case;

/// The TCB info's PCE id.
pub fn pce_id(case: &Case) -> Option<Vec<u8>> {
    hex::decode(parse(&case.collateral.tcb_info)?["pceId"].as_str()?).ok()
}

/// The status of the quoting enclave's level: the first that its security version reaches.
pub fn qe_status(case: &Case, isv_svn: u16) -> Option<String> {
    let identity = parse(&case.collateral.qe_identity)?;
    let reached = |level: &&Value| level["tcb"]["isvsvn"].as_u64().is_some_and(|lowest| u64::from(isv_svn) >= lowest);
    Some(items(&identity["tcbLevels"]).find(reached)?["tcbStatus"].as_str()?.to_owned())
}

/// Whether one of the documents has what this error is about.
pub fn has_form(case: &Case, error: Error) -> bool {
    let tcb_info = parse(&case.collateral.tcb_info).unwrap_or_default();
    let qe_identity = parse(&case.collateral.qe_identity).unwrap_or_default();
    let modules: Vec<&Value> = items(&tcb_info["tdxModuleIdentities"]).collect();
    let of_modules = || modules.iter().flat_map(|module| items(&module["tcbLevels"]));
    let platform = || items(&tcb_info["tcbLevels"]);
    let isv_lists = || modules.iter().copied().chain([&qe_identity]).map(|of| &of["tcbLevels"]);
    let mut levels = platform().chain(of_modules()).chain(items(&qe_identity["tcbLevels"]));
    let tdx = tcb_info["id"] == "TDX";
    match error {
        Error::LevelsOrder => repeated(platform().map(rank)) || isv_lists().any(|levels| !falls(levels)),
        Error::LevelsMissing => isv_lists().any(|levels| items(levels).next().is_none()),
        Error::DocumentVersion => tcb_info["version"] != 3 || qe_identity["version"] != 2,
        Error::TcbType => tcb_info["tcbType"] != 0,
        Error::TdxUnexpected => {
            !tdx && (["tdxModule", "tdxModuleIdentities"].iter().any(|name| tcb_info.get(name).is_some())
                || platform().any(|level| level["tcb"].get("tdxtcbcomponents").is_some()))
        }
        // The oracle counts only when it comes to compare.
        Error::TcbComponents | Error::DocumentFieldMissing if platform().any(|level| !has_components(level, tdx)) => {
            true
        }
        Error::TcbStatusUnknown => {
            levels.any(|level| level["tcbStatus"].as_str().is_some_and(|of| of.starts_with("TDRelaunch")))
        }
        Error::AdvisoryMalformed => levels
            .flat_map(|level| items(&level["advisoryIDs"]))
            .any(|name| name.as_str().is_some_and(|name| Advisory::try_from(name.to_owned()).is_err())),
        Error::DocumentTime => {
            let own = [&tcb_info, &qe_identity].into_iter().flat_map(|of| [&of["issueDate"], &of["nextUpdate"]]);
            own.chain(levels.map(|level| &level["tcbDate"]))
                .any(|time| time.as_str().is_some_and(|time| !is_plain_time(time)))
        }
        Error::TdxModuleId => modules.iter().any(|module| !is_module_id(&module["id"])),
        Error::TdxModuleDuplicate => {
            repeated(modules.iter().map(|module| module["id"].as_str().unwrap_or_default().to_lowercase()))
        }
        // For the oracle null is absence, and hexadecimal any text until it comes to compare: no PCE id, and one module only.
        Error::DocumentField => {
            let module = tcb_info.get("tdxModule");
            module.is_some_and(Value::is_null)
                || !is_hexadecimal(&tcb_info["pceId"], 2)
                || modules.iter().copied().chain(module).any(|module| !is_module(module))
        }
        // Of fields that the oracle does not know.
        Error::DocumentFieldDuplicate => {
            [&case.collateral.tcb_info, &case.collateral.qe_identity].iter().any(|signed| repeats_unknown(signed))
        }
        _ => false,
    }
}

fn parse(signed: &Signed) -> Option<Value> {
    serde_json::from_slice(&signed.body).ok()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn rank(level: &Value) -> String {
    let tcb = &level["tcb"];
    format!("{} {} {}", tcb["sgxtcbcomponents"], tcb["pcesvn"], tcb["tdxtcbcomponents"])
}

fn repeated(mut values: impl Iterator<Item = String>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    values.any(|value| !seen.insert(value))
}

fn falls(levels: &Value) -> bool {
    let versions: Vec<_> = items(levels).map(|level| level["tcb"]["isvsvn"].as_u64()).collect();
    versions.is_sorted_by(|newer, older| newer > older)
}

fn has_components(level: &Value, tdx: bool) -> bool {
    let sixteen = |name| items(&level["tcb"][name]).count() == 16;
    sixteen("sgxtcbcomponents") && (!tdx || sixteen("tdxtcbcomponents"))
}

/// `2025-01-01T00:00:00Z` and nothing like it; the oracle knows leap seconds, and does not read times of levels that do not count.
fn is_plain_time(time: &str) -> bool {
    let form = "0000-00-00T00:00:00Z";
    let digits = |(octet, form): (u8, u8)| if form == b'0' { octet.is_ascii_digit() } else { octet == form };
    time.len() == form.len()
        && time.bytes().zip(form.bytes()).all(digits)
        && &time[11..13] < "24"
        && &time[14..16] < "60"
        && &time[17..19] < "60"
}

fn is_module(module: &Value) -> bool {
    let fields = [("mrsigner", 48), ("attributes", 8), ("attributesMask", 8)];
    fields.iter().all(|(name, bytes)| is_hexadecimal(&module[*name], *bytes))
}

fn is_hexadecimal(value: &Value, bytes: usize) -> bool {
    value.as_str().and_then(|text| hex::decode(text).ok()).is_some_and(|decoded| decoded.len() == bytes)
}

fn is_module_id(id: &Value) -> bool {
    let number = id.as_str().and_then(|id| id.strip_prefix("TDX_"));
    number.is_some_and(|number| number.len() == 2 && number != "00" && u8::from_str_radix(number, 16).is_ok())
}

/// Whether a name that no known field has stands in the document more often than in what a lenient reader keeps of it.
fn repeats_unknown(signed: &Signed) -> bool {
    let text = String::from_utf8_lossy(&signed.body);
    let Some(value) = parse(signed) else { return false };
    ["unknown", "type", "category", "tcb"].iter().any(|name| {
        let name = format!("\"{name}\":");
        text.matches(&name).count() > value.to_string().matches(&name).count()
    })
}
