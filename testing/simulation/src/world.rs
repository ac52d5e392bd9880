//! A layer one with one shard's inbox, a host that can lie, and clients.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
};

use cloister_chain_primitives::{
    AccountId, Balance, H256, InboxEntry, Registration, ShardId,
    extrinsic::ChainVersion,
    registry::{WorkerUrl, report_data},
    storage,
};
use cloister_claims::{Evidence, TeeKind};
use cloister_keys::{AccountKey, IncarnationKey, ShieldingKeyPair};
use cloister_sidechain::{Action, Engine, Identity, Keep, Setup, SnapshotRules, Stop};
use cloister_state::StateSecret;
use cloister_stf::{Payments, Program};
use cloister_synthetic_layer_one::{Chain, Registry, State, Voters};
use cloister_wire::{
    TrustedOperationStatus,
    envelope::{self, Context, Purpose},
    sidechain::SignedBlock,
};
use codec::{Decode, Encode};
use sp_core::{Pair, sr25519, storage::StateVersion};

use crate::{
    Disk,
    bridge::Bridge,
    layer_one::{self, Effect, Storage},
};

/// Who shields on layer one.
pub const SHIELDER: AccountId = AccountId::new([0x5e; 32]);
pub const UNIT: Balance = cloister_chain_primitives::UNIT;
/// Layer one's time at block 0, Unix milliseconds.
const START: u64 = 1_700_000_000_000;

pub struct World {
    pub chain: Chain,
    pub voters: Voters,
    pub storage: Storage,
    /// The money on layer one.
    pub bridge: Bridge,
    pub engine: Engine,
    pub now: u64,
    /// Questions that the host has not answered yet.
    pub questions: Vec<(u64, H256, Vec<Vec<u8>>)>,
    /// Blocks of this start that the host was asked to keep.
    pub blocks: Vec<SignedBlock>,
    /// What the host keeps.
    pub disk: Disk,
    /// Whether the host keeps at once what it is asked to.
    pub keeps: bool,
    /// What it has not kept yet.
    pub unkept: VecDeque<(u64, Keep)>,
    /// Height of the block up to which it recovered.
    pub recovered: Option<u64>,
    /// Whether entries of the inbox are opened at once.
    pub opens: bool,
    /// Entries that are not opened yet.
    pub unopened: Vec<(u64, InboxEntry)>,
    pub statuses: Vec<(H256, TrustedOperationStatus, Option<String>)>,
    pub submitted: Vec<Vec<u8>>,
    pub registry: Registry,
    /// What the enclave wants to register.
    pub registrations: Vec<Registration>,
    /// The extrinsics that do.
    pub registering: Vec<Vec<u8>>,
    /// When its registration expires, as it said last.
    pub registered: Option<u64>,
    /// Whether the attester works.
    pub attests: bool,
    pub refused: Vec<cloister_light_client::Error>,
    /// Why what the program does at the beginning of a block failed.
    pub begin_block_failures: Vec<String>,
    pub stopped: Option<Stop>,
    pub serving: bool,
    /// What it said of layer one's time and the host's clock, while one was too far behind the other.
    pub behind: Vec<(u64, u64)>,
    /// Extrinsics of the enclave's account that landed.
    pub landed: u32,
    /// What extrinsics of enclaves did on layer one, by [`Self::include`].
    pub effects: Vec<Effect>,
    enclave: Enclave,
    pub(crate) states: BTreeMap<H256, Arc<State>>,
}

/// What all starts of an enclave have in common.
#[derive(Clone)]
pub struct Enclave {
    pub program: &'static dyn Program,
    pub snapshots: SnapshotRules,
    /// From which account, state secret and so shard follow.
    pub identity: [u8; 32],
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An enclave that has just started and is neither registered nor has a shard.
    pub fn new() -> Self {
        Self::wanting(None)
    }

    /// An enclave whose operator wants a certain shard.
    pub fn wanting(requested_shard: Option<ShardId>) -> Self {
        Self::running(&Payments, requested_shard)
    }

