//! Twenty times something is killed under load, and nothing is lost, done twice or taken back; every unit is on exactly
//! one side in the end.
//!
//! `CLOISTER_CRASH_SEED` repeats a plan of kills; where exactly each of them hits, the machine decides.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, BlockNumber, UNIT};
use cloister_client::{Call, LayerOne, Selection, ShardClient};
use cloister_testing::{
    Network, Node, Sidechain, Users, Worker, WorkerOptions,
    calls::{self, AnyCall},
    deployment::SETTLE_DEADLINE,
    eventually,
    users::{ACCOUNTS, Heard, History, Reckoning},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use sp_keyring::Sr25519Keyring::Ferdie;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_twenty_kills_under_load() -> Result<()> {
    let seed = seed()?;
    println!("CLOISTER_CRASH_SEED={seed}");
    let mut scene = Scene::set().await?;
    let result = play(&mut scene, seed).await;
    let logs = || format!("{}{}{}", scene.network.alice.log(), scene.network.bob.log(), scene.worker.log());
    result.map_err(|error| anyhow::anyhow!("seed {seed}: {error:#}{}", logs()))
}

async fn play(scene: &mut Scene, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let nodes = [scene.network.alice.url(), scene.network.bob.url()];
    let mut users = Users::start(scene.shard.shard(), &nodes, scene.worker.url(), seed);
    for (number, kill) in (1..).zip(plan(&mut random)) {
        println!("[{:5.1} s] kill {number}: {kill:?}", scene.start.elapsed().as_secs_f64());
        scene.suffer(kill, &mut users).await.with_context(|| format!("kill {number}, {kill:?}"))?;
    }
    scene.recover(&mut users).await?;
    users.go_on(LAST_CALLS, PATIENCE).await?;
    let (histories, heard) = users.finish(PATIENCE).await?;
    println!("[{:5.1} s] all done", scene.start.elapsed().as_secs_f64());
    scene.account_for(&histories, &heard).await
}

/// What is killed, and when.
#[derive(Clone, Copy, Debug)]
struct Kill {
    victim: Victim,
    moment: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Enclave,
    /// Its enclave ends with it.
    Worker,
    Alice,
    Bob,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After so many more calls, and somewhere in a slot.
    AtWork { calls: u64, then: Duration },
    /// While it recovers from the kill before, after it has said this.
    Recovering { said: &'static str },
}

/// 12 enclaves, 5 workers and 3 nodes in any order.
fn plan(random: &mut StdRng) -> Vec<Kill> {
    let mut victims = vec![Victim::Enclave; 12];
    victims.extend([Victim::Worker; 5]);
    victims.extend((0..3).map(|_| if random.r#gen() { Victim::Alice } else { Victim::Bob }));
    victims.shuffle(random);
    let mut before = None;
    let kill = |victim: Victim| {
        let recovers = |before| matches!(before, Victim::Enclave | Victim::Worker);
        let again = before.replace(victim).is_some_and(recovers) && recovers(victim) && random.gen_bool(0.25);
        let moment = match again {
            true => Moment::Recovering { said: STAGES[random.gen_range(0..STAGES.len())] },
            false => {
                Moment::AtWork { calls: random.gen_range(1..15), then: Duration::from_millis(random.gen_range(0..600)) }
            }
        };
        Kill { victim, moment }
    };
    victims.into_iter().map(kill).collect()
}

/// What a worker says on its way to serving.
const STAGES: [&str; 3] = ["evidence", "recovered", "registering"];

/// Two validators, a worker with its data directory, and what the outside knows of the shard.
struct Scene {
    start: Instant,
    network: Network,
    worker: Worker,
    /// Whether the worker has ended and was not started again.
    is_down: bool,
    shard: ShardClient,
    sidechain: Sidechain,
}

impl Scene {
    async fn set() -> Result<Self> {
        let start = Instant::now();
        let network = Network::local_testnet().await?;
        // Operators do not start workers again as often as this, and these shall not wait.
        network.alice.chain().await?.change_policy(|policy| policy.incarnation_gap = INCARNATION_GAP).await?;
        let worker = Worker::start(network.alice.url(), WorkerOptions::default()).await?;
        let shard = eventually("the shard on layer one", SETTLE_DEADLINE, async || {
            let layer_one = LayerOne::connect(network.alice.url()).await?;
            Ok(Some(ShardClient::connect(&layer_one, &worker.url(), &Selection::default()).await?))
        })
        .await?;
        let birth = shard.shard();
        let sidechain = Sidechain::new(birth.genesis, birth.id, birth.entry.birth.genesis_commitment);
        let shieldings = ACCOUNTS.map(|account| {
            let sealed = birth.seal_beneficiary(&account.to_account_id())?;
            Ok(AnyCall::from(Call::shield_funds(&birth.id, &sealed, SHIELDED)))
        });
        let shieldings = shieldings.into_iter().collect::<Result<Vec<_>>>()?;
        network.alice.chain().await?.submit(&Ferdie.pair(), calls::batch_all(&shieldings)).await?;
        eventually("money for everybody", SETTLE_DEADLINE, async || {
            let consumed = shard.inbox_status().await?.shields_credited;
            Ok((consumed == ACCOUNTS.len() as u64).then_some(()))
        })
        .await?;
        Ok(Self { start, network, worker, is_down: false, shard, sidechain })
    }

    async fn suffer(&mut self, Kill { victim, moment }: Kill, users: &mut Users) -> Result<()> {
        match moment {
            Moment::Recovering { said } => {
                self.worker.listen_again().await?;
                self.worker.says(said).await?;
            }
            Moment::AtWork { calls, then } => {
                self.recover(users).await?;
                users.go_on(calls, PATIENCE).await?;
                // No condition: the kill shall hit anything that goes on in a slot.
                tokio::time::sleep(then).await;
            }
        }
        match victim {
            Victim::Enclave => {
                self.worker.enclave()?.kill()?;
                let status = self.worker.process().ended().await?;
                ensure!(status.code() == Some(ENCLAVE_DIED), "the worker ended with {status}");
                self.is_down = true;
            }
            Victim::Worker => {
                self.worker.kill().await?;
                self.is_down = true;
            }
            Victim::Alice => revive(&mut self.network.alice).await?,
            Victim::Bob => revive(&mut self.network.bob).await?,
        }
        Ok(())
    }

    /// The operator starts the worker again, if it has ended; then what the host keeps must hold all that was told.
    async fn recover(&mut self, users: &mut Users) -> Result<()> {
        if std::mem::take(&mut self.is_down) {
            self.worker.start_again().await?;
            users.worker_is_at(self.worker.url());
        }
        let heard = users.heard();
        self.sidechain.follow(self.worker.ports()).await?;
        heard.is_kept(&self.sidechain)
    }

    /// Compares what everybody has with what they did and were told.
    async fn account_for(&mut self, histories: &[History], heard: &Heard) -> Result<()> {
        let shard = self.shard.shard().id;
        let chain = self.network.alice.chain().await?;
        let selection = Selection { shard: Some(shard), mrenclave: None };
        let layer_one = LayerOne::connect(self.network.alice.url()).await?;
        self.shard = ShardClient::connect(&layer_one, &self.worker.url(), &selection).await?;

        for history in histories {
            ensure!(history.owner == Ferdie || !history.calls.is_empty(), "{} has done nothing", history.owner);
        }
        let left = histories.iter().flat_map(|history| &history.effects).filter(|effect| effect.to.is_none());
        ensure!(left.count() > 0, "nobody has left the shard");
        ensure!(!heard.finalized.is_empty(), "nobody was told that something is final");
        let (shard, ports, sidechain) = (&self.shard, self.worker.ports(), &mut self.sidechain);
        Reckoning { chain: &chain, shard, ports, sidechain, endowment: SHIELDED }.of(histories, heard).await
    }
}

/// Kills a node, starts it again, and waits until both finalize again, which takes both.
async fn revive(node: &mut Node) -> Result<()> {
    node.process().kill().await?;
    node.start_again().await?;
    let chain = node.chain().await?;
    let before = chain.finalized_head().await?.number;
    eventually("finality", SETTLE_DEADLINE, async || {
        Ok((chain.finalized_head().await?.number > before + 1).then_some(()))
    })
    .await
}

fn seed() -> Result<u64> {
    match env::var("CLOISTER_CRASH_SEED") {
        Ok(seed) => seed.parse().with_context(|| format!("CLOISTER_CRASH_SEED={seed}")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64),
    }
}

/// Blocks between two starts.
const INCARNATION_GAP: BlockNumber = 1;
/// What each account begins with: more than its owner can spend in the time.
const SHIELDED: Balance = 100_000 * UNIT;
/// What `cloister-worker` exits with when its enclave ends by itself.
const ENCLAVE_DIED: i32 = 3;
/// Calls after the last kill.
const LAST_CALLS: u64 = 20;
/// How long users may stand still.
const PATIENCE: Duration = Duration::from_secs(90);
