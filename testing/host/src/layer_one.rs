//! A layer one without a node: it makes a block every so many ticks, finalizes it at once, and believes no extrinsic
//! that its account did not sign.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use cloister_chain_primitives::{
    AccountId, Anchor, Balance, BlockNumber, EnclaveRecord, H256, Header, InboxEntry, Moment, Nonce, Registration,
    Request, ShardBirth, ShardId, calls::Call, config::MeasuredConfig, storage,
};
use cloister_simulation::{
    SHIELDER,
    bridge::{self, Bridge},
    layer_one::{self as execution, Storage},
};
use cloister_synthetic_layer_one::{Chain, Registry, State, Voters};
use cloister_wire::envelope::{self, Context, Purpose};
use codec::{Compact, Decode, Encode};
use sp_core::storage::StateVersion;
use sp_crypto_hashing::blake2_256;
use sp_runtime::{MultiSignature, generic::Era, traits::Verify};
use tokio::sync::watch;

use crate::process;

/// Shared by all hosts that have the same layer one. Its clock, which is theirs, runs many times as fast as time does.
#[derive(Clone)]
pub struct LayerOne {
    /// The enclaves' program, of which it knows the measurement.
    program: PathBuf,
    inner: Arc<Mutex<Inner>>,
    beats: watch::Receiver<Beat>,
}

/// The clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beat {
    pub now: Moment,
}

#[derive(Clone)]
struct Inner {
    chain: Chain,
    voters: Voters,
    /// What enclaves are configured otherwise than usual.
    configure: fn(&mut MeasuredConfig),
    storage: Storage,
    bridge: Bridge,
    registry: Registry,
    states: BTreeMap<H256, Arc<State>>,
    now: Moment,
    ticks: u64,
    pool: Vec<Vec<u8>>,
    registrations: BTreeMap<AccountId, (Registration, Vec<u8>)>,
    anchors: Vec<(ShardId, Anchor)>,
}

impl LayerOne {
    /// A chain at its block 0 whose clock runs.
    pub fn start() -> Self {
        Self::of_program(process::simulated())
    }

    /// The same for enclaves of this program.
    pub fn of_program(program: PathBuf) -> Self {
        Self::with_chain(program, Chain::new(0), |_| ())
    }

    /// One whose enclaves answer no replayable queries.
    pub fn without_unbound_getters() -> Self {
        Self::with_chain(process::simulated(), Chain::new(0), |config| config.unbound_getters_allowed = false)
    }

    /// Another chain with the same specification, authorities and history but for its block 0.
    pub fn start_another() -> Self {
        let mut chain = Chain::new(0);
        chain.headers[0].extrinsics_root = H256::repeat_byte(0xa0);
        Self::with_chain(process::simulated(), chain, |_| ())
    }

    /// What becomes of it from now on, apart from this one.
    pub fn fork(&self) -> Self {
        let inner = self.lock().clone();
        Self::run(self.program.clone(), inner)
    }

    fn with_chain(program: PathBuf, chain: Chain, configure: fn(&mut MeasuredConfig)) -> Self {
        let voters = Voters::new(0, 1..=4);
        let mut storage = BTreeMap::new();
        storage.insert(storage::enclave_bridge_version(), storage::ENCLAVE_BRIDGE_VERSION.encode());
        storage.insert(storage::teerex_version(), storage::TEEREX_VERSION.encode());
        storage.insert(storage::sidechain_version(), storage::SIDECHAIN_VERSION.encode());
        let mut config = chain.config(&voters);
        configure(&mut config);
        let registry = Registry::new(config.simulated_measurement(&process::hash(&program)));
        let inner = Inner {
            chain,
            voters,
            configure,
            storage,
            bridge: Bridge::default(),
            registry,
            states: BTreeMap::new(),
            now: START,
            ticks: 0,
            pool: Vec::new(),
            registrations: BTreeMap::new(),
            anchors: Vec::new(),
        };
        Self::run(program, inner)
    }

    fn run(program: PathBuf, inner: Inner) -> Self {
        let (beat, beats) = watch::channel(Beat { now: inner.now });
        let inner = Arc::new(Mutex::new(inner));
        tokio::spawn(run(Arc::downgrade(&inner), beat));
        Self { program, inner, beats }
    }

    pub(crate) fn beats(&self) -> watch::Receiver<Beat> {
        self.beats.clone()
    }

