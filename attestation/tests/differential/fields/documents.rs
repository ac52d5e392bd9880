//! Fields of TCB info and QE identity, and how their JSON is written.

use cloister_synthetic_evidence::{IsvLevel, Key, Scenario};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

use super::{Mutation, about_now, flip};
use crate::tcb_infos::{advisories, status};

pub const MUTATIONS: &[Mutation] = &[
    ("TCB info", tcb_info),
    ("TCB levels", tcb_levels),
    ("TDX modules", tdx_modules),
    ("QE identity", qe_identity),
    ("QE levels", |scenario, random| isv_levels(&mut scenario.qe_identity.tcb_levels, random)),
    ("TCB info's JSON", |scenario, random| {
        scenario.tcb_info.raw = Some(rewritten(&scenario.tcb_info.body(), random));
    }),
    ("QE identity's JSON", |scenario, random| {
        scenario.qe_identity.raw = Some(rewritten(&scenario.qe_identity.body(), random));
    }),
];

fn tcb_info(scenario: &mut Scenario, random: &mut ChaCha8Rng) {
    let tcb_info = &mut scenario.tcb_info;
    match random.gen_range(0..10) {
        0 => tcb_info.id = (*["SGX", "TDX", "QE", "", "sgx"].choose(random).expect("ids")).into(),
        1 => tcb_info.version = random.gen_range(1..6),
        2 => tcb_info.issue_date = about_now(random),
        3 => tcb_info.next_update = about_now(random),
        4 => flip(&mut tcb_info.fmspc, random),
        5 => flip(&mut tcb_info.pce_id, random),
        6 => tcb_info.tcb_type = random.gen_range(0..3),
        7 => tcb_info.tcb_evaluation_data_number = random.gen_range(0..30),
        8 => tcb_info.tcb_evaluation_data_number = *[u32::MAX as u64, 1 << 32].choose(random).expect("numbers"),
        _ => tcb_info.signed_by = Some(Key::from_seed(&random.r#gen(), "other")),
    }
}

fn tcb_levels(scenario: &mut Scenario, random: &mut ChaCha8Rng) {
    let levels = &mut scenario.tcb_info.tcb_levels;
    let Some(at) = any_index(levels, random) else { return };
    let level = &mut levels[at];
    match random.gen_range(0..12) {
        0 => level.tcb_status = status(random).into(),
        1 => level.tcb_status = (*["Foo", "", "TDRelaunchAdvised", "uptodate"].choose(random).expect("names")).into(),
        2 => level.advisory_ids = advisories(random),
        3 => {
            let odd = ["", "INTEL SA", "INTEL-SA-\u{e9}", &"A".repeat(65)].choose(random).expect("names").to_string();
            level.advisory_ids = Some(vec![odd]);
        }
        4 => level.tcb.sgx_components.truncate(15),
        5 => level.tcb.sgx_components.push(0),
        6 => level.tcb.sgx_components[7] = *[4, 5, 6, 255, 256].choose(random).expect("versions"),
        7 => level.tcb.pce_svn = *[0, 12, 13, 14, 65_535, 65_536].choose(random).expect("versions"),
        8 => {
            level.tcb.tdx_components =
                random.r#gen::<bool>().then(|| vec![random.gen_range(0..7); random.gen_range(15..18)]);
        }
        9 => levels.reverse(),
        10 => {
            let again = level.clone();
            levels.push(again);
        }
        _ => levels.truncate(at),
    }
}

fn tdx_modules(scenario: &mut Scenario, random: &mut ChaCha8Rng) {
    let tcb_info = &mut scenario.tcb_info;
    let Some(identities) = &mut tcb_info.tdx_module_identities else { return };
    let Some(identity) = identities.first_mut() else { return };
    match random.gen_range(0..11) {
        0 => tcb_info.tdx_module = None,
        1 => tcb_info.tdx_module_identities = None,
        2 => {
            identity.id = ["TDX_02", "tdx_01", "TDX_1", "TDX_001", "TDX_0A", "TDX_ZZ", "", "TDX_00"]
                .choose(random)
                .map(|id| (*id).to_owned())
                .expect("ids");
        }
        3 => flip(&mut identity.module.mrsigner, random),
        4 => flip(&mut identity.module.attributes, random),
        5 => flip(&mut identity.module.attributes_mask, random),
        6 => isv_levels(&mut identity.tcb_levels, random),
        7 => {
            let mut again = identity.clone();
            again.id = (*["TDX_01", "TDX_02", "tdx_01"].choose(random).expect("ids")).to_owned();
            again.tcb_levels.iter_mut().for_each(|level| level.tcb_status = status(random).into());
            identities.insert(random.gen_range(0..2), again);
        }
        8 => identity.module.mrsigner.truncate(47),
        9 => identities.clear(),
        _ => {
            if let Some(module) = &mut tcb_info.tdx_module {
                flip(&mut module.attributes, random);
            }
        }
    }
}

fn qe_identity(scenario: &mut Scenario, random: &mut ChaCha8Rng) {
    let identity = &mut scenario.qe_identity;
    match random.gen_range(0..13) {
        0 => identity.id = (*["QE", "TD_QE", "QVE", ""].choose(random).expect("ids")).into(),
        1 => identity.version = random.gen_range(1..5),
        2 => identity.issue_date = about_now(random),
        3 => identity.next_update = about_now(random),
        4 => identity.tcb_evaluation_data_number = random.gen_range(0..30),
        5 => flip(&mut identity.miscselect, random),
        6 => flip(&mut identity.miscselect_mask, random),
        7 => flip(&mut identity.attributes, random),
        8 => flip(&mut identity.attributes_mask, random),
        9 => flip(&mut identity.mrsigner, random),
        10 => identity.isvprodid = *[0, 1, 2, 65_536].choose(random).expect("ids"),
        11 => identity.attributes_mask.truncate(15),
        _ => identity.signed_by = Some(Key::from_seed(&random.r#gen(), "other")),
    }
}

fn isv_levels(levels: &mut Vec<IsvLevel>, random: &mut ChaCha8Rng) {
    let Some(at) = any_index(levels, random) else { return };
    let level = &mut levels[at];
    match random.gen_range(0..8) {
        0..2 => level.tcb_status = status(random).into(),
        2 => level.tcb_status = (*["Foo", "TDRelaunchAdvised"].choose(random).expect("names")).into(),
        3 => level.advisory_ids = advisories(random),
        4 => level.isv_svn = *[0, 4, 5, 6, 7, 8, 9, 255, 256, 65_536].choose(random).expect("versions"),
        5 => levels.reverse(),
        6 => {
            let again = level.clone();
            levels.push(again);
        }
        _ => levels.truncate(at),
    }
}

/// `None` if an earlier mutation took all of them.
fn any_index<T>(of: &[T], random: &mut ChaCha8Rng) -> Option<usize> {
    (!of.is_empty()).then(|| random.gen_range(0..of.len()))
}

/// The same document, written or formed a little otherwise.
fn rewritten(body: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let text = String::from_utf8(body.to_vec()).expect("text");
    // It may have been rewritten once.
    let Ok(mut value) = serde_json::from_str::<Value>(&text) else { return body.to_vec() };
    let text = match random.gen_range(0..14) {
        0 => serde_json::to_string_pretty(&value).expect("JSON"),
        1 => format!(" {text}\n"),
        2 => format!("{text}{}", *[",", "x", "{}", "\0"].choose(random).expect("tails")),
        3 => format!("\u{feff}{text}"),
        4 => text.replacen('}', ",}", 1),
        5 => text.replacen("\"version\"", "\"\\u0076ersion\"", 1),
        6 => text.to_lowercase(),
        7 => {
            let other = ["+00:00\"", ".5Z\"", "z\"", "\"", "+01:00\""].choose(random).expect("times");
            text.replacen("Z\"", other, random.gen_range(1..4))
        }
        8 => text.replacen("T00:00:00Z", [" 00:00:00Z", "T24:00:00Z", "T00:00:60Z"].choose(random).expect("times"), 1),
        9 => {
            // A field twice.
            let field = text.split_inclusive(',').next().expect("a field").trim_start_matches('{').to_owned();
            text.replacen('{', &format!("{{{field}"), 1)
        }
        10 => {
            let mut numbers = text.split_inclusive("\"version\":").map(str::to_owned).collect::<Vec<_>>();
            if let Some(after) = numbers.get_mut(1) {
                let other = ["3.0", "3e0", "03", "\"3\"", "-3"].choose(random).expect("numbers");
                *after = format!("{other}{}", &after[1..]);
            }
            numbers.concat()
        }
        _ => {
            let object = any_object(&mut value, random);
            let keys: Vec<String> = object.keys().cloned().collect();
            match keys.choose(random) {
                Some(key) => match random.gen_range(0..3) {
                    0 => {
                        object.remove(key);
                    }
                    1 => {
                        let others =
                            [Value::Null, 1.into(), "1".into(), Value::Array(vec![]), Value::Object(Map::new())];
                        object.insert(key.clone(), others.choose(random).expect("values").clone());
                    }
                    _ => {
                        object.insert("unknown".into(), 1.into());
                    }
                },
                None => {
                    object.insert("unknown".into(), 1.into());
                }
            }
            value.to_string()
        }
    };
    text.into_bytes()
}

/// The document or an object inside, each level with even chances.
fn any_object<'a>(value: &'a mut Value, random: &mut ChaCha8Rng) -> &'a mut Map<String, Value> {
    let nested = |value: &Value| match value {
        Value::Object(_) => true,
        Value::Array(values) => values.first().is_some_and(Value::is_object),
        _ => false,
    };
    let object = value.as_object_mut().expect("an object");
    let keys: Vec<String> = object.iter().filter(|(_, value)| nested(value)).map(|(key, _)| key.clone()).collect();
    match keys.choose(random) {
        Some(key) if random.r#gen() => {
            let mut value = &mut object[key];
            if value.is_array() {
                let values = value.as_array_mut().expect("an array");
                let at = random.gen_range(0..values.len());
                value = &mut values[at];
            }
            any_object(value, random)
        }
        _ => object,
    }
}
