//! Users who keep a shard busy whatever ends and is started again: who is not told that something is done sends the
//! very same again. They remember what they were told, and fail at once when a shard takes it back.

mod direct;
mod indirect;
mod reckoning;
mod shielding;

use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Debug, Display},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, H256, Nonce, UNIT, UNSHIELD_FEE};
use cloister_client::{
    LayerOne, Selection, Shard, ShardClient, Signer,
    shard::Error as ShardError,
    worker::{Operation, Stage},
};
use cloister_wire::{Outcome, TrustedCall, TrustedGetter, TrustedOperation};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{LOOK_INTERVAL, signer};

pub use reckoning::Reckoning;

/// Who has money on the shard.
pub const ACCOUNTS: [Sr25519Keyring; 6] = [Alice, Bob, Charlie, Dave, Eve, Ferdie];
/// Of those, who calls the enclave itself. On layer one //Alice pays for the worker, so nobody else uses that account.
const DIRECT: [Sr25519Keyring; 3] = [Alice, Bob, Charlie];
/// Who calls through layer one.
const INDIRECT: [Sr25519Keyring; 2] = [Dave, Eve];
/// Who shields for all.
const SHIELDING: Sr25519Keyring = Ferdie;

/// Whom they pay on layer one. Nobody else does.
pub const OUTSIDE: Sr25519Keyring = Sr25519Keyring::Two;

/// Users at work, each in a task of their own.
pub struct Users {
    tasks: JoinSet<Result<History>>,
    stop: watch::Sender<bool>,
    worker_url: watch::Sender<String>,
    told: Arc<Told>,
}

/// What a user did in the end.
#[derive(Clone, Debug)]
pub struct History {
    /// The user.
    pub owner: Sr25519Keyring,
    /// Calls, by their nonces: the operation, and the height of the shard's block with it.
    pub calls: Vec<(H256, u64)>,
    /// What moved money.
    pub effects: Vec<Effect>,
}

/// Money that moved.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    /// From whom on the shard; from layer one if absent.
    pub from: Option<Sr25519Keyring>,
    /// To whom on the shard; to [`OUTSIDE`] on layer one if absent.
    pub to: Option<Sr25519Keyring>,
    /// Planck.
    pub amount: Balance,
    /// Planck that the sender pays the shard for it.
    pub fee: Balance,
}

impl Users {
    /// Starts them, spread over the nodes. Each of [`ACCOUNTS`] must have money on the shard.
    pub fn start(shard: &Shard, node_urls: &[&str], worker_url: String, seed: u64) -> Self {
        let told = Arc::new(Told::default());
        let (stop, stopped) = watch::channel(false);
        let (worker_url, at) = watch::channel(worker_url);
        let mut tasks = JoinSet::new();
        for (number, (who, node_url)) in (0..).zip(ACCOUNTS.into_iter().zip(node_urls.iter().cycle())) {
            let user = User {
                who,
                signer: signer(who),
                shard: shard.clone(),
                node_url: (*node_url).into(),
                worker_url: at.clone(),
                stopped: stopped.clone(),
                told: told.clone(),
                random: StdRng::seed_from_u64(seed.wrapping_add(number)),
                connection: None,
                trouble: String::new(),
            };
            match who {
                who if DIRECT.contains(&who) => tasks.spawn(direct::pay(user)),
                who if INDIRECT.contains(&who) => tasks.spawn(indirect::pay(user)),
                SHIELDING => tasks.spawn(shielding::shield(user)),
                who => unreachable!("{who} has nothing to do"),
            };
        }
        Self { tasks, stop, worker_url, told }
    }

    /// Tells them where the worker is after it was started again.
    pub fn worker_is_at(&self, url: String) {
        self.worker_url.send_replace(url);
    }

    /// Waits until they were told of so many more executed calls than now.
    pub async fn go_on(&mut self, more: u64, deadline: Duration) -> Result<()> {
        let mut executed = self.told.executed.subscribe();
        let wanted = *executed.borrow() + more;
        tokio::select! {
            told = timeout(deadline, executed.wait_for(|executed| *executed >= wanted)) => {
                told.with_context(|| format!("not {more} more calls within {deadline:?}"))??;
                Ok(())
            }
            Some(ended) = self.tasks.join_next() => {
                let history = ended??;
                bail!("{} has ended early", history.owner)
            }
        }
    }

