//! The engine: what it starts from, and what events do to it.

use std::{collections::VecDeque, sync::Arc};

use cloister_chain_primitives::{
    Anchor, Balance, BlockNumber, H256, Header, Moment, ShardBirth, ShardConfig, ShardId, ShardMode,
    config::MeasuredConfig, extrinsic::ChainVersion, registry::WorkerUrl,
};
use cloister_claims::{Evidence, TeeKind};
use cloister_keys::{AccountKey, IncarnationKey, ShieldingKeyPair};
use cloister_light_client::{Error, LightClient, VerifiedHeader};
use cloister_pool::Pool;
use cloister_state::{Scope, ShardState, StateSecret};
use cloister_stf::{Program, Rules, VerifiedCall};
use cloister_wire::{
    SignatureScope,
    envelope::{Context, Purpose},
    sidechain::SidechainHeader,
};

use crate::{
    action::{Action, Stop},
    anchoring::Unanchored,
    choosing::EXECUTION_SHARE,
    extrinsics::Extrinsics,
    inbox::{Inbox, Opened, Opener},
    outbox::Outbox,
    outcomes::Outcomes,
    poison::Suspects,
    production::Work,
    reads::Reads,
    recovery::{Kept, Recovered, Recovery, RecoveryError},
    registration::{OwnRegistration, Stated},
    storing::{SnapshotRules, Snapshots},
};

/// One shard, served by one start of one enclave.
pub struct Engine {
    pub(crate) genesis: H256,
    pub(crate) slot_ms: u32,
    unbound_getters_allowed: bool,
    pub(crate) shard: ShardId,
    pub(crate) birth: ShardBirth,
    pub(crate) identity: Identity,
    pub(crate) shielding: Arc<ShieldingKeyPair>,
    pub(crate) state_secret: StateSecret,
    pub(crate) program: &'static dyn Program,
    /// Declared weight that a block executes at most, in picoseconds.
    pub(crate) budget: u64,
    pub(crate) light_client: LightClient,
    /// What the host kept, until all of it has come.
    recovery: Option<Box<Recovery>>,
    /// Empty until then.
    pub(crate) state: ShardState,
    pub(crate) head: Option<Head>,
    pub(crate) view: Option<View>,
    pub(crate) inbox: Inbox,
    pub(crate) consumed: u64,
    pub(crate) pool: Pool,
    /// Calls that the pool has handed out and that wait for a block of their own.
    pub(crate) carried: VecDeque<VerifiedCall>,
    pub(crate) work: Work,
    pub(crate) suspects: Suspects,
    pub(crate) outcomes: Outcomes,
    pub(crate) unanchored: Unanchored,
    pub(crate) outbox: Outbox,
    /// Height at which no account could leave the retired shard: each waits for an entry of its own to be closed, or for
    /// the program.
    pub(crate) nobody_left_at: Option<u64>,
    pub(crate) snapshots: Snapshots,
    /// Number of the newest request to keep something.
    pub(crate) stores: u64,
    pub(crate) serving: bool,
    pub(crate) time_hint: Moment,
    pub(crate) parent_time: Option<Moment>,
    /// Height of the layer-one block that the newest block rests on.
    pub(crate) parent_layer_one: BlockNumber,
    pub(crate) actions: Vec<Action>,
    pub(crate) registration: OwnRegistration,
    pub(crate) extrinsics: Extrinsics,
    pub(crate) birth_sent: Option<BlockNumber>,
    pub(crate) requested_shard: Option<ShardId>,
    pub(crate) question: Option<Question>,
    pub(crate) questions_asked: u64,
    /// What calls read of layer one.
    pub(crate) reads: Reads,
    /// On which blocks of both chains the program wanted a block and then changed nothing.
    pub(crate) due_in_vain: Option<(u64, H256)>,
    resync_due: bool,
    pub(crate) stopped: bool,
}

