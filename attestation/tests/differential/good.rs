//! Cases that both verifiers accept, to start from: recorded ones, and synthetic ones that can be signed again.

use std::sync::OnceLock;

use cloister_attestation::{Collateral, Signed, SignedCrl, roots};
use cloister_synthetic_evidence::{AT, Authority, PckIssuer, Platform, Scenario, Tee};
use dcap_qvl::QuoteCollateralV3;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::comparison::Case;

/// Recorded on real hardware, at a time inside the validity of their collateral.
pub fn recorded() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| vec![recorded_sgx(), recorded_tdx()])
}

/// `vectors/sgx-v3`, one second before the earliest `nextUpdate`.
pub fn recorded_sgx() -> Case {
    let quote = include_bytes!("../vectors/sgx-v3/quote.bin");
    intel(quote, collateral(include_str!("../vectors/sgx-v3/collateral.json")), 1_752_919_277)
}

/// `vectors/tdx-v4`, one second before the earliest `nextUpdate`.
pub fn recorded_tdx() -> Case {
    let quote = include_bytes!("../vectors/tdx-v4/quote.bin");
    intel(quote, collateral(include_str!("../vectors/tdx-v4/collateral.json")), 1_752_919_234)
}

/// Everything right, under a root of the tests'.
pub fn synthetic() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| KINDS.iter().map(|kind| build(&scenario(*kind, 1))).collect())
}

/// A platform of the tests' own.
pub fn scenario((tee, issuer): (Tee, PckIssuer), id: u8) -> Scenario {
    Scenario::new(authority(), &Platform { id: [id; 32], tee, issuer })
}

/// The same of any kind.
pub fn any_scenario(random: &mut ChaCha8Rng) -> Scenario {
    let kind = KINDS.choose(random).expect("kinds");
    scenario(*kind, random.r#gen())
}

/// Signs.
pub fn build(scenario: &Scenario) -> Case {
    let (quote, collateral) = scenario.build();
    Case { quote, collateral, root: authority().root_der(), at_seconds: AT / 1000 }
}

pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::from_seed([0xd1; 32]))
}

/// The oracle's form of a bundle in ours.
pub fn collateral(bundle: &str) -> Collateral {
    let bundle: QuoteCollateralV3 = serde_json::from_str(bundle).expect("a bundle");
    let signed = |body: String, signature: Vec<u8>, issuer_chain: String| Signed {
        body: body.into_bytes(),
        signature: signature.try_into().expect("64 bytes"),
        issuer_chain: issuer_chain.into_bytes(),
    };
    Collateral {
        tcb_info: signed(bundle.tcb_info, bundle.tcb_info_signature, bundle.tcb_info_issuer_chain),
        qe_identity: signed(bundle.qe_identity, bundle.qe_identity_signature, bundle.qe_identity_issuer_chain),
        root_crl: Some(bundle.root_ca_crl),
        pck_crl: Some(SignedCrl { crl: bundle.pck_crl, issuer_chain: bundle.pck_crl_issuer_chain.into_bytes() }),
    }
}

/// Under Intel's root.
pub fn intel(quote: &[u8], collateral: Collateral, at_seconds: u64) -> Case {
    Case { quote: quote.to_vec(), collateral, root: roots::INTEL.to_vec(), at_seconds }
}

const KINDS: [(Tee, PckIssuer); 4] = [
    (Tee::Sgx, PckIssuer::Processor),
    (Tee::Sgx, PckIssuer::Platform),
    (Tee::Tdx, PckIssuer::Platform),
    (Tee::Tdx, PckIssuer::Processor),
];