    /// What they were told so far.
    pub fn heard(&self) -> Heard {
        self.told.heard().clone()
    }

    /// Lets them end what they have begun; what they did in all.
    pub async fn finish(mut self, deadline: Duration) -> Result<(Vec<History>, Heard)> {
        self.stop.send_replace(true);
        let mut histories = Vec::new();
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                histories.push(ended??);
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(deadline, ended).await.context("users do not get done what they have begun")??;
        Ok((histories, self.heard()))
    }
}

/// What the shard's enclave said.
#[derive(Clone, Default, Debug)]
pub struct Heard {
    /// Operations that are in a block, with its hash.
    pub in_block: HashMap<H256, H256>,
    /// Those of them that are final.
    pub finalized: Vec<H256>,
    /// Height and commitment of states that were read.
    pub states: HashSet<(u64, H256)>,
}

struct Told {
    executed: watch::Sender<u64>,
    heard: Mutex<Heard>,
}

impl Default for Told {
    fn default() -> Self {
        Self { executed: watch::Sender::new(0), heard: Mutex::default() }
    }
}

impl Told {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn executed(&self) {
        self.executed.send_modify(|executed| *executed += 1);
    }

    fn in_block(&self, operation: H256, block: H256) {
        self.heard().in_block.insert(operation, block);
        self.executed();
    }

    fn is_in_block(&self, operation: &H256) -> bool {
        self.heard().in_block.contains_key(operation)
    }

    /// Whoever wants to know whether it becomes final waits beside their work, for as long as the connection lasts.
    fn follow(self: &Arc<Self>, mut operation: Operation) {
        let told = self.clone();
        tokio::spawn(async move {
            if operation.reached(Stage::Finalized, FINALITY, |_| ()).await.is_ok() {
                told.heard().finalized.push(operation.hash());
            }
        });
    }
}

/// Somebody with an account on the shard that nobody else uses.
struct User {
    who: Sr25519Keyring,
    signer: Signer,
    shard: Shard,
    node_url: String,
    worker_url: watch::Receiver<String>,
    stopped: watch::Receiver<bool>,
    told: Arc<Told>,
    random: StdRng,
    connection: Option<ShardClient>,
    /// Why the last attempt at something came to nothing.
    trouble: String,
}

/// A payment, signed once.
#[derive(Debug)]
struct Payment {
    nonce: Nonce,
    operation: TrustedOperation,
    effect: Effect,
    /// Height of its block, once its sender has seen the outcome.
    block: Option<u64>,
}

impl User {
    fn goes_on(&self) -> bool {
        !*self.stopped.borrow()
    }

    /// Pays a little to somebody, on the shard or on layer one.
    fn payment(&mut self, nonce: Nonce, is_direct: bool) -> Result<Payment> {
        let others: Vec<_> = ACCOUNTS.into_iter().filter(|other| *other != self.who).collect();
        let somebody = *others.choose(&mut self.random).context("there is nobody else")?;
        let to = (!self.random.gen_bool(LEAVES)).then_some(somebody);
        let (from, amount) = (self.signer.account(), self.amount());
        let (call, exit) = match to {
            Some(to) => (TrustedCall::BalanceTransfer(from, to.to_account_id(), amount), 0),
            None => {
                let call = TrustedCall::BalanceUnshield(from, OUTSIDE.to_account_id(), amount, self.shard.id);
                (call, UNSHIELD_FEE)
            }
        };
        let signed = self.shard.sign_call(call, nonce, &self.signer)?;
        let operation =
            if is_direct { TrustedOperation::DirectCall(signed) } else { TrustedOperation::IndirectCall(signed) };
        let fee = exit + if is_direct { DIRECT_CALL_FEE } else { 0 };
        Ok(Payment { nonce, operation, effect: Effect { from: Some(self.who), to, amount, fee }, block: None })
    }

    fn amount(&mut self) -> Balance {
        self.random.gen_range(1..=1_000) * (UNIT / 1_000)
    }

