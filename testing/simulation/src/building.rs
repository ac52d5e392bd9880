//! What the layer one of a [`World`] takes, and the blocks that it makes.

use std::sync::Arc;

use cloister_chain_primitives::{
    AccountId, Balance, BlockNumber, EnclaveRecord, InboxEntry, Request, ShardEntry, Verdict, storage,
};
use cloister_synthetic_layer_one::Registry;
use cloister_wire::envelope::Purpose;
use codec::Encode;

use crate::{
    SHIELDER, UNIT, World, bridge,
    layer_one::{Effect, LayerOne},
    state,
};

impl World {
    /// Layer one takes what the enclave submitted, as far as it is valid.
    pub fn include(&mut self) {
        for extrinsic in std::mem::take(&mut self.submitted) {
            let effects = self.layer_one().execute(&extrinsic);
            self.effects.extend(effects.into_iter().flatten());
        }
    }

    /// Layer one takes a call of a stranger; what came of it.
    pub fn include_of(&mut self, sender: &AccountId, call: &impl Encode) -> Vec<Effect> {
        self.layer_one().dispatch(sender, &call.encode())
    }

    /// The block in the making.
    pub fn layer_one(&mut self) -> LayerOne<'_> {
        let (genesis, at) = (self.genesis(), self.next_block());
        LayerOne { storage: &mut self.storage, bridge: &mut self.bridge, genesis, at }
    }

    /// Height of the block in the making.
    pub fn next_block(&self) -> BlockNumber {
        self.chain.headers.len() as u32
    }

    /// What layer one says of an entry of the outbox.
    pub fn settled(&self, number: u64) -> Option<Verdict> {
        bridge::decoded(&self.storage, &storage::settled(&self.shard(), number))
    }

    /// Root turns maintenance on or off at once.
    pub fn maintain(&mut self, on: bool) {
        let (shard, at) = (self.shard(), self.next_block());
        bridge::maintain(&mut self.storage, &shard, at, on, 0);
    }

    /// Root retires the shard, and the blocks until it opens go by.
    pub fn retire(&mut self) {
        let (shard, at) = (self.shard(), self.next_block());
        bridge::retire(&mut self.storage, &shard, at);
        for _ in 0..self.engine.birth().upgrade_delay {
            self.build_unread();
        }
    }

    /// Layer one takes the newest registration that the enclave wants.
    pub fn register(&mut self) {
        let (account, registration) = (self.account(), self.registrations.last().unwrap().clone());
        self.registry.register(&mut self.storage, &account, &registration, self.now).unwrap();
        self.land();
    }

    /// What layer one will record of the enclave from the next block on.
    pub fn record(&self) -> Option<EnclaveRecord> {
        Registry::record(&self.storage, &self.account())
    }

    pub fn change_record(&mut self, change: impl FnOnce(&mut EnclaveRecord)) {
        let mut record = self.record().unwrap();
        change(&mut record);
        self.storage.insert(storage::enclave(&self.account()), record.encode());
    }

    /// Layer one bears the enclave's shard.
    pub fn bear(&mut self) {
        let entry = ShardEntry::born(self.engine.birth().clone(), 1);
        self.storage.insert(storage::shard(&self.shard()), entry.encode());
        self.land();
    }

    /// The oldest extrinsic of the enclave's account that had not landed does.
    pub fn land(&mut self) {
        self.landed += 1;
        let info = storage::AccountInfo { nonce: self.landed, free: UNIT, ..Default::default() };
        self.storage.insert(storage::account(&self.account()), info.encode());
    }

    pub fn append(&mut self, entry: InboxEntry) {
        let shard = self.shard();
        if let InboxEntry::Shield { amount, .. } = &entry {
            self.bridge.shielded(&mut self.storage, &shard, *amount);
        }
        let length: u64 = bridge::decoded(&self.storage, &storage::inbox_length(&shard)).unwrap_or(0);
        self.storage.insert(storage::inbox_entry(&shard, length), entry.encode());
        self.storage.insert(storage::inbox_length(&shard), (length + 1).encode());
    }

    pub fn shield(&mut self, beneficiary: &AccountId, amount: Balance) {
        let sealed = self.seal(Purpose::Beneficiary, &beneficiary.encode());
        self.append_shield(sealed, amount);
    }

    pub fn append_shield(&mut self, encrypted_beneficiary: Vec<u8>, amount: Balance) {
        let encrypted_beneficiary = encrypted_beneficiary.try_into().unwrap();
        self.append(InboxEntry::Shield { encrypted_beneficiary, amount, sender: SHIELDER });
    }

    pub fn invoke(&mut self, cyphertext: Vec<u8>) {
        self.append(self.request(cyphertext));
    }

    /// The entry of the inbox with this request.
    pub fn request(&self, cyphertext: Vec<u8>) -> InboxEntry {
        InboxEntry::Invoke(Request { shard: self.shard(), cyphertext: cyphertext.try_into().unwrap() })
    }

    /// Layer one makes a block of the current storage; nothing is told to the enclave.
    pub fn build(&mut self) -> u32 {
        self.now += 1_000;
        self.storage.insert(storage::timestamp(), self.now.encode());
        let state = Arc::new(state(&self.storage));
        let number = self.chain.push(|header| header.state_root = state.root());
        self.states.insert(self.chain.header(number).hash(), state);
        number
    }

    /// Layer one makes a block about whose state nobody will ask.
    pub fn build_unread(&mut self) -> u32 {
        self.now += 1_000;
        self.chain.push(|_| ())
    }
}
