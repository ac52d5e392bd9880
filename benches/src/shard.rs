//! A shard of any size under a real engine, on a simulated layer one, whose host keeps what it is asked to in memory or
//! in the worker's store.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use cloister_chain_primitives::{AccountId, Balance, UNIT, extrinsic::ChainVersion};
use cloister_claims::TeeKind;
use cloister_keys::{AccountKey, IncarnationKey, ShieldingKeyPair};
use cloister_pool::Admitted;
use cloister_sidechain::{Action, Engine, Identity, Keep, Kept, Setup, SnapshotRules};
use cloister_simulation::World;
use cloister_state::StateSecret;
use cloister_stf::{Execution, Payments, Program};
use cloister_store::{Store, Write};
use cloister_wire::{TrustedCall, TrustedOperationStatus, sidechain::Books};
use codec::{Decode, Encode};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sp_core::{Pair, sr25519};
use sp_crypto_hashing::blake2_256;
use sp_io::storage;

use crate::{
    SEED,
    accounts::{self, BALANCE},
};

/// One shard.
pub struct Shard {
    pub world: World,
    /// Where the host keeps what it is asked to; in memory without one.
    pub store: Option<Store>,
    /// Who sends, in turns, and with which nonce next.
    senders: Vec<(sr25519::Pair, u32)>,
    program: &'static Filling,
    shielding: Arc<ShieldingKeyPair>,
    random: ChaCha8Rng,
    slots: u64,
    sent: usize,
}

/// What a slot took.
#[derive(Default)]
pub struct Slot {
    /// The engine's part.
    pub engine: Duration,
    /// The commit of the mark, and of a piece of a snapshot with it.
    pub mark: Duration,
    /// The commit of the block.
    pub block: Duration,
    /// Whether a piece of a snapshot was taken.
    pub took_piece: bool,
    /// How many calls are in the block.
    pub included: usize,
}

impl Slot {
    /// From the tick until clients can be told.
    pub fn whole(&self) -> Duration {
        self.engine + self.mark + self.block
    }
}

