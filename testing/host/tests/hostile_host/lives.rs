//! Lies at random, under a seed: before the enclave serves and while it does. Whatever they do, it ends for a typed
//! reason or goes on and tells the truth, and an honest restart from what it asked to be kept has all that was confirmed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloister_client::{Balance, DIRECT_CALL_FEE};
use cloister_hostile_host::{Client, Coverage, Disk, Host, LayerOne, Liar, PATIENCE, Rate, Start, account};
use cloister_link::StopReason;
use tokio::time::{Instant, timeout};

use crate::{PAID, SEED, SHIELDED, funded};

/// How lives ended.
#[derive(Default, Debug)]
struct Ends {
    stopped: u32,
    served: u32,
    held_up: u32,
    reasons: BTreeMap<String, u32>,
    confirmed: u32,
}

/// Where all lives begin: a shard with an anchored payment, whose enclave is gone.
struct Beginning {
    layer_one: LayerOne,
    disk: Disk,
}

/// What clients know of Alice's nonce: those below `confirmed` are, those from `sent` on were never used.
#[derive(Clone, Copy, Debug)]
struct Known {
    confirmed: u32,
    sent: u32,
}

impl Known {
    fn learn(&mut self, nonce: u32, seed: u64) {
        assert!((self.confirmed..=self.sent).contains(&nonce), "seed {seed}: nonce {nonce}, known {self:?}");
        self.confirmed = nonce;
    }

    fn may_have(&self, balance: Balance) -> bool {
        (self.confirmed..=self.sent).any(|nonce| balance == left_after(nonce))
    }
}

fn left_after(nonce: u32) -> Balance {
    SHIELDED - u128::from(nonce) * (PAID + DIRECT_CALL_FEE)
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_under_a_seed_end_in_a_typed_stop_or_the_truth() {
    let seeds = std::env::var("CLOISTER_HOST_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut host = funded().await;
    host.kill();
    let beginning = Arc::new(Beginning { layer_one: host.layer_one.fork(), disk: host.disk() });
    drop(host);
    let (coverage, ends) = (Arc::default(), Arc::default());
    let next = Arc::new(Mutex::new(0..seeds));
    let mut lives = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, beginning, coverage, ends) =
            (Arc::clone(&next), beginning.clone(), Arc::clone(&coverage), Arc::clone(&ends));
        lives.spawn(async move {
            loop {
                let Some(seed) = next.lock().unwrap().next() else { return };
                live(seed, &beginning, &coverage, &ends).await;
            }
        });
    }
    while let Some(life) = lives.join_next().await {
        life.unwrap();
    }
    let (coverage, ends): (Coverage, Ends) = (take(&coverage), take(&ends));
    println!("{ends:#?}\n{coverage:#?}");
    if seeds >= SEEDS {
        assert!(ends.stopped > 0 && ends.served > 0 && ends.confirmed > 0, "{ends:?}");
        let missing: Vec<_> = LIES.iter().filter(|lie| !coverage.contains_key(*lie)).collect();
        assert!(missing.is_empty(), "{missing:?} were not told");
    }
}

fn take<T: Default>(shared: &Mutex<T>) -> T {
    std::mem::take(&mut *shared.lock().unwrap())
}