    /// An enclave whose calls do what `program` says.
    pub fn running(program: &'static dyn Program, requested_shard: Option<ShardId>) -> Self {
        let mut identity = [0; 32];
        identity[..16].copy_from_slice(&H256::random().0[..16]);
        let enclave = Enclave { program, snapshots: SnapshotRules::default(), identity };
        let mut world = Self::of(enclave, Voters::new(0, 1..=4), requested_shard);
        world.recover();
        world
    }

    /// A certain enclave before its host gives anything back.
    pub fn of(enclave: Enclave, voters: Voters, requested_shard: Option<ShardId>) -> Self {
        let chain = Chain::new(0);
        let mut storage = BTreeMap::new();
        storage.insert(storage::enclave_bridge_version(), storage::ENCLAVE_BRIDGE_VERSION.encode());
        storage.insert(storage::teerex_version(), storage::TEEREX_VERSION.encode());
        storage.insert(storage::sidechain_version(), storage::SIDECHAIN_VERSION.encode());
        Self {
            engine: start(&chain, &voters, &enclave, requested_shard),
            chain,
            voters,
            storage,
            bridge: Bridge::default(),
            now: START,
            questions: vec![],
            blocks: vec![],
            disk: Disk::default(),
            keeps: true,
            unkept: VecDeque::new(),
            recovered: None,
            opens: true,
            unopened: vec![],
            statuses: vec![],
            submitted: vec![],
            registry: Registry::new(FINGERPRINT),
            registrations: vec![],
            registering: vec![],
            registered: None,
            attests: true,
            refused: vec![],
            begin_block_failures: vec![],
            stopped: None,
            serving: false,
            behind: vec![],
            landed: 0,
            effects: vec![],
            enclave,
            states: BTreeMap::new(),
        }
    }

    /// Another start of the same sealed identity, beside this one or after it, on the same layer one, with a copy of what
    /// its host keeps now.
    pub fn another_start(&self) -> Self {
        self.start_with(self.disk.clone())
    }

    /// The same with what the host pretends to have kept.
    pub fn start_with(&self, disk: Disk) -> Self {
        let mut world = self.start_without_disk();
        world.disk = disk;
        world.recover();
        world
    }

    /// The same before the host gives anything back.
    pub fn start_without_disk(&self) -> Self {
        Self {
            engine: start(&self.chain, &self.voters, &self.enclave, None),
            chain: self.chain.clone(),
            voters: self.voters.clone(),
            storage: self.storage.clone(),
            bridge: self.bridge.clone(),
            registry: self.registry.clone(),
            now: self.now,
            disk: Disk::default(),
            enclave: self.enclave.clone(),
            landed: self.landed,
            states: self.states.clone(),
            effects: self.effects.clone(),
            keeps: true,
            unkept: VecDeque::new(),
            recovered: None,
            opens: true,
            unopened: vec![],
            questions: vec![],
            blocks: vec![],
            statuses: vec![],
            submitted: vec![],
            registrations: vec![],
            registering: vec![],
            registered: None,
            attests: true,
            refused: vec![],
            begin_block_failures: vec![],
            stopped: None,
            serving: false,
            behind: vec![],
        }
    }

    /// The same, while this enclave is gone and the rest of the world goes on.
    pub fn replace_engine(&mut self) {
        self.engine = start(&self.chain, &self.voters, &self.enclave, None);
        (self.recovered, self.registered, self.stopped, self.serving) = (None, None, None, false);
        self.unkept.clear();
        self.unopened.clear();
        self.questions.clear();
        self.blocks.clear();
        self.statuses.clear();
        self.submitted.clear();
        self.registrations.clear();
        self.registering.clear();
        self.refused.clear();
        self.begin_block_failures.clear();
        self.behind.clear();
    }

    /// The enclave gets back all that its host keeps.
    pub fn recover(&mut self) {
        for kept in self.disk.kept() {
            self.engine.kept(kept);
        }
        self.engine.kept_all();
        self.take_actions();
    }

    /// A restart after this enclave ended, until it serves again.
    pub fn restart(&self) -> Self {
        let mut world = self.another_start();
        world.come_up();
        assert!(world.serving, "{:?}", world.stopped);
        world
    }