impl Shard {
    /// A shard that has so many accounts, all of them by blocks, and no snapshot.
    pub fn new(accounts: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let senders: Vec<_> = (0..SENDERS).map(|_| (sr25519::Pair::from_seed(&random.r#gen()), 1)).collect();
        let ids = senders.iter().map(|(key, _)| key.public().into()).collect();
        let program: &'static Filling = Box::leak(Box::new(Filling { senders: ids, accounts }));
        let shielding = Arc::new(ShieldingKeyPair::draw(0).expect("keys"));
        let mut world = World::running(program, None);
        world.keeps = false;
        let mut shard = Self { world, store: None, senders, program, shielding, random, slots: 0, sent: 0 };
        shard.world.engine = shard.engine(NO_SNAPSHOTS);
        shard.world.engine.kept_all();
        shard.world.take_actions();
        shard.world.finalize();
        shard.world.register();
        shard.world.finalize();
        shard.world.bear();
        shard.world.finalize();
        assert!(shard.world.serving && shard.world.stopped.is_none());
        shard.world.submitted.clear();
        shard.fill();
        shard
    }

    fn fill(&mut self) {
        let filler = sr25519::Pair::from_seed(&self.random.r#gen());
        let id: AccountId = filler.public().into();
        self.world.shield(&id, BALANCE);
        self.world.finalize();
        self.slot();
        for nonce in 0.. {
            let accounts = self.world.engine.figures().accounts;
            if accounts == self.program.accounts {
                break;
            }
            for nonce in nonce * FILLS_PER_BLOCK..(nonce + 1) * FILLS_PER_BLOCK {
                let call = self.world.sign_with(&filler, TrustedCall::Noop(id.clone()), nonce);
                self.world.engine.submit(call).expect("admitted");
            }
            assert_eq!(self.slot().included, FILLS_PER_BLOCK as usize);
        }
        while self.world.engine.figures().anchored < self.height() {
            self.settle();
        }
    }

    /// Another start on what is kept in memory, until it serves.
    pub fn restart(&mut self, snapshots: SnapshotRules) {
        let mut world = self.world.start_without_disk();
        world.keeps = false;
        world.engine = self.engine(snapshots);
        world.disk = mem::take(&mut self.world.disk);
        self.world = world;
        self.world.recover();
        self.world.come_up();
        assert!(self.world.serving, "{:?}", self.world.stopped);
    }

    /// Takes a whole snapshot. Only it is kept, and the block on which it rests; no other follows.
    pub fn snapshot(&mut self) {
        self.restart(SNAPSHOT_AT_ONCE);
        while self.world.engine.figures().snapshot != self.height() {
            assert_eq!(self.slot().included, 0);
        }
        let (height, disk) = (self.height(), &mut self.world.disk);
        disk.blocks = disk.blocks.split_off(&height);
        self.restart(NO_SNAPSHOTS);
    }

    /// Height of the newest block.
    pub fn height(&self) -> u64 {
        self.world.engine.figures().block
    }

    /// How long a start takes until its state is whole.
    pub fn recover(&self, kept: Vec<Kept>) -> Duration {
        let start = Instant::now();
        let mut engine = self.engine(NO_SNAPSHOTS);
        for kept in kept {
            engine.kept(kept);
        }
        engine.kept_all();
        let time = start.elapsed();
        let actions = engine.take_actions();
        assert!(actions.contains(&Action::Recovered(self.height())), "{actions:?}");
        time
    }

    /// Hands in so many transfers, of the senders in turns, between accounts that exist.
    pub fn submit(&mut self, transfers: usize) {
        for _ in 0..transfers {
            let to = self.program.id(self.random.gen_range(0..self.program.accounts - 1));
            let amount = self.random.gen_range(1..UNIT);
            let (key, nonce) = &mut self.senders[self.sent % SENDERS];
            self.sent += 1;
            let call = TrustedCall::BalanceTransfer(key.public().into(), to, amount);
            let call = self.world.sign_with(key, call, *nonce);
            *nonce += 1;
            assert_eq!(self.world.engine.submit(call), Ok(Admitted::Ready));
        }
    }

    /// The next slot, with layer one's finality now and then, which is not measured.
    ///
    /// Of one batch of requests the host makes one commit, as the worker does. Here nothing goes on meanwhile.
    pub fn slot(&mut self) -> Slot {
        self.slots += 1;
        if self.slots.is_multiple_of(SLOTS_PER_FINALITY) {
            self.settle();
        }
        // What submitting told.
        self.world.engine.take_actions();
        self.world.now += SLOT_MS;
        let mut slot = Slot::default();
        let start = Instant::now();
        self.world.engine.tick(self.world.now);
        let mut actions = self.world.engine.take_actions();
        slot.engine = start.elapsed();
        loop {
            let (mut sequences, mut keeps) = (Vec::new(), Vec::new());
            for action in actions {
                match action {
                    Action::Store { sequence, keep } => {
                        sequences.push(sequence);
                        keeps.push(keep);
                    }
                    Action::Status { status: TrustedOperationStatus::InSidechainBlock(_), .. } => slot.included += 1,
                    Action::AskProof { question, at, keys } => self.world.questions.push((question, at, keys)),
                    Action::Submit(extrinsic) => self.world.submitted.push(extrinsic),
                    other => panic!("in a slot: {other:?}"),
                }
            }
            if keeps.is_empty() {
                return slot;
            }
            let has_block = keeps.iter().any(|keep| matches!(keep, Keep::Block { .. }));
            slot.took_piece |= keeps.iter().any(|keep| matches!(keep, Keep::SnapshotPiece { .. }));
            let commit = self.keep(keeps);
            *if has_block { &mut slot.block } else { &mut slot.mark } += commit;
            let start = Instant::now();
            for sequence in sequences {
                self.world.engine.stored(sequence);
            }
            actions = self.world.engine.take_actions();
            slot.engine += start.elapsed();
        }
    }

    fn keep(&mut self, keeps: Vec<Keep>) -> Duration {
        match &self.store {
            Some(store) => {
                let writes: Vec<Write> = keeps.into_iter().map(write).collect();
                let start = Instant::now();
                store.commit(&writes).expect("commit");
                start.elapsed()
            }
            None => {
                keeps.into_iter().for_each(|keep| self.world.disk.write(keep));
                Duration::ZERO
            }
        }
    }

    /// Layer one takes what was submitted, and finalizes a block.
    fn settle(&mut self) {
        self.world.include();
        self.world.finalize();
        self.world.statuses.clear();
        assert!(self.world.unkept.is_empty() && self.world.stopped.is_none());
    }

    /// A start of always the same identity.
    fn engine(&self, snapshots: SnapshotRules) -> Engine {
        let config = self.world.chain.config(&self.world.voters);
        Engine::new(Setup {
            chain_version: ChainVersion { genesis: config.genesis, spec_version: 1, transaction_version: 1 },
            config,
            kind: TeeKind::Simulated,
            fingerprint: self.world.engine.scope().mrenclave,
            identity: Identity {
                account: AccountKey::from_seed(&IDENTITY).expect("key"),
                incarnation: IncarnationKey::draw().expect("key"),
                tls_key_hash: [7; 32],
            },
            shielding: self.shielding.clone(),
            state_secret: StateSecret::from_bytes(IDENTITY),
            program: self.program,
            snapshots,
            url: Some(b"wss://localhost:2000".to_vec().try_into().expect("short")),
            requested_shard: None,
        })
        .expect("setup")
    }
}

/// As the worker's store takes it.
pub fn write(keep: Keep) -> Write {
    match keep {
        Keep::Mark(mark) => Write::Mark(mark),
        Keep::Block { number, hash, bytes } => Write::Block { number, hash, bytes },
        Keep::SnapshotPiece { snapshot, index, bytes } => Write::SnapshotPiece { snapshot, index, bytes },
        Keep::Snapshot { snapshot, manifest, first } => Write::Snapshot { snapshot, manifest, first },
    }
}

/// Pays, but for the call that does nothing: that one opens the next accounts, as many as a call may write.
struct Filling {
    senders: Vec<AccountId>,
    /// Until there are so many.
    accounts: u64,
}

impl Filling {
    /// The account that is opened as the one of this index; before all of them there is who opens them.
    fn id(&self, index: u64) -> AccountId {
        let sender = usize::try_from(index).ok().and_then(|index| self.senders.get(index)).cloned();
        sender.unwrap_or_else(|| blake2_256(&index.encode()).into())
    }
}

impl Program for Filling {
    fn weight(&self, call: &TrustedCall) -> u64 {
        Payments.weight(call)
    }

    fn execute(&self, call: &TrustedCall, execution: &Execution<'_>) -> Result<(), String> {
        let TrustedCall::Noop(_) = call else { return Payments.execute(call, execution) };
        let read = |key: &[u8]| storage::get(key).expect("written by the first shielding");
        let count = u64::decode(&mut &read(&accounts::count())[..]).expect("a number");
        let issuance = Balance::decode(&mut &read(&accounts::total_issuance())[..]).expect("a balance");
        let mut books = Books::decode(&mut &read(&accounts::books())[..]).expect("books");
        let until = self.accounts.min(count + ACCOUNTS_PER_FILL);
        for index in count..until {
            for (key, value) in accounts::entries(&self.id(index - 1)) {
                storage::set(&key, &value);
            }
        }
        storage::set(&accounts::count(), &until.encode());
        let minted = BALANCE * Balance::from(until - count);
        books.minted += minted;
        storage::set(&accounts::total_issuance(), &(issuance + minted).encode());
        storage::set(&accounts::books(), &books.encode());
        Ok(())
    }
}

/// The journal never grows enough.
pub const NO_SNAPSHOTS: SnapshotRules = SnapshotRules { journal_bytes: u64::MAX, piece_bytes: PIECE_BYTES };
/// As soon as the journal has grown to the size of the state.
pub const SNAPSHOT_AT_ONCE: SnapshotRules = SnapshotRules { journal_bytes: 0, piece_bytes: PIECE_BYTES };
/// The default.
const PIECE_BYTES: usize = 256 * 1024;
const IDENTITY: [u8; 32] = [9; 32];
const SENDERS: usize = 1_000;
const SLOT_MS: u64 = 300;
const SLOTS_PER_FINALITY: u64 = 20;
/// Two keys each, and three for the sums; a call may write 2 000.
const ACCOUNTS_PER_FILL: u64 = 900;
const FILLS_PER_BLOCK: u32 = 10;