    /// What enclaves that follow this chain measure.
    pub fn config(&self) -> MeasuredConfig {
        let inner = self.lock();
        let mut config = inner.chain.config(&inner.voters);
        (inner.configure)(&mut config);
        config
    }

    /// The enclaves' program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What its enclaves measure themselves to.
    pub fn measurement(&self) -> [u8; 32] {
        self.config().simulated_measurement(&process::hash(&self.program))
    }

    pub fn genesis(&self) -> H256 {
        self.lock().chain.header(0).hash()
    }

    /// Its time, which all honest hosts' clocks show.
    pub fn now(&self) -> Moment {
        self.lock().now
    }

    /// Height of its newest block.
    pub fn height(&self) -> BlockNumber {
        self.lock().height()
    }

    /// Waits until it has made so many blocks more.
    pub async fn passes(&self, blocks: BlockNumber) {
        let (until, mut beats) = (self.height() + blocks, self.beats());
        while self.height() < until {
            beats.changed().await.expect("its clock runs as long as anybody has it");
        }
    }

    /// Headers and the justification of the last.
    pub fn finality(&self, first: BlockNumber, last: BlockNumber) -> (Vec<Header>, Vec<u8>) {
        let inner = self.lock();
        let justification = inner.voters.justify(inner.chain.header(last)).encode();
        (inner.chain.range(first, last), justification)
    }

    /// A proof of `keys` at a block whose state is known.
    pub fn prove(&self, at: &H256, keys: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let state = self.lock().states.get(at)?.clone();
        Some(state.prove(keys))
    }

    /// A proof of `keys` in a state that never was.
    pub fn forge(&self, keys: &[Vec<u8>], change: impl FnOnce(&mut Storage)) -> Vec<Vec<u8>> {
        let mut storage = self.lock().storage.clone();
        change(&mut storage);
        State::new(storage, StateVersion::V1).prove(keys)
    }

    /// Its node takes an extrinsic, for the next block.
    pub fn submit(&self, extrinsic: Vec<u8>) {
        self.lock().pool.push(extrinsic);
    }

    /// Its node takes a registration, for the first block in which it can land.
    pub fn register(&self, registration: Registration, extrinsic: Vec<u8>) {
        let mut inner = self.lock();
        if let Some((account, ..)) = inner.signed(&extrinsic) {
            inner.registrations.insert(account, (registration, extrinsic));
        }
    }

    /// A user shields `amount` for `beneficiary` into the shard that was born so.
    pub fn shield(&self, birth: &ShardBirth, beneficiary: &AccountId, amount: Balance) {
        let mut inner = self.lock();
        let genesis = inner.chain.header(0).hash();
        let (shard, keys) = (birth.shard_id(&genesis), &birth.shielding_keys);
        let context = Context { genesis, shard, purpose: Purpose::Beneficiary };
        let sealed = envelope::seal(&context, keys.epoch, &keys.hpke, &beneficiary.encode()).unwrap();
        let Inner { bridge, storage, .. } = &mut *inner;
        bridge.shielded(storage, &shard, amount);
        let entry = InboxEntry::Shield { encrypted_beneficiary: sealed.try_into().unwrap(), amount, sender: SHIELDER };
        inner.append(&shard, entry);
    }

    /// A user sends a call through the inbox.
    pub fn invoke(&self, shard: ShardId, cyphertext: Vec<u8>) {
        let entry = InboxEntry::Invoke(Request { shard, cyphertext: cyphertext.try_into().unwrap() });
        self.lock().append(&shard, entry);
    }

    /// What it records of an enclave.
    pub fn record(&self, account: &AccountId) -> Option<EnclaveRecord> {
        Registry::record(&self.lock().storage, account)
    }

    /// All that it has anchored of a shard, in order.
    pub fn anchors(&self, shard: &ShardId) -> Vec<Anchor> {
        let inner = self.lock();
        inner.anchors.iter().filter(|(of, _)| of == shard).map(|(_, anchor)| *anchor).collect()
    }

