//! One verification: a scenario in which everything is right until a test changes one thing.

use cloister_attestation::{
    Error, Evidence, Roots, Verification,
    collateral::{RootOfTrust, VerifiedCollateral},
    verify, verify_crl, verify_qe_identity, verify_quote, verify_tcb_info,
};
use cloister_claims::Collateral;
use cloister_synthetic_evidence::{AT, Authority, Scenario, Tee};

/// Evidence and collateral about to be verified.
pub struct Trial {
    /// What it is about.
    pub tee: Tee,
    /// Signed when verified.
    pub scenario: Scenario,
    /// Unix milliseconds.
    pub at: u64,
    /// In place of the scenario's own root.
    pub roots: Option<Roots>,
    /// Has the collateral verified first, each part by itself, and then changes which part goes where.
    pub exchange: Option<fn(&mut VerifiedCollateral)>,
    after: Vec<Tamper>,
}

type Tamper = Box<dyn FnOnce(&mut Vec<u8>, &mut Collateral)>;

/// Both kinds of evidence.
pub const BOTH: &[Tee] = &[Tee::Sgx, Tee::Tdx];
/// SGX only.
pub const SGX: &[Tee] = &[Tee::Sgx];
/// TDX only.
pub const TDX: &[Tee] = &[Tee::Tdx];

impl Trial {
    /// Everything right, under a root that stands for Intel's.
    pub fn good(tee: Tee) -> Self {
        let scenario = match tee {
            Tee::Sgx => Scenario::sgx(&authority()),
            Tee::Tdx => Scenario::tdx(&authority()),
        };
        Self { tee, scenario, at: AT, roots: None, exchange: None, after: vec![] }
    }

    /// Changes what has been signed.
    pub fn after(&mut self, tamper: impl FnOnce(&mut Vec<u8>, &mut Collateral) + 'static) {
        self.after.push(Box::new(tamper));
    }

    /// Edits the JSON of the TCB info before it is signed.
    pub fn edit_tcb_info(&mut self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut json = serde_json::from_slice(&self.scenario.tcb_info.body()).expect("JSON");
        edit(&mut json);
        self.scenario.tcb_info.raw = Some(json.to_string().into_bytes());
    }

    /// Edits the JSON of the quoting enclave's identity before it is signed.
    pub fn edit_qe_identity(&mut self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut json = serde_json::from_slice(&self.scenario.qe_identity.body()).expect("JSON");
        edit(&mut json);
        self.scenario.qe_identity.raw = Some(json.to_string().into_bytes());
    }

    /// Signs, tampers, verifies.
    pub fn verify(self) -> Result<Verification, Error> {
        let (mut quote, mut collateral) = self.scenario.build();
        for tamper in self.after {
            tamper(&mut quote, &mut collateral);
        }
        let roots = match self.roots {
            Some(roots) => roots,
            None => Roots::new(&[(RootOfTrust::Intel, &self.scenario.authority.root_der())])?,
        };
        match self.exchange {
            Some(exchange) => verify_exchanged(&quote, &collateral, &roots, self.at, exchange),
            None => verify(&Evidence::Dcap(quote), &collateral, &roots, self.at),
        }
    }
}

fn verify_exchanged(
    quote: &[u8],
    raw: &Collateral,
    roots: &Roots,
    at: u64,
    exchange: fn(&mut VerifiedCollateral),
) -> Result<Verification, Error> {
    let tcb_info = verify_tcb_info(&raw.tcb_info, roots, at)?;
    let qe_identity = verify_qe_identity(&raw.qe_identity, roots, at)?;
    let list = raw.pck_crl.as_ref().expect("there");
    let root_crl = verify_crl(raw.root_crl.as_ref().expect("there"), &list.issuer_chain, roots, at)?;
    let pck_crl = verify_crl(&list.crl, &list.issuer_chain, roots, at)?;
    let mut collateral = VerifiedCollateral {
        tcb_info: &tcb_info,
        qe_identity: &qe_identity,
        root_crl: Some(&root_crl),
        pck_crl: Some(&pck_crl),
    };
    exchange(&mut collateral);
    verify_quote(quote, collateral, roots, at)
}

/// The root that stands for Intel's.
pub fn authority() -> Authority {
    Authority::from_seed([0xa7; 32])
}

/// Another root.
pub fn stranger() -> Authority {
    Authority::from_seed([0x5a; 32])
}

/// With this one change it is refused with exactly this error; without it, accepted.
pub fn refused(tees: &[Tee], error: Error, change: fn(&mut Trial)) {
    for tee in tees {
        Trial::good(*tee).verify().expect("without the change");
        let mut trial = Trial::good(*tee);
        change(&mut trial);
        assert_eq!(trial.verify().err(), Some(error), "{tee:?}");
    }
}

/// With this one change it is accepted.
pub fn accepted(tees: &[Tee], change: fn(&mut Trial)) -> Vec<Verification> {
    let verify = |tee: &Tee| {
        let mut trial = Trial::good(*tee);
        change(&mut trial);
        trial.verify().unwrap_or_else(|error| panic!("{tee:?}: {error}"))
    };
    tees.iter().map(verify).collect()
}

/// Negative tests, one per line: `name: Error, tees, change;`. The list of their errors is `COVERED`.
macro_rules! refusals {
    ($($name:ident: $error:ident, $tees:ident, $change:expr;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::trial::refused($crate::trial::$tees, cloister_attestation::Error::$error, $change);
            }
        )*

        /// Tests and the errors that they expect.
        pub const COVERED: &[(&str, cloister_attestation::Error)] =
            &[$((stringify!($name), cloister_attestation::Error::$error)),*];
    };
}