    /// Layer one goes on and takes the registration, until the enclave serves or stops.
    pub fn come_up(&mut self) {
        // Two incarnations have to be some blocks apart.
        for _ in 0..5 {
            self.build();
        }
        for _ in 0..5 {
            self.finalize();
            if self.serving || self.stopped.is_some() {
                return;
            }
            if let Some(registration) = self.registrations.last().cloned() {
                let account = self.account();
                if self.registry.register(&mut self.storage, &account, &registration, self.now).is_ok() {
                    layer_one::use_nonce(&mut self.storage, &account);
                }
            }
        }
    }

    /// The host keeps the oldest of what it has not kept yet, and says so; whether there was anything.
    pub fn keep_one(&mut self) -> bool {
        let Some((sequence, keep)) = self.unkept.pop_front() else { return false };
        self.disk.write(keep);
        self.engine.stored(sequence);
        self.take_actions();
        true
    }

    /// Sees layer one as `other` does, whose blocks follow on those that this one knows.
    pub fn join(&mut self, other: &Self) {
        self.chain = other.chain.clone();
        self.storage = other.storage.clone();
        self.bridge = other.bridge.clone();
        self.states = other.states.clone();
        self.now = other.now;
        self.landed = other.landed;
    }

    /// An enclave whose registration is proven to it; its shard is not born.
    pub fn registered() -> Self {
        let mut world = Self::new();
        world.finalize();
        world.register();
        world.finalize();
        assert!(world.registered.is_some() && !world.serving && world.stopped.is_none());
        world
    }

    /// An enclave that serves its shard.
    pub fn serving() -> Self {
        let mut world = Self::registered();
        world.bear();
        world.finalize();
        assert!(world.serving && world.stopped.is_none());
        assert_eq!(world.submitted.len(), 1, "it bore its shard itself");
        world.submitted.clear();
        world
    }

    /// A serving one with these balances.
    pub fn with_accounts(accounts: &[(&str, Balance)]) -> Self {
        let mut world = Self::serving();
        for (who, amount) in accounts {
            world.shield(&account(who), *amount);
        }
        world.finalize();
        world.tick();
        world
    }

    pub fn shard(&self) -> ShardId {
        self.engine.shard()
    }

    pub fn genesis(&self) -> H256 {
        self.chain.header(0).hash()
    }

    pub fn account(&self) -> AccountId {
        self.engine.birth().founder.clone()
    }

    pub fn seal(&self, purpose: Purpose, plaintext: &[u8]) -> Vec<u8> {
        let context = Context { genesis: self.genesis(), shard: self.shard(), purpose };
        let keys = &self.engine.birth().shielding_keys;
        envelope::seal(&context, keys.epoch, &keys.hpke, plaintext).unwrap()
    }

    /// The host passes on finality up to the newest block.
    pub fn tell_finality(&mut self) {
        self.tell_finality_of(self.chain.headers.len() as u32 - 1);
    }

    /// The host passes on finality up to the block `last`.
    pub fn tell_finality_of(&mut self, last: u32) {
        let first = self.engine.figures().layer_one + 1;
        let justification = self.voters.justify(self.chain.header(last)).encode();
        self.engine.finality(self.chain.range(first, last), &justification);
        self.take_actions();
    }

    /// The host answers the oldest question truthfully; whether there was one.
    pub fn answer_one(&mut self) -> bool {
        if self.questions.is_empty() {
            return false;
        }
        let (question, at, keys) = self.questions.remove(0);
        let proof = self.states[&at].prove(&keys);
        self.engine.proof(question, Some(proof));
        self.take_actions();
        true
    }

    /// The host passes on the finality of a new block, but has no proofs.
    pub fn finalize_unread(&mut self) {
        self.build();
        self.tell_finality();
        self.fail_proofs();
    }

    /// The host says that it has no answers.
    pub fn fail_proofs(&mut self) {
        for (question, _, _) in std::mem::take(&mut self.questions) {
            self.engine.proof(question, None);
            self.take_actions();
        }
    }

    /// A block, its finality, and all the proofs that the enclave asks for.
    pub fn finalize(&mut self) {
        self.build();
        self.tell_finality();
        while self.answer_one() {}
    }

    pub fn tick(&mut self) {
        self.now += 300;
        self.engine.tick(self.now);
        self.take_actions();
    }