    /// Whatever root could do.
    pub fn change(&self, change: impl FnOnce(&mut Storage)) {
        change(&mut self.lock().storage);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that failed while it held this says so itself.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn height(&self) -> BlockNumber {
        self.chain.headers.len() as u32 - 1
    }

    fn append(&mut self, shard: &ShardId, entry: InboxEntry) {
        let key = storage::inbox_length(shard);
        let length = self.storage.get(&key).map_or(0, |length| u64::decode(&mut &length[..]).unwrap());
        self.storage.insert(storage::inbox_entry(shard, length), entry.encode());
        self.storage.insert(key, (length + 1).encode());
    }

    /// Account, nonce and call of an extrinsic, if its account signed it for this chain and for the next block.
    fn signed(&self, extrinsic: &[u8]) -> Option<(AccountId, Nonce, Vec<u8>)> {
        let input = &mut &extrinsic[..];
        let Compact(length) = Compact::<u32>::decode(input).ok()?;
        if length as usize != input.len() || <(u8, u8)>::decode(input).ok()? != (0x84, 0) {
            return None;
        }
        let account = AccountId::decode(input).ok()?;
        let signature = MultiSignature::decode(input).ok()?;
        let signed = *input;
        let (era, Compact(nonce), Compact(_), metadata_hash) =
            <(Era, Compact<Nonce>, Compact<u128>, u8)>::decode(input).ok()?;
        let (call, extensions) = (*input, &signed[..signed.len() - input.len()]);
        let genesis = self.chain.header(0).hash();
        let birth = match era {
            Era::Immortal => genesis,
            // Extrinsics are checked on top of the newest block.
            Era::Mortal(..) => self.chain.header(era.birth(self.height().into()) as u32).hash(),
        };
        let implied = (SPEC_VERSION, TRANSACTION_VERSION, genesis, birth, None::<H256>).encode();
        let payload = [call, extensions, &implied].concat();
        let payload = if payload.len() > 256 { blake2_256(&payload).to_vec() } else { payload };
        let valid = metadata_hash == 0 && signature.verify(payload.as_slice(), &account);
        valid.then(|| (account, nonce, call.to_vec()))
    }

    fn build(&mut self) {
        for (account, (registration, extrinsic)) in std::mem::take(&mut self.registrations) {
            if self.try_register(&account, &registration, &extrinsic) == Some(false) {
                self.registrations.insert(account, (registration, extrinsic));
            }
        }
        for extrinsic in std::mem::take(&mut self.pool) {
            let Some((account, nonce, call)) = self.signed(&extrinsic) else { continue };
            if nonce != execution::next_nonce(&self.storage, &account) {
                continue;
            }
            execution::use_nonce(&mut self.storage, &account);
            let at = self.chain.headers.len() as u32;
            let genesis = self.chain.header(0).hash();
            let (storage, bridge) = (&mut self.storage, &mut self.bridge);
            execution::LayerOne { storage, bridge, genesis, at }.dispatch(&account, &call);
            for called in execution::called(&call) {
                if let execution::Called::Anchor { shard, .. } = called {
                    let anchored = bridge::anchored(&self.storage, &shard).map(|anchored| (shard, anchored.anchor));
                    self.anchors.extend(anchored.filter(|anchored| !self.anchors.contains(anchored)));
                }
            }
        }
        self.storage.insert(storage::timestamp(), self.now.encode());
        let state = Arc::new(State::new(self.storage.clone(), StateVersion::V1));
        let number = self.chain.push(|header| header.state_root = state.root());
        self.states.insert(self.chain.header(number).hash(), state);
    }

    /// `Some(false)` if it may land later.
    fn try_register(&mut self, account: &AccountId, registration: &Registration, extrinsic: &[u8]) -> Option<bool> {
        let (signer, nonce, call) = self.signed(extrinsic)?;
        if signer != *account || call != Call::register_enclave(registration).encode() {
            return None;
        }
        let next = execution::next_nonce(&self.storage, account);
        if nonce < next {
            return None;
        }
        let due = nonce == next && self.registry.register(&mut self.storage, account, registration, self.now).is_ok();
        if due {
            execution::use_nonce(&mut self.storage, account);
        }
        Some(due)
    }
}

/// Makes time pass until nobody has the layer one any more.
async fn run(inner: Weak<Mutex<Inner>>, beats: watch::Sender<Beat>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let Ok(mut inner) = inner.lock() else { return };
        inner.now += TICK_MS;
        inner.ticks += 1;
        if inner.ticks.is_multiple_of(TICKS_PER_BLOCK) {
            inner.build();
        }
        beats.send_replace(Beat { now: inner.now });
    }
}

pub(crate) const SPEC_VERSION: u32 = 1;
pub(crate) const TRANSACTION_VERSION: u32 = 1;
/// Time at block 0, Unix milliseconds.
const START: Moment = 1_700_000_000_000;
/// How long a slot takes here, and how long everybody believes that it took.
const TICK: Duration = Duration::from_millis(10);
const TICK_MS: Moment = 300;
const TICKS_PER_BLOCK: u64 = 4;
