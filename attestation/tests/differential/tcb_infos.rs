//! Generated TCB infos and QE identities for platforms of all ages.

use std::sync::OnceLock;

use cloister_attestation::{Collateral, Signed as Document};
use cloister_synthetic_evidence::{
    AT, IsvLevel, QeIdentity, Scenario, TCB_DATE, Tcb, TcbInfo, TcbLevel, TdxModule, TdxModuleIdentity, Tee,
};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    comparison::Case,
    good::{any_scenario, authority},
    run::{Drawn, random},
};

/// A platform and its quote, with documents drawn for it: mostly near what the platform has, so that levels match.
pub fn draw(random: &mut ChaCha8Rng) -> Drawn {
    let Signed { platform, quote, collateral, .. } = platforms().choose(random).expect("platforms");
    let tdx = platform.tee == Tee::Tdx;
    let authority = authority();
    let sign = |body: Vec<u8>| Document {
        signature: authority.tcb_signing.key.sign(&body),
        body,
        issuer_chain: collateral.tcb_info.issuer_chain.clone(),
    };
    let tcb_info = sign(tcb_info(platform, random).body());
    // Half of the time the platform's own identity: two drawn ones together mostly end in rejection.
    let qe_identity = match random.r#gen() {
        true => sign(qe_identity(platform, random).body()),
        false => collateral.qe_identity.clone(),
    };
    let case = Case {
        quote: quote.clone(),
        collateral: Collateral { tcb_info, qe_identity, ..collateral.clone() },
        root: authority.root_der(),
        at_seconds: AT / 1000,
    };
    (if tdx { "TDX" } else { "SGX" }.to_owned(), case)
}

/// Any status that Intel's documents name.
pub fn status(random: &mut ChaCha8Rng) -> &'static str {
    const STATUSES: [&str; 7] = [
        "UpToDate",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
        "Revoked",
    ];
    STATUSES.choose(random).expect("statuses")
}

/// None, or some of a few, perhaps repeated.
pub fn advisories(random: &mut ChaCha8Rng) -> Option<Vec<String>> {
    let count = random.gen_range(0..4);
    random.r#gen::<bool>().then(|| (0..count).map(|_| format!("INTEL-SA-{:05}", random.gen_range(0..5))).collect())
}

/// What is signed once for a platform.
struct Signed {
    platform: Platform,
    quote: Vec<u8>,
    collateral: Collateral,
}

/// What levels are compared with.
struct Platform {
    tee: Tee,
    scenario: Scenario,
    components: [u8; 16],
    pce_svn: u8,
    tee_tcb_svn: [u8; 16],
    qe_isv_svn: u16,
}

fn platforms() -> &'static [Signed] {
    static PLATFORMS: OnceLock<Vec<Signed>> = OnceLock::new();
    PLATFORMS.get_or_init(|| (0..PLATFORM_COUNT).map(|index| Signed::new(&mut random(u64::MAX - index))).collect())
}

impl Signed {
    fn new(random: &mut ChaCha8Rng) -> Self {
        let mut scenario = any_scenario(random);
        let components = std::array::from_fn(|_| svn(random));
        let pce_svn = svn(random);
        let mut tee_tcb_svn: [u8; 16] = std::array::from_fn(|_| svn(random));
        tee_tcb_svn[1] = *[0, 1, 1, 1, 3, 10].choose(random).expect("versions");
        let qe_isv_svn = svn(random).into();

        let tcb = scenario.sgx_extension.as_mut().and_then(|extension| extension.tcb.as_mut()).expect("a TCB");
        tcb.components = components.map(u64::from).to_vec();
        tcb.cpu_svn = Some(components.to_vec());
        tcb.pce_svn = Some(pce_svn.into());
        scenario.quote.qe_report.isv_svn = qe_isv_svn;
        let tee = match scenario.td_report_mut() {
            Some(report) => {
                report.tee_tcb_svn = tee_tcb_svn;
                Tee::Tdx
            }
            None => Tee::Sgx,
        };
        let (quote, collateral) = scenario.build();
        Self { platform: Platform { tee, scenario, components, pce_svn, tee_tcb_svn, qe_isv_svn }, quote, collateral }
    }
}

fn tcb_info(platform: &Platform, random: &mut ChaCha8Rng) -> TcbInfo {
    let tdx = platform.tee == Tee::Tdx;
    let mut levels: Vec<_> = (0..random.gen_range(1..8)).map(|_| tcb_level(platform, random)).collect();
    // The same level twice with two statuses is for another mutation: ours refuses it.
    levels.sort_by(|left, right| key(right).cmp(&key(left)));
    levels.dedup_by(|left, right| key(left) == key(right));
    if random.r#gen() {
        levels.shuffle(random);
    }
    TcbInfo {
        tcb_levels: levels,
        tcb_evaluation_data_number: random.gen_range(0..40),
        tdx_module: tdx.then(|| module(random)),
        tdx_module_identities: tdx.then(|| module_identities(platform, random)),
        ..platform.scenario.tcb_info.clone()
    }
}

