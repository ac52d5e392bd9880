// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Evidence for tests and benchmarks: recorded on genuine hardware (`attestation/tests/vectors`), and synthetic.

use cloister_attestation::{
    Collateral, Evidence,
    bundle::{Assembler, parse_json},
};
use cloister_chain_primitives::{AccountId, H256, Registration, registry::report_data};
use cloister_synthetic_evidence::{Authority, Scenario};

use crate::GENESIS;

/// Evidence with its collateral.
pub struct Recorded {
    /// Raw.
    pub evidence: Evidence,
    /// Raw.
    pub collateral: Collateral,
}

/// Unix milliseconds of 2025-07-01, inside the validity of `sgx_v3` and `tdx_v4` and of what is synthetic.
pub const JULY_2025: u64 = 1_751_328_000_000;

/// Unix milliseconds of 2022-12-21, for which the verdict of `sgx_v3_integritee` is stated.
pub const INTEGRITEE: u64 = 1_671_606_747_000;

/// SGX version 3.
pub fn sgx_v3() -> Recorded {
    let quote = include_bytes!("../../../../attestation/tests/vectors/sgx-v3/quote.bin").to_vec();
    let collateral = parse_json(include_str!("../../../../attestation/tests/vectors/sgx-v3/collateral.json"));
    Recorded { evidence: Evidence::Dcap(quote), collateral: collateral.expect("a bundle") }
}

/// TDX version 4.
pub fn tdx_v4() -> Recorded {
    let quote = include_bytes!("../../../../attestation/tests/vectors/tdx-v4/quote.bin").to_vec();
    let collateral = parse_json(include_str!("../../../../attestation/tests/vectors/tdx-v4/collateral.json"));
    Recorded { evidence: Evidence::Dcap(quote), collateral: collateral.expect("a bundle") }
}

/// SGX version 3, a debug enclave without revocation lists.
pub fn sgx_v3_integritee() -> Recorded {
    let quote = include_bytes!("../../../../attestation/tests/vectors/sgx-v3-integritee/quote.bin").to_vec();
    let files: [&[u8]; 3] = [
        include_bytes!("../../../../attestation/tests/vectors/sgx-v3-integritee/tcb_info.json"),
        include_bytes!("../../../../attestation/tests/vectors/sgx-v3-integritee/qe_identity.json"),
        include_bytes!("../../../../attestation/tests/vectors/sgx-v3-integritee/tcb_info_issuer_chain.pem"),
    ];
    let mut assembler = Assembler::default();
    files.iter().for_each(|file| assembler.add(file).expect("one of the vendor's files"));
    Recorded {
        evidence: Evidence::Dcap(quote),
        collateral: assembler.finish(None).expect("complete but for the lists"),
    }
}

/// A platform under the development root.
pub fn simulated() -> Scenario {
    Scenario::sgx(&Authority::development())
}

/// A registration of an account on that platform that names block 0.
pub fn registration(account: &AccountId) -> Registration {
    let (incarnation_key, tls_key_hash) = ([1; 32], [2; 32]);
    let block_hash: H256 = GENESIS;
    let stated = report_data(&GENESIS, account, &incarnation_key, &tls_key_hash, &block_hash);
    let evidence = Evidence::Dcap(simulated().with_report_data(&stated).quote());
    Registration { evidence, incarnation_key, tls_key_hash, block_number: 0, url: None }
}
