//! The engine's state, and how it follows layer one.

use std::{collections::VecDeque, sync::Arc};

use cloister_chain_primitives::{
    AccountId, BlockNumber, EnclaveRecord, H256, Header, InboxEntry, Moment, ShardBirth, ShardConfig, ShardEntry,
    ShardId, config::MeasuredConfig, extrinsic::ChainVersion, storage,
};
use cloister_keys::{AccountKey, IncarnationKey, ShieldingKeyPair};
use cloister_light_client::{Error, LightClient, ProvenValues, VerifiedHeader, check_layout};
use cloister_pool::Pool;
use cloister_state::{ShardState, StateSecret};
use cloister_wire::{
    SignatureScope, TrustedOperationStatus,
    envelope::{Context, Purpose},
    sidechain::{SidechainHeader, SignedBlock},
};

use crate::{confirmations::Confirmations, outcomes::Outcomes};

/// One shard, served by one start of one enclave.
pub struct Engine {
    pub(crate) genesis: H256,
    pub(crate) slot_ms: u32,
    pub(crate) shard: ShardId,
    pub(crate) birth: ShardBirth,
    pub(crate) identity: Identity,
    pub(crate) shielding: Arc<ShieldingKeyPair>,
    pub(crate) state_secret: StateSecret,
    pub(crate) light_client: LightClient,
    pub(crate) state: ShardState,
    pub(crate) head: Option<Head>,
    pub(crate) view: Option<View>,
    pub(crate) inbox: VecDeque<InboxEntry>,
    pub(crate) consumed: u64,
    pub(crate) pool: Pool,
    pub(crate) outcomes: Outcomes,
    pub(crate) serving: bool,
    pub(crate) time_hint: Moment,
    pub(crate) parent_time: Option<Moment>,
    pub(crate) actions: Vec<Action>,
    confirmations: Confirmations,
    requested_shard: Option<ShardId>,
    question: Option<Question>,
    questions_asked: u64,
    resync_due: bool,
    stopped: bool,
}

/// What an engine starts with. All keys were drawn for this start.
pub struct Setup {
    /// The measured configuration.
    pub config: MeasuredConfig,
    /// Fingerprint of code and configuration.
    pub measurement: [u8; 32],
    /// Who the enclave is.
    pub identity: Identity,
    /// The shard's shielding keys.
    pub shielding: Arc<ShieldingKeyPair>,
    /// The secret behind commitment and state diffs.
    pub state_secret: StateSecret,
    /// The shard that the operator wants served; a new one if absent.
    pub requested_shard: Option<ShardId>,
    /// The host's hint of the runtime's version. A wrong one only spoils the enclave's own extrinsics.
    pub chain_version: ChainVersion,
}

/// Signing keys of one start.
pub struct Identity {
    /// The account on layer one.
    pub account: AccountKey,
    /// The incarnation.
    pub incarnation: IncarnationKey,
    /// SHA-256 of the TLS key's SubjectPublicKeyInfo.
    pub tls_key_hash: [u8; 32],
}

/// Why an engine could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration's checkpoint is unusable.
    #[error("the configured checkpoint: {0}")]
    Checkpoint(#[from] Error),
    /// The state before the first block could not be built.
    #[error(transparent)]
    Genesis(#[from] cloister_stf::GenesisError),
    /// Only simulated evidence exists so far, and the configuration forbids it.
    #[error("the configuration forbids simulated evidence, and no other kind is available")]
    SimulationForbidden,
    /// A slot must take some time.
    #[error("slot_ms must not be 0")]
    SlotTime,
}

/// What the engine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The light client stands at this block; send what follows.
    Synced {
        /// Height.
        number: BlockNumber,
        /// Hash.
        hash: H256,
    },
    /// Get a storage proof.
    AskProof {
        /// To be given back with the answer.
        question: u64,
        /// The block.
        at: H256,
        /// What to prove.
        keys: Vec<Vec<u8>>,
    },
    /// Submit an extrinsic to layer one.
    Submit(Vec<u8>),
    /// The shard's entry is proven; clients may come.
    Serving,
    /// A block was made.
    Block(Box<SignedBlock>),
    /// An operation got further.
    Status {
        /// Hash of the operation.
        operation: H256,
        /// How far it is.
        status: TrustedOperationStatus,
        /// Why it failed.
        error: Option<String>,
    },
    /// Host input was refused; nothing changed.
    Refused(Error),
    /// The engine ends for good.
    Stop(Stop),
}

