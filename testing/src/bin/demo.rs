//! The demo: Alice moves public money into a confidential account and pays Bob in private; the worker is killed in
//! the middle, and nothing is lost. Everything is real but the TEE, which is simulated. Ends with 0 only if all that it
//! claims holds.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use clap::Parser;
use cloister_chain_primitives::{Balance, UNIT};
use cloister_client::{Event, Selection, ShardClient, Signer, Wait};
use cloister_testing::{
    Deployment, Node, Worker, WorkerOptions,
    audit::{PublicRecord, Secret},
    deployment::SETTLE_DEADLINE,
    eventually,
    process::binary,
    signer, to_hex,
};
use sp_keyring::Sr25519Keyring;
use tokio::signal::unix::{SignalKind, signal};

/// How shells name an end by Ctrl-C.
const INTERRUPTED: u8 = 130;
/// What Alice shields.
const SHIELDED: Balance = 1_000 * UNIT;
/// What she pays Bob in private.
const PAID: Balance = 300 * UNIT;
/// What she pays him through layer one, as private.
const PAID_INDIRECTLY: Balance = 50 * UNIT;

/// Shields public money, pays privately, kills the worker, and shows that nothing is lost and what the public saw.
#[derive(Parser)]
#[command(name = "cloister-demo")]
struct Options {
    /// Keep node and worker running afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Dropping the story ends its processes.
    let told = tokio::select! {
        told = tell() => told,
        signal = interrupted() => return stopped(signal, ExitCode::from(INTERRUPTED)),
    };
    let (deployment, checks) = match told {
        Ok(told) => told,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let code = if checks.iter().all(Check::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !options.keep {
        return code;
    }
    invite(&deployment);
    stopped(interrupted().await, code)
}

fn stopped(signal: Result<()>, code: ExitCode) -> ExitCode {
    match signal {
        Ok(()) => {
            eprintln!("\nstopped");
            code
        }
        Err(error) => {
            eprintln!("\nerror: cannot wait for signals: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        signal = tokio::signal::ctrl_c() => Ok(signal?),
        _ = terminate.recv() => Ok(()),
    }
}

/// The whole story; what still runs, and what it has shown.
async fn tell() -> Result<(Deployment, Vec<Check>)> {
    let story = Story { start: Instant::now() };
    story.say("starting a node of layer one: a development chain of one validator");
    let node = Node::dev().await?;
    story.say(format!("node runs at {}", node.url()));

    story.say("starting a worker; its enclave registers on layer one with evidence, then bears a shard");
    let worker = Worker::start(node.url(), WorkerOptions::default()).await?;
    let mut deployment = Deployment::connect(node, worker).await?;
    let told = story.pay_privately(&mut deployment).await;
    let checks = told.map_err(|error| deployment.explain(error))?;

    show(&checks);
    story.say(if checks.iter().all(Check::holds) { "everything holds" } else { "NOT everything holds" });
    Ok((deployment, checks))
}

/// A claim, what it comes to and what was found.
struct Check {
    claim: String,
    expected: String,
    found: String,
}

impl Check {
    fn new(claim: &str, expected: impl ToString, found: impl ToString) -> Self {
        Self { claim: claim.into(), expected: expected.to_string(), found: found.to_string() }
    }

    fn holds(&self) -> bool {
        self.expected == self.found
    }
}

struct Story {
    start: Instant,
}

impl Story {
    fn say(&self, text: impl AsRef<str>) {
        println!("[{:5.1} s] {}", self.start.elapsed().as_secs_f64(), text.as_ref());
    }

    async fn pay_privately(&self, deployment: &mut Deployment) -> Result<Vec<Check>> {
        let (alice, bob) = (signer(Sr25519Keyring::Alice), signer(Sr25519Keyring::Bob));
        self.introduce(deployment);

        self.say(format!("Alice shields {} for her confidential account", units(SHIELDED)));
        let shielding = deployment.shard.shield(&alice, &alice.account(), SHIELDED, Wait::Finalized).await?;
        let inclusion = shielding.extrinsic.inclusion.context("a finalized extrinsic is in no block")?;
        self.say(format!("  final in block {} of layer one", inclusion.block_number));
        eventually("Alice's confidential money", SETTLE_DEADLINE, async || {
            let balance = deployment.shard.free_balance(&alice).await?;
            Ok((balance > 0).then_some(()))
        })
        .await?;
        self.say("  credited by the enclave, which read it from layer one's storage by proof");

        self.say(format!("Alice pays Bob {} on the shard", units(PAID)));
        let mut payment = deployment.shard.transfer(&alice, &bob.account(), PAID).await?;
        payment.finalized_reporting(SETTLE_DEADLINE, |update| self.say(format!("  {:?}", update.status))).await?;
        self.say("  its block is anchored on layer one: not even the worker's operator can take it back");

        let mut checks = vec![Check::new("the payment's last status", "Finalized", "Finalized")];
        checks.extend(self.kill_the_worker(deployment, &alice, &bob).await?);
        checks.extend(self.pay_through_layer_one(deployment, &alice, &bob).await?);

        self.say("Charlie asks for Alice's balance");
        let answers = deployment.ask_as_stranger(&alice, &signer(Sr25519Keyring::Charlie)).await?;
        for (form, answer) in ["published", "bound"].iter().zip(answers) {
            let answer = match answer {
                Err(cloister_client::worker::Error::Refused(reason)) => {
                    self.say(format!("  {form} query: {reason}"));
                    "refused".to_owned()
                }
                other => format!("{other:?}"),
            };
            checks.push(Check::new(&format!("a stranger's {form} query of Alice's balance"), "refused", answer));
        }

        checks.push(self.meet_an_unregistered_worker(deployment).await?);
        checks.extend(self.look_as_the_public(deployment, &alice, &bob).await?);
        Ok(checks)
    }

    /// Without warning; then it is started again as an operator would.
    async fn kill_the_worker(&self, deployment: &mut Deployment, alice: &Signer, bob: &Signer) -> Result<Vec<Check>> {
        self.say("the worker is killed (SIGKILL), and its enclave ends with it");
        let (shard, before) = (deployment.shard.shard().id, deployment.shard.shard().enclave.incarnation_key);
        deployment.worker.kill().await?;
        self.say("  started again: it recovers the shard from what it had stored, and registers with new keys");
        deployment.start_worker_again().await?;
        let enclave = &deployment.shard.shard().enclave;
        self.say(format!(
            "  serves the same shard; the incarnation of the enclave is {}",
            to_hex(enclave.incarnation_key)
        ));

        self.say("both read their balances through TLS that ends in the enclave, with its key pinned from layer one");
        let (alice_has, bob_has) = balances(deployment, alice, bob).await?;
        let nonce = deployment.shard.nonce(alice).await?;
        Ok(vec![
            Check::new("the shard after the kill", to_hex(shard), to_hex(deployment.shard.shard().id)),
            Check::new("its enclave after the kill", "a new start", name_of(before, enclave.incarnation_key)),
            Check::new("Alice's confidential balance", units(SHIELDED - PAID), units(alice_has)),
            Check::new("Bob's confidential balance", units(PAID), units(bob_has)),
            Check::new("Alice's confidential nonce", 1, nonce),
        ])
    }

    /// As the worker cannot prevent.
    async fn pay_through_layer_one(&self, deployment: &Deployment, alice: &Signer, bob: &Signer) -> Result<Vec<Check>> {
        let amount = units(PAID_INDIRECTLY);
        self.say(format!("Alice pays Bob {amount} through layer one's inbox, which no worker can pass over"));
        let invocation = deployment.shard.transfer_indirect(alice, &bob.account(), PAID_INDIRECTLY).await?;
        self.say(format!("  final in block {} of layer one, encrypted to the enclave", invocation.block_number));
        let outcome = deployment.shard.executed(alice, &invocation, SETTLE_DEADLINE).await?;
        self.say(format!(
            "  executed in block {} of the shard; the enclave has said so on layer one",
            outcome.block_number
        ));
        let (alice_has, bob_has) = balances(deployment, alice, bob).await?;
        let result = outcome.result.map_or_else(|reason| reason, |()| "executed".into());
        Ok(vec![
            Check::new("the payment through layer one", "executed", result),
            Check::new("Alice's confidential balance then", units(SHIELDED - PAID - PAID_INDIRECTLY), units(alice_has)),
            Check::new("Bob's confidential balance then", units(PAID + PAID_INDIRECTLY), units(bob_has)),
        ])
    }

    fn introduce(&self, deployment: &Deployment) {
        let shard = deployment.shard.shard();
        self.say(format!("worker serves at {}", deployment.worker.url()));
        self.say(format!("  shard        {}", to_hex(shard.id)));
        self.say(format!("  measurement  {}", to_hex(shard.enclave.fingerprint)));
        self.say(format!(
            "  registered   its evidence names block {}; layer one's runtime verified it: {}, {}",
            shard.enclave.bound_block,
            shard.enclave.kind.name(),
            shard.enclave.tcb_status.name()
        ));
        self.say("  SIMULATED TEE: the measurement is self-declared, and nothing keeps this machine's owner out");
    }

    /// A worker whose enclave nobody has paid a registration for claims to serve the shard.
    async fn meet_an_unregistered_worker(&self, deployment: &Deployment) -> Result<Check> {
        self.say("a second worker, whose enclave is not registered, claims to serve the same shard");
        let impostor = Worker::start_unregistered(deployment.node.url()).await?;
        let selection = Selection { shard: Some(deployment.shard.shard().id), mrenclave: None };
        let met = ShardClient::connect(&deployment.layer_one, &impostor.url(), &selection).await;
        let found = match met {
            Ok(_) => "served".to_owned(),
            Err(error) => {
                let reason = format!("{:#}", anyhow::Error::from(error));
                self.say(format!("  the client refuses to talk to it: {reason}"));
                if reason.contains("TLS key") { "refused".to_owned() } else { reason }
            }
        };
        Ok(Check::new("an unregistered worker", "refused", found))
    }

    /// Reads all of layer one, as anybody can.
    async fn look_as_the_public(&self, deployment: &Deployment, alice: &Signer, bob: &Signer) -> Result<Vec<Check>> {
        // Whatever the enclave still had to say about the payment is on layer one by then.
        let until = deployment.blocks_finalized(3).await?;
        let secrets = [
            Secret::account("Bob's account", &bob.account()),
            Secret::amount("the amount paid", PAID),
            Secret::amount("the amount paid through layer one", PAID_INDIRECTLY),
            Secret::amount("Alice's confidential balance", SHIELDED - PAID),
            Secret::amount("Alice's last confidential balance", SHIELDED - PAID - PAID_INDIRECTLY),
            Secret::amount("Bob's last confidential balance", PAID + PAID_INDIRECTLY),
        ];
        let record = PublicRecord::read(&deployment.chain, &deployment.layer_one, until, &secrets).await?;
        self.say(format!(
            "the public reads blocks 1 to {until} of layer one: {} signed extrinsics, {} events, {} bytes",
            record.extrinsics.len(),
            record.events.len(),
            record.bytes
        ));
        for event in record.events.iter().filter(|(_, event)| event.pallet == "EnclaveBridge") {
            self.say(format!("  block {}: {}", event.0, shortened(&event.1.to_string())));
        }

        let shieldings = record.events_of("EnclaveBridge", "ShieldFunds");
        let amounts: Vec<_> = shieldings.iter().map(|event| amount_of(event)).collect::<Result<_>>()?;
        let shield_funds = (54, 2);
        let shielders: Vec<_> = record.extrinsics.iter().filter(|extrinsic| extrinsic.call == shield_funds).collect();
        let shielders: Vec<_> = shielders.iter().map(|extrinsic| extrinsic.signer.to_string()).collect();
        let found = if record.found.is_empty() { "nothing".into() } else { record.found.join(", ") };
        Ok(vec![
            Check::new("shieldings that the public sees", units(SHIELDED), amounts.join(", ")),
            Check::new("who shielded", alice.account(), shielders.join(", ")),
            Check::new("what the public sees of Bob and of 300, 50, 700, 650 or 350 UNIT", "nothing", found),
            Check::new("the shard's escrow on layer one", units(SHIELDED), units(deployment.escrow().await?)),
        ])
    }
}

async fn balances(deployment: &Deployment, alice: &Signer, bob: &Signer) -> Result<(Balance, Balance)> {
    Ok((deployment.shard.free_balance(alice).await?, deployment.shard.free_balance(bob).await?))
}

fn name_of(before: [u8; 32], now: [u8; 32]) -> &'static str {
    if before == now { "the same start" } else { "a new start" }
}

/// Prints the table.
fn show(checks: &[Check]) {
    let width =
        |column: fn(&Check) -> &str| checks.iter().map(|check| column(check).chars().count()).max().unwrap_or(0);
    let (claims, expecteds) = (width(|check| &check.claim), width(|check| &check.expected));
    println!("\n  {:claims$}  {:expecteds$}  found", "", "expected");
    for check in checks {
        let mark = if check.holds() { "ok" } else { "WRONG" };
        println!("  {:claims$}  {:expecteds$}  {}  {mark}", check.claim, check.expected, check.found);
    }
    println!();
}

fn amount_of(shielding: &Event) -> Result<String> {
    let planck = shielding.fields["amount"].as_str().context("a shielding without an amount")?;
    Ok(units(planck.parse()?))
}

fn units(planck: Balance) -> String {
    format!("{}.{:03} UNIT", planck / UNIT, planck % UNIT / (UNIT / 1000))
}

/// Long hex is of no use to a reader.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 18;
    let mut short = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("0x") {
        let digits = rest[start + 2..].chars().take_while(char::is_ascii_hexdigit).count();
        let end = start + 2 + digits;
        if digits > SHOWN {
            short.push_str(&rest[..start + SHOWN]);
            short.push('…');
        } else {
            short.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    short + rest
}

fn invite(deployment: &Deployment) {
    let (node, worker) = (deployment.node.url(), deployment.worker.url());
    println!("Node and worker run on; Ctrl-C ends them. In another terminal:\n");
    println!("  export CLOISTER_NODE_URL={node} CLOISTER_WORKER_URL={worker}");
    let cloister = binary("cloister").map_or("cloister".into(), |path| path.display().to_string());
    for command in [
        "balance //Alice",
        "trusted balance //Bob",
        "trusted --direct transfer //Bob //Charlie 100",
        "trusted balance //Charlie",
    ] {
        println!("  {cloister} {command}");
    }
    println!("\nLogs: {} and {}", deployment.node.log().path().display(), deployment.worker.log().path().display());
}