async fn live(seed: u64, beginning: &Beginning, coverage: &Arc<Mutex<Coverage>>, ends: &Mutex<Ends>) {
    let layer_one = beginning.layer_one.fork();
    let rate = Rate { per_mille: [5, 20, 60, 200][seed as usize % 4], breaches: (seed / 8).is_multiple_of(3) };
    let lie = Liar::new(seed, rate, coverage.clone()).into_lie();
    // Half of them hear no lie before they serve.
    let from_the_start = (seed / 4).is_multiple_of(2);
    let start = Start::of(&layer_one, SEED).with_disk(beginning.disk.clone());
    let (mut host, later) = match from_the_start {
        true => (Host::start(&layer_one, Start { lie, ..start }).await, None),
        false => (Host::served(&layer_one, start).await, Some(lie)),
    };
    if let Some(lie) = later {
        host.tell(lie);
    }
    host.until("who it is", |seen| seen.identity.clone()).await;
    let mut known = Known { confirmed: 1, sent: 1 };
    let ends_at = layer_one.height() + BLOCKS;
    let mut shielded = 0;
    while layer_one.height() < ends_at && !host.seen().ended() {
        if shielded == 0 && layer_one.height() + BLOCKS / 2 > ends_at {
            shielded = PAID;
            layer_one.shield(&host.identity().birth, &account("Charlie"), shielded);
        }
        if !host.seen().serving || timeout(A_WHILE, act(&host, seed, &mut known)).await.is_err() {
            layer_one.passes(1).await;
        }
    }
    host.be_honest();
    let end = end(&mut host, seed, &mut known).await;
    {
        let mut ends = ends.lock().unwrap();
        match end {
            End::Stopped(reason) => {
                ends.stopped += 1;
                *ends.reasons.entry(reason).or_default() += 1;
            }
            End::Served => ends.served += 1,
            End::HeldUp => ends.held_up += 1,
        }
        ends.confirmed += known.confirmed - 1;
    }
    let (disk, shard) = (host.seen().disk, host.identity().shard);
    drop(host);
    for anchor in layer_one.anchors(&shard) {
        let block = disk.blocks.get(&anchor.number).map(|(hash, _)| *hash);
        assert_eq!(block, Some(anchor.header_hash), "seed {seed}: anchored and never to be kept");
    }
    // An honest restart.
    let host = Host::served(&layer_one, Start::of(&layer_one, SEED).with_disk(disk)).await;
    let entries = if shielded == 0 { 1 } else { 2 };
    host.until("the inbox is consumed", |seen| (seen.inbox_consumed == entries).then_some(())).await;
    let alice = host.client("Alice").await;
    known.learn(alice.nonce().await.unwrap(), seed);
    let nonce = known.confirmed;
    assert_eq!(alice.balance().await.unwrap(), left_after(nonce), "seed {seed}");
    assert_eq!(host.client("Bob").await.balance().await.unwrap(), u128::from(nonce) * PAID, "seed {seed}");
    assert_eq!(host.client("Charlie").await.balance().await.unwrap(), shielded, "seed {seed}");
    crate::pays(&alice, nonce).await;
    host.anchored().await;
}

/// A client connects and pays, as far as it gets.
async fn act(host: &Host, seed: u64, known: &mut Known) {
    let Ok(alice) = Client::connect(host, "Alice").await else { return };
    for _ in 0..3 {
        let Ok(balance) = alice.balance().await else { return };
        assert!(known.may_have(balance), "seed {seed}: {balance} by {known:?}");
        let Ok(nonce) = alice.nonce().await else { return };
        known.learn(nonce, seed);
        // Whatever becomes of it, from now on it may be executed.
        known.sent = known.sent.max(nonce + 1);
        if alice.pay(&account("Bob"), PAID, nonce).await.is_err() {
            return;
        }
        known.learn(nonce + 1, seed);
    }
}

enum End {
    Stopped(String),
    Served,
    /// What it was not told, or told that it is not stored, it waits for.
    HeldUp,
}

/// How it is once nobody lies any more.
async fn end(host: &mut Host, seed: u64, known: &mut Known) -> End {
    if !host.seen().ended() {
        if host.seen().serving {
            let deadline = Instant::now() + PATIENCE;
            // What was on its way may still end it, and what it has asked for in vain it asks for again.
            while !host.seen().ended() && Instant::now() < deadline {
                let asking = async {
                    let alice = Client::connect(host, "Alice").await.ok()?;
                    alice.nonce().await.ok()
                };
                if let Ok(Some(nonce)) = timeout(A_WHILE, asking).await {
                    known.learn(nonce, seed);
                    return End::Served;
                }
                host.layer_one.passes(1).await;
            }
        }
        if !host.seen().ended() {
            assert!(!host.seen().serving, "seed {seed}: it serves and does not answer");
            return End::HeldUp;
        }
    }
    let reason = host.stopped().await;
    // An internal error would be a defect that a host can bring about.
    let typed = matches!(reason, StopReason::Protocol(_) | StopReason::Kept(_) | StopReason::KeptTooOld(_));
    assert!(typed, "seed {seed}: {reason:?}");
    End::Stopped(reason.to_string())
}

/// In the test run; `CLOISTER_HOST_SEEDS` is for more.
const SEEDS: u64 = 48;
const AT_ONCE: usize = 4;
/// How long each is lied to.
const BLOCKS: u32 = 40;
/// After this a client gives up. Nothing depends on how long it is.
const A_WHILE: Duration = Duration::from_millis(700);
/// All must be told.
const LIES: &[&str] = &[
    "dropped",
    "repeated",
    "delayed",
    "came again",
    "invented",
    "frame broken",
    "finality altered",
    "proof altered",
    "clock altered",
    "acknowledgement altered",
    "client's bytes altered",
    "answer's bytes altered",
    "head altered",
    "question altered",
    "extrinsic altered",
    "what is to be kept altered",
];