/// Each version like the platform's or one off, rarely above: a level with sixteen versions must be reached in all.
fn tcb_level(platform: &Platform, random: &mut ChaCha8Rng) -> TcbLevel {
    let above = *[0.0, 0.0, 0.005, 0.05].choose(random).expect("chances");
    let near = |svn: u8, random: &mut ChaCha8Rng| -> u64 {
        match random.gen_bool(above) {
            true => svn.saturating_add(1).into(),
            false => svn.saturating_sub(random.gen_range(0..3) / 2).into(),
        }
    };
    let mut sgx_components = platform.components.map(|svn| near(svn, random)).to_vec();
    let pce_svn = near(platform.pce_svn, random);
    let mut tdx_components = platform.tee_tcb_svn.map(|svn| near(svn, random)).to_vec();
    // Levels that differ in one component only, so that the later parts of the order decide.
    if random.r#gen() {
        sgx_components = platform.components.map(u64::from).to_vec();
        if random.r#gen() {
            tdx_components[0] = random.gen_range(0..8);
        }
    }
    TcbLevel {
        tcb: Tcb { sgx_components, pce_svn, tdx_components: (platform.tee == Tee::Tdx).then_some(tdx_components) },
        tcb_date: date(random),
        tcb_status: status(random).into(),
        advisory_ids: advisories(random),
    }
}

fn module_identities(platform: &Platform, random: &mut ChaCha8Rng) -> Vec<TdxModuleIdentity> {
    let mut versions = vec![1, 3, 10, 11];
    versions.shuffle(random);
    versions.truncate(random.gen_range(2..5));
    let [isv_svn, ..] = platform.tee_tcb_svn;
    let mut identity = |version: u8| TdxModuleIdentity {
        id: format!("TDX_{version:02X}"),
        module: module(random),
        tcb_levels: isv_levels(isv_svn.into(), &["UpToDate", "OutOfDate"], random),
    };
    versions.into_iter().map(&mut identity).collect()
}

/// Mostly what every synthetic domain runs on.
fn module(random: &mut ChaCha8Rng) -> TdxModule {
    let mut module = TdxModule { mrsigner: vec![0; 48], attributes: vec![0; 8], attributes_mask: vec![0xff; 8] };
    match random.gen_range(0..20) {
        0 => module.mrsigner[random.gen_range(0..48)] = 1,
        1 => module.attributes[random.gen_range(0..8)] = 1,
        2 => module.attributes_mask[random.gen_range(0..8)] = random.r#gen(),
        3 => {
            // An attribute that the mask hides.
            module.attributes[0] = 1;
            module.attributes_mask[0] = 0xfe;
        }
        _ => {}
    }
    module
}

fn qe_identity(platform: &Platform, random: &mut ChaCha8Rng) -> QeIdentity {
    QeIdentity {
        tcb_evaluation_data_number: random.gen_range(0..40),
        tcb_levels: isv_levels(platform.qe_isv_svn.into(), &["UpToDate", "OutOfDate"], random),
        ..platform.scenario.qe_identity.clone()
    }
}

/// Levels around a security version, rarely in any other order than from newest to oldest, mostly of the usual statuses.
fn isv_levels(isv_svn: u64, usual: &[&str], random: &mut ChaCha8Rng) -> Vec<IsvLevel> {
    let level = |random: &mut ChaCha8Rng| IsvLevel {
        isv_svn: (isv_svn + random.gen_range(0..3)).saturating_sub(random.gen_range(0..5)),
        tcb_date: date(random),
        tcb_status: match random.gen_bool(0.9) {
            true => usual.choose(random).expect("statuses"),
            false => status(random),
        }
        .to_string(),
        advisory_ids: advisories(random),
    };
    let mut levels: Vec<_> = (0..random.gen_range(1..5)).map(|_| level(random)).collect();
    if random.gen_bool(0.95) {
        levels.sort_by_key(|level| std::cmp::Reverse(level.isv_svn));
        levels.dedup_by_key(|level| level.isv_svn);
    }
    levels
}

fn key(level: &TcbLevel) -> (&[u64], u64, Option<&[u64]>) {
    (&level.tcb.sgx_components, level.tcb.pce_svn, level.tcb.tdx_components.as_deref())
}

fn svn(random: &mut ChaCha8Rng) -> u8 {
    *[0, 1, 2, 3, 5, 11, 127, 128, 254, 255].choose(random).expect("versions")
}

fn date(random: &mut ChaCha8Rng) -> u64 {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    TCB_DATE + DAY * random.gen_range(0..2_000)
}

const PLATFORM_COUNT: u64 = 200;