/// What an engine starts with.
pub struct Setup {
    /// The measured configuration.
    pub config: MeasuredConfig,
    /// What kind of environment this is.
    pub kind: TeeKind,
    /// Fingerprint of code and configuration, as evidence states it.
    pub fingerprint: [u8; 32],
    /// Who the enclave is.
    pub identity: Identity,
    /// The shard's shielding keys.
    pub shielding: Arc<ShieldingKeyPair>,
    /// The secret behind commitment and all that is sealed of the state.
    pub state_secret: StateSecret,
    /// What calls do.
    pub program: &'static dyn Program,
    /// When and how the state is snapshotted.
    pub snapshots: SnapshotRules,
    /// Where clients find the worker, by the host's word.
    pub url: Option<WorkerUrl>,
    /// The shard that the operator wants served; a new one if absent.
    pub requested_shard: Option<ShardId>,
    /// The host's hint of the runtime's version. A wrong one only spoils the enclave's own extrinsics.
    pub chain_version: ChainVersion,
}

/// Who an enclave is.
pub struct Identity {
    /// The account on layer one, the same at every start.
    pub account: AccountKey,
    /// The incarnation, drawn for this start.
    pub incarnation: IncarnationKey,
    /// SHA-256 of the SubjectPublicKeyInfo of the TLS key, drawn for this start.
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
    /// The environment is simulated, and the configuration forbids it.
    #[error("the configuration forbids simulated evidence")]
    SimulationForbidden,
    /// A slot must take some time.
    #[error("slot_ms must not be 0")]
    SlotTime,
}

pub(crate) struct Head {
    pub header: SidechainHeader,
    pub hash: H256,
    /// What layer one is to know of the block.
    pub anchor: Anchor,
}

/// What is proven of the newest finalized layer-one block that was read.
pub(crate) struct View {
    pub number: BlockNumber,
    pub hash: H256,
    /// It itself, by which more can be read.
    pub header: VerifiedHeader,
    pub time: Moment,
    pub inbox_length: u64,
    /// Entries that layer one no longer has.
    pub inbox_pruned: u64,
    /// Verdicts that it no longer has.
    pub settled_pruned: u64,
    /// Planck that the enclave's account can spend.
    pub account_free: Balance,
    /// What the shard does.
    pub mode: ShardMode,
}

pub(crate) struct Question {
    pub id: u64,
    pub at: VerifiedHeader,
    pub keys: Vec<Vec<u8>>,
    pub asked_at: Moment,
    pub entries: std::ops::Range<u64>,
    /// Entries of the outbox.
    pub settled: Vec<u64>,
}

