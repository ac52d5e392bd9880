// SPDX-License-Identifier: GPL-3.0-or-later WITH Classpath-exception-2.0

//! Layer one's runtime as its wasm runs: one state, blocks without a node.
//!
//! For tests, which compare the wasm with the same runtime compiled natively, and for benchmarks, on which weights rest.
//! Under `chain/node` because it executes wasm with the GPL `sc-executor`; nothing but tests may depend on it.

pub mod evidence;

use cloister_chain_primitives::{
    AccountId, H256, Header, Moment, Nonce,
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
};
use cloister_runtime::{RuntimeCall, UncheckedExtrinsic, VERSION, WASM_BINARY};
use codec::{Compact, Decode, DecodeAll, Encode};
use sc_executor::WasmExecutor;
use sc_service::{ChainType, GenericChainSpec};
use sp_consensus_aura::AURA_ENGINE_ID;
use sp_core::{
    Pair,
    traits::{CallContext, CodeExecutor, RuntimeCode, WrappedRuntimeCode},
};
use sp_externalities::Externalities;
use sp_genesis_builder::DEV_RUNTIME_PRESET;
use sp_io::TestExternalities;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
    ApplyExtrinsicResult, BuildStorage, Digest, DigestItem, ExtrinsicInclusionMode, MultiSignature, generic::Era,
    traits::Header as _,
};

/// Hash of block 0, which the runtime learns from block 1.
pub const GENESIS: H256 = H256::repeat_byte(0x47);

/// The wasm and a state, which begins with the `development` preset.
pub struct Wasm {
    executor: WasmExecutor,
    state: TestExternalities,
}

impl Default for Wasm {
    fn default() -> Self {
        let spec = GenericChainSpec::<()>::builder(code(), ())
            .with_name("development")
            .with_id("development")
            .with_chain_type(ChainType::Development)
            .with_genesis_config_preset_name(DEV_RUNTIME_PRESET)
            .build();
        let storage = spec.build_storage().expect("the runtime has this preset");
        Self { executor: WasmExecutor::builder().build(), state: TestExternalities::new(storage) }
    }
}

impl Wasm {
    /// Calls a function of the runtime; what it changes stays.
    pub fn call<T: Decode>(&mut self, function: &str, arguments: impl Encode) -> T {
        self.call_encoded(function, &arguments.encode())
    }

    /// Calls a function with encoded arguments; what it changes is forgotten.
    pub fn dry_run<T: Decode>(&mut self, function: &str, arguments: &[u8]) -> T {
        self.state.ext().storage_start_transaction();
        let answer = self.call_encoded(function, arguments);
        self.state.ext().storage_rollback_transaction().expect("the transaction is open");
        answer
    }

    /// Calls the same function of the runtime that is compiled into this program, on the same state.
    pub fn call_native<T: Decode>(&mut self, function: &str, arguments: impl Encode) -> T {
        let call = || cloister_runtime::apis::api::dispatch(function, &arguments.encode());
        let answer = self.state.execute_with(call).expect("the runtime has the function");
        T::decode_all(&mut &answer[..]).expect("the answer has this type")
    }

    /// Opens block 1 at a time.
    pub fn open_block(&mut self, now: Moment) {
        let slot = now / cloister_runtime::SLOT_DURATION;
        let digest = Digest { logs: vec![DigestItem::PreRuntime(AURA_ENGINE_ID, slot.encode())] };
        let header = Header::new(1, H256::zero(), H256::zero(), GENESIS, digest);
        let _: ExtrinsicInclusionMode = self.call("Core_initialize_block", header);
        // `Timestamp::set`.
        let set = [vec![3, 0], Compact(now).encode()].concat();
        let set = RuntimeCall::decode_all(&mut &set[..]).expect("the runtime has this call");
        self.apply(&UncheckedExtrinsic::new_bare(set).encode()).expect("valid").expect("takes effect");
    }

    /// Adds an extrinsic to the open block.
    pub fn apply(&mut self, extrinsic: &[u8]) -> ApplyExtrinsicResult {
        self.call_encoded("BlockBuilder_apply_extrinsic", extrinsic)
    }

    fn call_encoded<T: Decode>(&mut self, function: &str, arguments: &[u8]) -> T {
        let fetcher = WrappedRuntimeCode(code().into());
        let code = RuntimeCode { code_fetcher: &fetcher, heap_pages: None, hash: vec![0] };
        let context = CallContext::Onchain { import: false };
        let (answer, _) = self.executor.call(&mut self.state.ext(), &code, function, arguments, context);
        T::decode_all(&mut &answer.expect("the runtime does not panic")[..]).expect("the answer has this type")
    }
}

fn code() -> &'static [u8] {
    WASM_BINARY.expect("the runtime was built with its wasm")
}

/// A signed, immortal extrinsic.
pub fn extrinsic(signer: Sr25519Keyring, nonce: Nonce, call: &Call) -> Vec<u8> {
    let version = ChainVersion {
        genesis: GENESIS,
        spec_version: VERSION.spec_version,
        transaction_version: VERSION.transaction_version,
    };
    let mortality = Mortality { era: Era::Immortal, birth_hash: GENESIS };
    let sign = |payload: &[u8]| MultiSignature::from(signer.pair().sign(payload));
    extrinsic::signed(call, &AccountId::from(signer.public()), nonce, mortality, &version, sign)
}