/// Why an engine ends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// Layer one did what the light client cannot follow.
    #[error("layer one cannot be followed further: {0}")]
    LayerOne(Error),
    /// Layer one stores its data in a layout that this enclave does not know.
    #[error("layer one's storage layout is unknown to this enclave")]
    StorageLayoutUnknown,
    /// The requested shard is pinned to another incarnation.
    #[error("shard {0:?} is pinned to another incarnation")]
    ShardOfAnotherIncarnation(ShardId),
    /// The requested shard does not exist.
    #[error("shard {0:?} does not exist on layer one")]
    UnknownShard(ShardId),
    /// The shard's entry is no longer the one that this incarnation bore.
    #[error("layer one retired this incarnation")]
    Retired,
    /// A block could not be executed.
    #[error("a block could not be executed: {0}")]
    Block(#[from] cloister_stf::BlockError),
    /// The enclave contradicts itself; going on could cost money.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

pub(crate) struct Head {
    pub header: SidechainHeader,
    pub hash: H256,
}

/// What is proven of the newest finalized layer-one block that was read.
pub(crate) struct View {
    pub number: BlockNumber,
    pub hash: H256,
    pub time: Moment,
    pub inbox_length: u64,
}

struct Question {
    id: u64,
    at: VerifiedHeader,
    keys: Vec<Vec<u8>>,
    asked_at: Moment,
    entries: std::ops::Range<u64>,
}

impl Engine {
    /// Sets the shard up at its genesis. The first actions say where the light client stands.
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        let Setup { config, measurement, identity, shielding, state_secret, requested_shard, chain_version } = setup;
        if !config.simulation_allowed {
            return Err(SetupError::SimulationForbidden);
        }
        if config.slot_ms == 0 {
            return Err(SetupError::SlotTime);
        }
        let light_client = LightClient::new(&config)?;
        let state = ShardState::genesis(cloister_stf::genesis_storage()?, &state_secret.commitment_key());
        let birth = ShardBirth {
            config: ShardConfig {
                enclave_fingerprint: measurement,
                max_instances: Some(1),
                authorities: None,
                maintenance_mode: false,
            },
            upgrade_delay: config.min_upgrade_delay,
            escrow_cap: None,
            shielding_keys: shielding.public().clone(),
            genesis_commitment: state.commitment(),
            member: EnclaveRecord {
                measurement,
                account: identity.account.account(),
                incarnation_key: identity.incarnation.public(),
                tls_key_hash: identity.tls_key_hash,
            },
        };
        let mut engine = Self {
            genesis: config.genesis,
            slot_ms: config.slot_ms,
            shard: birth.shard_id(&config.genesis),
            confirmations: Confirmations::new(ChainVersion { genesis: config.genesis, ..chain_version }),
            birth,
            identity,
            shielding,
            state_secret,
            light_client,
            state,
            head: None,
            view: None,
            inbox: VecDeque::new(),
            consumed: 0,
            pool: Pool::default(),
            outcomes: Outcomes::default(),
            serving: false,
            time_hint: 0,
            parent_time: None,
            actions: Vec::new(),
            requested_shard,
            question: None,
            questions_asked: 0,
            resync_due: false,
            stopped: false,
        };
        engine.say_synced();
        Ok(engine)
    }

    /// The shard that this enclave bears.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// What the shard is born with.
    pub fn birth(&self) -> &ShardBirth {
        &self.birth
    }

    /// Whether the shard's entry is proven and the engine goes on.
    pub fn is_serving(&self) -> bool {
        self.serving && !self.stopped
    }

    /// For what clients must sign.
    pub fn scope(&self) -> SignatureScope {
        SignatureScope { mrenclave: self.birth.member.measurement, shard: self.shard }
    }

    /// Takes what there is to do, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The host says which runtime layer one has.
    pub fn chain_version(&mut self, spec_version: u32, transaction_version: u32) {
        self.confirmations.set_version(spec_version, transaction_version);
    }

    /// Headers after the light client's head, and a justification for the last of them.
    pub fn finality(&mut self, headers: Vec<Header>, justification: &[u8]) {
        if self.stopped {
            return;
        }
        match self.light_client.import(headers, justification) {
            Ok(_) => {
                self.say_synced();
                self.ask_next();
            }
            Err(error) if error.stops_for_good() => self.stop(Stop::LayerOne(error)),
            Err(error) => {
                // The host may mend it, but not in a loop without pause: the next tick asks again.
                self.resync_due = true;
                self.actions.push(Action::Refused(error));
            }
        }
    }

    /// The answer to an [`Action::AskProof`]; `None` if the host could not get it.
    pub fn proof(&mut self, question: u64, proof: Option<Vec<Vec<u8>>>) {
        if self.stopped || self.question.as_ref().is_none_or(|asked| asked.id != question) {
            return;
        }
        let Some(asked) = self.question.take() else { return };
        let Some(proof) = proof else {
            // Asked again at a later head or tick.
            return;
        };
        let read = asked.at.read(proof, &asked.keys).and_then(|values| self.learn(&asked, &values));
        match read {
            Ok(()) => self.ask_next(),
            Err(Error::UnknownStorageLayout { .. }) => self.stop(Stop::StorageLayoutUnknown),
            Err(error) if error.stops_for_good() => self.stop(Stop::LayerOne(error)),
            Err(error) => self.actions.push(Action::Refused(error)),
        }
    }

    /// A slot of the host's clock (Unix milliseconds, a hint): time to make a block or to ask again.
    pub fn tick(&mut self, hint: Moment) {
        if self.stopped {
            return;
        }
        self.time_hint = hint;
        if std::mem::take(&mut self.resync_due) {
            self.say_synced();
        }
        let overdue = |asked: &Question| hint.abs_diff(asked.asked_at) >= QUESTION_TIMEOUT_MS;
        if self.question.as_ref().is_some_and(overdue) {
            self.question = None;
        }
        self.ask_next();
        if self.serving {
            self.produce();
        }
    }

    pub(crate) fn envelope(&self, purpose: Purpose) -> Context {
        Context { genesis: self.genesis, shard: self.shard, purpose }
    }

    pub(crate) fn confirm(&mut self, hash: H256, number: BlockNumber) {
        self.confirmations.add(self.shard, hash, number);
        self.submit_confirmation();
    }

    pub(crate) fn stop(&mut self, stop: Stop) {
        self.stopped = true;
        self.actions.push(Action::Stop(stop));
    }

    fn say_synced(&mut self) {
        let head = self.light_client.head();
        self.actions.push(Action::Synced { number: head.number, hash: head.hash });
    }

    /// Asks for what is not yet known of the newest finalized block; one question at a time.
    fn ask_next(&mut self) {
        if self.stopped || self.question.is_some() {
            return;
        }
        let Some(at) = self.light_client.finalized_header() else { return };
        let known = self.consumed.saturating_add(u64::try_from(self.inbox.len()).unwrap_or(u64::MAX));
        let room = MAX_INBOX_HELD.saturating_sub(self.inbox.len());
        let (current, length) = match &self.view {
            Some(view) => (view.hash == at.hash(), view.inbox_length),
            None => (false, 0),
        };
        let wanted = length.saturating_sub(known).min(u64::try_from(room.min(MAX_INBOX_PER_PROOF)).unwrap_or(0));
        if current && (wanted == 0 || !self.serving) {
            return;
        }
        let entries = known..known.saturating_add(if self.serving { wanted } else { 0 });
        let mut keys = vec![
            storage::enclave_bridge_version(),
            storage::shard(&self.shard),
            storage::inbox_length(&self.shard),
            storage::timestamp(),
            storage::account(&self.account()),
        ];
        if let Some(requested) = &self.requested_shard {
            keys.push(storage::shard(requested));
        }
        keys.extend(entries.clone().map(|number| storage::inbox_entry(&self.shard, number)));
        let at = at.clone();
        self.questions_asked = self.questions_asked.saturating_add(1);
        let id = self.questions_asked;
        self.actions.push(Action::AskProof { question: id, at: at.hash(), keys: keys.clone() });
        self.question = Some(Question { id, at, keys, asked_at: self.time_hint, entries });
    }

    /// Takes in proven values. Nothing is changed before everything was decoded.
    fn learn(&mut self, asked: &Question, values: &ProvenValues) -> Result<(), Error> {
        check_layout(values)?;
        let entry: Option<ShardEntry> = values.decode(&storage::shard(&self.shard))?;
        let inbox_length: u64 = values.decode(&storage::inbox_length(&self.shard))?.unwrap_or(0);
        let time: Moment = values.decode(&storage::timestamp())?.unwrap_or(0);
        let account: Option<storage::AccountInfo> = values.decode(&storage::account(&self.account()))?;
        let mut entries = Vec::new();
        for number in asked.entries.clone() {
            entries.push(values.decode::<InboxEntry>(&storage::inbox_entry(&self.shard, number))?);
        }
        if let Some(requested) = self.requested_shard.filter(|requested| *requested != self.shard) {
            // Nothing of an earlier start was kept: its shard's keys and state are gone with it.
            let exists = values.decode::<ShardEntry>(&storage::shard(&requested))?.is_some();
            self.stop(if exists { Stop::ShardOfAnotherIncarnation(requested) } else { Stop::UnknownShard(requested) });
            return Ok(());
        }
        let born = entry.is_some();
        let own = entry.is_some_and(|entry| entry.birth == self.birth);
        if self.serving && !own {
            self.stop(Stop::Retired);
            return Ok(());
        }
        if born && !own {
            self.stop(Stop::Internal("the shard's entry does not hash to its id"));
            return Ok(());
        }
        if own && !self.serving {
            self.serving = true;
            self.actions.push(Action::Serving);
        }
        for entry in entries {
            // Below the proven length every number has an entry; a gap means that layer one is not what we know.
            let Some(entry) = entry else {
                self.stop(Stop::StorageLayoutUnknown);
                return Ok(());
            };
            self.inbox.push_back(entry);
        }
        self.view = Some(View { number: asked.at.number(), hash: asked.at.hash(), time, inbox_length });
        self.confirmations.observe(asked.at.number(), asked.at.hash(), account.map(|account| account.nonce));
        self.submit_confirmation();
        Ok(())
    }

    fn submit_confirmation(&mut self) {
        if let Some(extrinsic) = self.confirmations.next_extrinsic(&self.identity.account) {
            self.actions.push(Action::Submit(extrinsic));
        }
    }

    fn account(&self) -> AccountId {
        self.identity.account.account()
    }
}

/// After how long an unanswered question is asked again.
const QUESTION_TIMEOUT_MS: Moment = 30_000;
/// Most inbox entries that wait in memory for a block.
const MAX_INBOX_HELD: usize = 256;
/// Most inbox entries in one proof.
const MAX_INBOX_PER_PROOF: usize = 64;
