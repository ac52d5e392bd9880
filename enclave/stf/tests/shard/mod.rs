//! A shard without enclave: blocks of calls, one after another.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use cloister_chain_primitives::{AccountId, Balance, H256, Nonce, ShardId, UNIT};
use cloister_state::{CommitmentKey, ShardState, StateDiff};
use cloister_stf::{
    BlockContext, BlockExecution, Payments, Program, Refused, Rules, ShieldOutcome, VerifiedCall, genesis_storage,
    verify,
};
use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation};
use codec::Decode;
use frame_support::{Blake2_128Concat, StorageHasher, storage::storage_prefix};
use sp_keyring::Sr25519Keyring;

pub const SCOPE: SignatureScope = SignatureScope { mrenclave: [7; 32], shard: ShardId(H256::repeat_byte(8)) };

pub fn key() -> CommitmentKey {
    CommitmentKey::from_bytes([9; 32])
}

pub struct Shard {
    pub state: ShardState,
    pub blocks: u64,
    pub inbox: u64,
    pub program: &'static dyn Program,
}

impl Shard {
    pub fn new() -> Self {
        Self::with_entries(Vec::new())
    }

    /// Entries beside those of the genesis.
    pub fn with_entries(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let state = ShardState::genesis(genesis_storage().unwrap().into_iter().chain(entries), &key());
        Self { state, blocks: 0, inbox: 0, program: &Payments }
    }

    /// Alice has 1 000 UNIT.
    pub fn with_alice() -> Self {
        let mut shard = Self::new();
        shard.shield(Sr25519Keyring::Alice, 1_000 * UNIT);
        shard
    }

    pub fn context(&self) -> BlockContext {
        let number = self.blocks + 1;
        BlockContext {
            number,
            timestamp: number * 300,
            layer_one_number: number as u32,
            layer_one_head: H256::from_low_u64_be(number),
        }
    }

    /// Makes one block and applies it.
    pub fn block<R>(&mut self, make: impl FnOnce(&mut BlockExecution<'_>) -> R) -> (R, StateDiff) {
        let (result, diff) = self.try_block(make);
        self.state.apply(&diff);
        self.blocks += 1;
        (result, diff)
    }

    /// Makes one block that is never applied.
    pub fn try_block<R>(&self, make: impl FnOnce(&mut BlockExecution<'_>) -> R) -> (R, StateDiff) {
        let mut block = BlockExecution::begin(&self.state, self.context(), self.program).unwrap();
        let result = make(&mut block);
        (result, block.finish().unwrap())
    }

    pub fn shield(&mut self, who: Sr25519Keyring, amount: Balance) {
        let number = self.inbox;
        let account = who.to_account_id();
        let outcome = self.block(|block| block.shield(number, Some(account.clone()), amount, &account)).0;
        assert_eq!(outcome, Ok(ShieldOutcome::Credited));
        self.inbox += 1;
    }

    pub fn entries(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.state.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// Free and reserved balances of all accounts.
    pub fn money(&self) -> (u64, Balance) {
        let prefix = storage_prefix(b"System", b"Account");
        type Info = frame_system::AccountInfo<u32, pallet_balances::AccountData<Balance>>;
        let accounts = self.state.iter().filter(|(key, _)| key.starts_with(&prefix));
        accounts.fold((0, 0), |(count, sum), (_, value)| {
            let info = Info::decode(&mut &value[..]).unwrap();
            (count + 1, sum + info.data.free + info.data.reserved)
        })
    }

    /// Dust that waits for the fee account.
    pub fn waiting_dust(&self) -> Balance {
        let value = self.state.get(&storage_prefix(b"Ledger", b"Dust"));
        value.map_or(0, |mut value| Balance::decode(&mut value).unwrap())
    }

    pub fn assert_sound(&self) {
        let (accounts, sum) = self.money();
        assert_eq!(sum + self.waiting_dust(), cloister_stf::total_issuance(&self.state));
        assert_eq!(accounts, cloister_stf::account_count(&self.state));
        assert_eq!(self.state.commitment(), ShardState::genesis(self.entries(), &key()).commitment());
    }
}

pub fn sign(who: Sr25519Keyring, nonce: Nonce, call: TrustedCall) -> TrustedCallSigned {
    let signature = who.sign(&SCOPE.call_bytes(&call, nonce)).into();
    TrustedCallSigned { call, nonce, signature }
}

pub fn verified_by(rules: &Rules, signed: TrustedCallSigned) -> Result<VerifiedCall, Refused> {
    let hash = TrustedOperation::DirectCall(signed.clone()).hash();
    verify(hash, signed, &SCOPE, rules)
}

pub fn transfer(from: Sr25519Keyring, nonce: Nonce, to: &AccountId, amount: Balance) -> VerifiedCall {
    let call = TrustedCall::BalanceTransfer(from.to_account_id(), to.clone(), amount);
    verified_by(&Rules::default(), sign(from, nonce, call)).unwrap()
}

/// The same call as it comes through layer one's inbox.
pub fn indirect(rules: &Rules, signed: TrustedCallSigned) -> Result<VerifiedCall, Refused> {
    let hash = TrustedOperation::IndirectCall(signed.clone()).hash();
    verify(hash, signed, &SCOPE, rules)
}

pub fn account_key(account: &AccountId) -> Vec<u8> {
    map_key("System", "Account", account)
}

pub fn nonce_key(account: &AccountId) -> Vec<u8> {
    map_key("Ledger", "Nonces", account)
}

fn map_key(pallet: &str, item: &str, account: &AccountId) -> Vec<u8> {
    let prefix = storage_prefix(pallet.as_bytes(), item.as_bytes());
    [prefix.as_slice(), &Blake2_128Concat::hash(account.as_ref())].concat()
}