    /// A connection to where the worker is now, if it serves.
    async fn connection(&mut self) -> Result<Option<ShardClient>> {
        let url = self.worker_url.borrow().clone();
        if let Some(connection) = self.connection.as_ref().filter(|connection| connection.worker().url() == url) {
            return Ok(Some(connection.clone()));
        }
        let selection = Selection { shard: Some(self.shard.id), mrenclave: None };
        let connecting = async {
            let layer_one = LayerOne::connect(&self.node_url).await?;
            ShardClient::connect(&layer_one, &url, &selection).await
        };
        match timeout(TURN, connecting).await {
            Ok(Ok(connection)) => self.connection = Some(connection),
            Ok(Err(error)) => self.lost(error)?,
            Err(_) => self.in_trouble("no connection in time"),
        }
        Ok(self.connection.clone())
    }

    /// The next nonce, if the enclave answers.
    async fn nonce(&mut self, shard: &ShardClient) -> Result<Option<Nonce>> {
        match shard.ask(&self.signer, TrustedGetter::Nonce(self.signer.account())).await {
            Ok(answer) => {
                self.told.heard().states.insert((answer.block_number, answer.commitment));
                Ok(Some(answer.value.unwrap_or_default()))
            }
            Err(error) => self.lost(error).map(|()| None),
        }
    }

    /// What became of a payment, if the enclave answers; inside, if it was executed.
    async fn outcome(&mut self, shard: &ShardClient, payment: &Payment) -> Result<Option<Option<Outcome>>> {
        match shard.outcome(&self.signer, payment.operation.hash()).await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) => self.lost(error).map(|()| None),
        }
    }

    /// An answer did not come. One that contradicts itself or its question is no excuse.
    fn lost(&mut self, error: impl Into<ShardError>) -> Result<()> {
        let error = error.into();
        match error {
            ShardError::BadAnswerSignature
            | ShardError::OtherQuery
            | ShardError::OtherChain { .. }
            | ShardError::OtherOperation { .. }
            | ShardError::OtherShard { .. }
            | ShardError::Undecodable => Err(error.into()),
            error => {
                self.in_trouble(format_args!("{:#}", anyhow::Error::from(error)));
                Ok(())
            }
        }
    }

    fn in_trouble(&mut self, trouble: impl Display) {
        self.connection = None;
        self.trouble = trouble.to_string();
    }

    /// Attempts something until it is done.
    async fn persist<T>(
        &mut self,
        what: &mut T,
        mut attempt: impl AsyncFnMut(&mut Self, &mut T) -> Result<bool>,
    ) -> Result<()>
    where
        T: Debug,
    {
        let start = Instant::now();
        while !attempt(self, what).await.with_context(|| format!("{}: {what:?}", self.who))? {
            ensure!(start.elapsed() < PATIENCE, "{}: not within {PATIENCE:?}: {what:?}: {}", self.who, self.trouble);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }
}

impl Payment {
    /// It was executed without failure.
    fn is_done(&mut self, outcome: Option<Outcome>) -> Result<()> {
        let outcome = outcome.with_context(|| format!("the nonce of {self:?} is used, and it has no outcome"))?;
        ensure!(outcome.result.is_ok(), "{self:?} has failed: {outcome:?}");
        self.block = Some(outcome.block_number);
        Ok(())
    }
}

impl History {
    fn of(owner: Sr25519Keyring) -> Self {
        Self { owner, calls: Vec::new(), effects: Vec::new() }
    }

    fn next_nonce(&self) -> Result<Nonce> {
        Ok(Nonce::try_from(self.calls.len())?)
    }

    fn add(&mut self, payment: &Payment) -> Result<()> {
        self.calls.push((payment.operation.hash(), payment.block.context("not executed")?));
        self.effects.push(payment.effect);
        Ok(())
    }
}

impl Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").field(&self.who).finish()
    }
}

/// How many payments of all leave the shard.
const LEAVES: f64 = 0.2;
/// How long one answer is awaited.
const TURN: Duration = Duration::from_secs(20);
/// How long something may take with all that is sent again.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long anybody waits for finality.
const FINALITY: Duration = Duration::from_secs(60);