    pub fn take_actions(&mut self) {
        let mut actions = VecDeque::from(self.engine.take_actions());
        while let Some(action) = actions.pop_front() {
            match action {
                Action::AskProof { question, at, keys } => self.questions.push((question, at, keys)),
                Action::Store { sequence, keep } => {
                    if let Keep::Block { bytes, .. } = &keep {
                        self.blocks.push(SignedBlock::decode(&mut &bytes[..]).unwrap());
                    }
                    if self.keeps {
                        self.disk.write(keep);
                        self.engine.stored(sequence);
                        actions.extend(self.engine.take_actions());
                    } else {
                        self.unkept.push_back((sequence, keep));
                    }
                }
                Action::Recovered(number) => self.recovered = Some(number),
                Action::Open { number, entry } if self.opens => {
                    let opened = self.engine.opener().open(entry);
                    self.engine.opened(number, opened);
                }
                Action::Open { number, entry } => self.unopened.push((number, entry)),
                Action::Status { operation, status, error } => self.statuses.push((operation, status, error)),
                Action::Submit(extrinsic) => self.submitted.push(extrinsic),
                Action::Attest(report_data) if self.attests => {
                    self.engine.evidence(Evidence::Dcap(report_data.to_vec()));
                    actions.extend(self.engine.take_actions());
                }
                Action::Attest(_) => {}
                Action::Register { registration, extrinsic } => {
                    self.check(&registration);
                    self.registrations.push(registration);
                    self.registering.push(extrinsic);
                }
                Action::Registered { expires_at } => self.registered = Some(expires_at),
                Action::BeginBlockFailed(reason) => self.begin_block_failures.push(reason),
                Action::Refused(error) => self.refused.push(error),
                Action::Stop(stop) => self.stopped = Some(stop),
                Action::Serving => self.serving = true,
                Action::LayerOneBehind { layer_one, clock } => self.behind.push((layer_one, clock)),
                Action::Synced { .. } => {}
            }
        }
    }

    /// The evidence in a registration is for what the registration states.
    fn check(&self, registration: &Registration) {
        let Registration { evidence, incarnation_key, tls_key_hash, block_number, url } = registration;
        let block = self.chain.header(*block_number).hash();
        let stated = report_data(&self.genesis(), &self.account(), incarnation_key, tls_key_hash, &block);
        assert_eq!(evidence.bytes(), stated);
        assert_eq!(*url, Some(worker_url()));
    }
}

pub fn key(who: &str) -> sr25519::Pair {
    sr25519::Pair::from_string(&format!("//{who}"), None).unwrap()
}

pub fn account(who: &str) -> AccountId {
    AccountId::new(key(who).public().0)
}

pub fn state(storage: &BTreeMap<Vec<u8>, Vec<u8>>) -> State {
    State::new(storage.clone(), StateVersion::V1)
}

/// A start of the enclave.
fn start(chain: &Chain, voters: &Voters, enclave: &Enclave, requested_shard: Option<ShardId>) -> Engine {
    let config = chain.config(voters);
    Engine::new(Setup {
        chain_version: ChainVersion { genesis: config.genesis, spec_version: 1, transaction_version: 1 },
        config,
        kind: TeeKind::Simulated,
        fingerprint: FINGERPRINT,
        identity: Identity {
            account: AccountKey::from_seed(&enclave.identity).unwrap(),
            incarnation: IncarnationKey::draw().unwrap(),
            tls_key_hash: [7; 32],
        },
        shielding: shielding(),
        state_secret: StateSecret::from_bytes(enclave.identity),
        program: enclave.program,
        snapshots: enclave.snapshots,
        url: Some(worker_url()),
        requested_shard,
    })
    .unwrap()
}

fn worker_url() -> WorkerUrl {
    b"wss://localhost:2000".to_vec().try_into().unwrap()
}

/// One for all, because drawing it is slow.
fn shielding() -> Arc<ShieldingKeyPair> {
    static PAIR: OnceLock<Arc<ShieldingKeyPair>> = OnceLock::new();
    PAIR.get_or_init(|| Arc::new(ShieldingKeyPair::draw(0).unwrap())).clone()
}

const FINGERPRINT: [u8; 32] = [3; 32];
