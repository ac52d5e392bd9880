//! A shard without enclave: blocks of calls, one after another.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use cloister_chain_primitives::{AccountId, Balance, H256, Nonce, ShardId, ShardMode, UNIT};
use cloister_state::{CommitmentKey, ShardState, StateDiff};
use cloister_stf::{
    BlockContext, BlockExecution, CallOutcome, Finished, Inputs, InvokeOutcome, Payments, Program, Refused, Rules,
    ShieldOutcome, VerifiedCall, books, free_balance, genesis_storage, nonce, outbox, total_issuance, verify,
};
use cloister_wire::{SignatureScope, TrustedCall, TrustedCallSigned, TrustedOperation};
use codec::{Decode, Encode};
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
    pub mode: ShardMode,
    pub inputs: Inputs,
}

pub type AccountInfo = frame_system::AccountInfo<u32, pallet_balances::AccountData<Balance>>;
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Shard {
    pub fn new() -> Self {
        Self::with_entries(Vec::new())
    }

    /// Entries beside those of the genesis.
    pub fn with_entries(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let state = ShardState::genesis(genesis_storage().unwrap().into_iter().chain(entries), &key());
        Self { state, blocks: 0, inbox: 0, program: &Payments, mode: ShardMode::Open, inputs: Inputs::none() }
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
            mode: self.mode,
        }
    }

    /// Makes one block and applies it.
    pub fn block<R>(&mut self, make: impl FnOnce(&mut BlockExecution<'_>) -> R) -> (R, Finished) {
        let (result, finished) = self.try_block(make);
        self.state.apply(&finished.diff);
        self.blocks += 1;
        assert_eq!(books(&self.state), finished.books);
        (result, finished)
    }

    /// Makes one block that is never applied.
    pub fn try_block<R>(&self, make: impl FnOnce(&mut BlockExecution<'_>) -> R) -> (R, Finished) {
        let mut block = BlockExecution::begin(&self.state, self.context(), self.inputs.clone(), self.program).unwrap();
        let result = make(&mut block);
        let opened = block.opened().to_vec();
        let finished = block.finish().unwrap();
        assert_eq!(opened, finished.opened);
        (result, finished)
    }

    /// Makes a block of one direct call and applies it.
    pub fn call(&mut self, call: &VerifiedCall) -> Result<CallOutcome, Refused> {
        self.block(|block| block.call(call)).0
    }

    /// Makes a block of one call through the inbox and applies it.
    pub fn invoke(&mut self, call: &VerifiedCall) -> InvokeOutcome {
        let number = self.inbox;
        self.inbox += 1;
        self.block(|block| block.invoke(number, Some(call))).0.unwrap()
    }

    /// A direct call with the sender's next nonce.
    pub fn sign_next(&self, who: Sr25519Keyring, call: TrustedCall) -> VerifiedCall {
        verified_by(&Rules::default(), sign(who, nonce(&self.state, &who.to_account_id()), call)).unwrap()
    }

    pub fn free(&self, who: Sr25519Keyring) -> Balance {
        free_balance(&self.state, &who.to_account_id())
    }

    pub fn account(&self, account: &AccountId) -> Option<AccountInfo> {
        self.state.get(&account_key(account)).map(|mut value| AccountInfo::decode(&mut value).unwrap())
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
        let accounts = self.state.iter().filter(|(key, _)| key.starts_with(&prefix));
        accounts.fold((0, 0), |(count, sum), (_, value)| {
            let info = AccountInfo::decode(&mut &value[..]).unwrap();
            (count + 1, sum + info.data.free + info.data.reserved)
        })
    }

    /// What a block of nothing changes.
    pub fn calm(&self) -> Changes {
        changes(&self.try_block(|_| ()).1.diff)
    }

    /// What a block changes in which a call takes its nonce and pays this fee, and does nothing else.
    pub fn nonce_and_fee(&self, call: &VerifiedCall, fee: Balance) -> Changes {
        let sender = call.sender();
        let mut expected = self.calm();
        expected.insert(nonce_key(sender), Some((call.nonce() + 1).encode()));
        if fee > 0 {
            let mut account = self.account(sender).unwrap();
            account.data.free -= fee;
            expected.insert(account_key(sender), Some(account.encode()));
            expected.insert(issuance_key(), Some((total_issuance(&self.state) - fee).encode()));
            let mut books = books(&self.state);
            books.fees += fee;
            expected.insert(books_key(), Some(books.encode()));
        }
        expected
    }

    pub fn assert_sound(&self) {
        let (accounts, sum) = self.money();
        let books = books(&self.state);
        assert_eq!(sum, total_issuance(&self.state));
        assert_eq!(Some(sum), books.issuance());
        assert_eq!(accounts, cloister_stf::account_count(&self.state));
        let outbox = outbox(&self.state);
        assert!(outbox.is_sorted_by(|earlier, later| earlier.number < later.number));
        assert_eq!(Some(outbox.iter().map(|entry| entry.amount).sum()), books.open());
        assert_eq!(outbox.first().map_or(books.outbox_next, |entry| entry.number), books.outbox_closed);
        assert_eq!(self.state.commitment(), ShardState::genesis(self.entries(), &key()).commitment());
    }
}

pub fn changes(diff: &StateDiff) -> Changes {
    diff.changes().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect()
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

pub fn unshield(from: Sr25519Keyring, to: &AccountId, amount: Balance) -> TrustedCall {
    TrustedCall::BalanceUnshield(from.to_account_id(), to.clone(), amount, SCOPE.shard)
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

pub fn issuance_key() -> Vec<u8> {
    storage_prefix(b"Balances", b"TotalIssuance").to_vec()
}

pub fn books_key() -> Vec<u8> {
    storage_prefix(b"Ledger", b"Books").to_vec()
}

fn map_key(pallet: &str, item: &str, account: &AccountId) -> Vec<u8> {
    let prefix = storage_prefix(pallet.as_bytes(), item.as_bytes());
    [prefix.as_slice(), &Blake2_128Concat::hash(account.as_ref())].concat()
}