impl Engine {
    /// Sets the shard up at its genesis. The first actions say where the light client stands; what the host kept comes
    /// by [`Self::kept`] and [`Self::kept_all`].
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        let Setup {
            config,
            kind,
            fingerprint,
            identity,
            shielding,
            state_secret,
            program,
            snapshots,
            url,
            requested_shard,
            chain_version,
        } = setup;
        if kind == TeeKind::Simulated && !config.simulation_allowed {
            return Err(SetupError::SimulationForbidden);
        }
        if config.slot_ms == 0 {
            return Err(SetupError::SlotTime);
        }
        let light_client = LightClient::new(&config)?;
        let genesis_state = ShardState::genesis(cloister_stf::genesis_storage()?, &state_secret.commitment_key());
        let birth = ShardBirth {
            config: ShardConfig {
                enclave_fingerprint: fingerprint,
                max_instances: Some(1),
                authorities: None,
                maintenance_mode: false,
            },
            upgrade_delay: config.min_upgrade_delay,
            escrow_cap: None,
            shielding_keys: shielding.public().clone(),
            genesis_commitment: genesis_state.commitment(),
            founder: identity.account.account(),
        };
        let stated = Stated {
            genesis: config.genesis,
            account: identity.account.account(),
            kind,
            fingerprint,
            incarnation_key: identity.incarnation.public(),
            tls_key_hash: identity.tls_key_hash,
            url,
        };
        let recovery = Some(Box::new(Recovery::begin(birth.founder.clone(), genesis_state)));
        let mut engine = Self {
            genesis: config.genesis,
            slot_ms: config.slot_ms,
            unbound_getters_allowed: config.unbound_getters_allowed,
            shard: birth.shard_id(&config.genesis),
            registration: OwnRegistration::new(stated),
            extrinsics: Extrinsics::new(ChainVersion { genesis: config.genesis, ..chain_version }),
            birth_sent: None,
            birth,
            identity,
            shielding,
            state: ShardState::genesis([], &state_secret.commitment_key()),
            recovery,
            state_secret,
            program,
            budget: u64::from(config.slot_ms).saturating_mul(PICOSECONDS_PER_MS / 100).saturating_mul(EXECUTION_SHARE),
            light_client,
            head: None,
            view: None,
            inbox: Inbox::default(),
            consumed: 0,
            pool: Pool::default(),
            carried: VecDeque::new(),
            work: Work::default(),
            suspects: Suspects::default(),
            outcomes: Outcomes::default(),
            unanchored: Unanchored::default(),
            outbox: Outbox::default(),
            nobody_left_at: None,
            snapshots: Snapshots::new(snapshots),
            stores: 0,
            serving: false,
            time_hint: 0,
            parent_time: None,
            parent_layer_one: 0,
            actions: Vec::new(),
            requested_shard,
            question: None,
            questions_asked: 0,
            reads: Reads::default(),
            due_in_vain: None,
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

    /// Whether registration and shard are proven and the engine goes on.
    pub fn is_serving(&self) -> bool {
        self.serving && !self.stopped
    }

    /// For what clients must sign.
    pub fn scope(&self) -> SignatureScope {
        SignatureScope { mrenclave: self.birth.config.enclave_fingerprint, shard: self.shard }
    }

    /// Which calls count.
    pub fn rules(&self) -> Rules {
        // Nobody is root: a shard's money is what was shielded.
        let (program, max_weight) = (self.program, self.budget);
        let unbound_getters_allowed = self.unbound_getters_allowed;
        Rules { program, max_weight, unbound_getters_allowed, ..Rules::default() }
    }

    /// For opening entries of the inbox.
    pub fn opener(&self) -> Opener {
        Opener {
            shielding: self.shielding.clone(),
            context: Context { genesis: self.genesis, shard: self.shard, purpose: Purpose::Request },
            scope: self.scope(),
            // Whoever sent one that weighs too much is told so in its outcome.
            rules: Rules { max_weight: u64::MAX, ..self.rules() },
        }
    }

    /// Takes what there is to do, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Something that the host kept, in the order in which it keeps it.
    pub fn kept(&mut self, kept: Kept) {
        if self.stopped {
            return;
        }
        let Some(recovery) = &mut self.recovery else { return self.stop(RecoveryError::AfterEnd.into()) };
        let scope = Scope { secret: &self.state_secret, genesis: &self.genesis, shard: &self.shard };
        let taken = match kept {
            Kept::Mark(sealed) => self.suspects.open(&scope, &sealed),
            Kept::Manifest(sealed) => recovery.manifest(&scope, &self.state_secret.commitment_key(), &sealed),
            Kept::Piece(sealed) => recovery.piece(&scope, &sealed),
            Kept::Block(bytes) => recovery.block(&scope, &bytes),
        };
        if let Err(error) = taken {
            self.stop(error.into());
        }
    }

    /// The host kept no more.
    pub fn kept_all(&mut self) {
        if self.stopped {
            return;
        }
        let Some(recovery) = self.recovery.take() else { return self.stop(RecoveryError::AfterEnd.into()) };
        match recovery.finish() {
            Ok(recovered) => self.go_on_from(recovered),
            Err(error) => self.stop(error.into()),
        }
    }

    fn go_on_from(&mut self, recovered: Recovered) {
        let Recovered { state, head, outcomes, blocks, base, journal_bytes } = recovered;
        let outbox = Outbox::recovered(&self.genesis, &self.shard, cloister_stf::outbox(&state));
        let books = cloister_stf::books(&state);
        let stated = head.as_ref().map(|head| head.head.anchor);
        let same = stated.is_none_or(|stated| {
            (stated.outbox_root, stated.outbox_closed, stated.fees) == (outbox.root(), books.outbox_closed, books.fees)
        });
        if !same {
            return self.stop(Stop::Internal("the state's books are not those of its newest block"));
        }
        self.outbox = outbox;
        self.consumed = cloister_stf::inbox_status(&state).consumed;
        self.inbox = Inbox::starting_at(self.consumed);
        self.state = state;
        self.outcomes = outcomes;
        self.unanchored = Unanchored::recovered(blocks);
        self.snapshots.recovered(base, journal_bytes);
        if let Some(head) = head {
            self.parent_time = Some(head.timestamp);
            self.parent_layer_one = head.layer_one.0;
            self.head = Some(head.head);
            self.unanchored.recovered_on(head.layer_one);
        }
        self.suspects.judge(self.height());
        self.actions.push(Action::Recovered(self.height()));
        // What is known of layer one was read without knowing what to ask for.
        self.view = None;
        self.ask_next();
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.recovery.is_none()
    }

    /// An entry of the inbox was opened.
    pub fn opened(&mut self, number: u64, opened: Opened) {
        self.inbox.opened(number, opened);
        self.ask_for_calls();
    }

    /// The host says which runtime layer one has.
    pub fn chain_version(&mut self, spec_version: u32, transaction_version: u32) {
        self.extrinsics.set_version(spec_version, transaction_version);
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
    pub fn proof(&mut self, question: u64, mut proof: Option<Vec<Vec<u8>>>) {
        if self.stopped
            || self.proof_for_calls(question, &mut proof)
            || self.question.as_ref().is_none_or(|asked| asked.id != question)
        {
            return;
        }
        let Some(asked) = self.question.take() else { return };
        let Some(proof) = proof else {
            // Asked again at a later head or tick.
            return;
        };
        let read = asked.at.read(proof, &asked.keys).and_then(|values| self.learn(&asked, &values));
        match read {
            Ok(()) => {
                self.ask_next();
                self.ask_for_calls();
            }
            Err(Error::UnknownStorageLayout { .. }) => self.stop(Stop::StorageLayoutUnknown),
            Err(error) if error.stops_for_good() => self.stop(Stop::LayerOne(error)),
            Err(error) => self.actions.push(Action::Refused(error)),
        }
    }

    /// The answer to the newest [`Action::Attest`]; without one the engine asks again some blocks later.
    pub fn evidence(&mut self, evidence: Evidence) {
        if self.stopped {
            return;
        }
        if let Some(registration) = self.registration.with(evidence) {
            self.extrinsics.register(registration);
            self.send_extrinsics();
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
        if let Some(View { time, .. }) = self.view
            && self.registration.must_tell_behind(time, hint)
        {
            self.actions.push(Action::LayerOneBehind { layer_one: time, clock: hint });
        }
        if self.serving {
            self.produce();
            self.ask_for_calls();
            self.take_snapshot();
        }
    }

    pub(crate) fn stop(&mut self, stop: Stop) {
        self.stopped = true;
        self.actions.push(Action::Stop(stop));
    }

    fn say_synced(&mut self) {
        let head = self.light_client.head();
        self.actions.push(Action::Synced { number: head.number, hash: head.hash });
    }
}

/// After how long an unanswered question is asked again.
pub(crate) const QUESTION_TIMEOUT_MS: Moment = 30_000;
const PICOSECONDS_PER_MS: u64 = 1_000_000_000;
