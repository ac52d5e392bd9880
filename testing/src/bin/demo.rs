//! The demo: Alice moves public money into a confidential account and pays Bob in private, by either way; the worker
//! is killed and started again; Bob sends money to Ferdie's public account, and both ledgers add up. Everything is real
//! but the TEE, which is simulated. Ends with 0 only if all that it claims holds.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use clap::Parser;
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, UNIT, UNSHIELD_FEE, Verdict};
use cloister_client::{Event, Route, Selection, ShardClient, Wait};
use cloister_testing::{
    Cli, Deployment, Ledgers, Node, Worker, WorkerOptions,
    audit::{PublicRecord, Secret},
    deployment::SETTLE_DEADLINE,
    eventually,
    process::binary,
    signer, to_hex,
};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Ferdie};
use tokio::signal::unix::{SignalKind, signal};

/// How shells name an end by Ctrl-C.
const INTERRUPTED: u8 = 130;
/// What Alice shields.
const SHIELDED: Balance = 1_000 * UNIT;
/// What she pays Bob in private.
const PAID: Balance = 300 * UNIT;
/// What she pays him through layer one, as private.
const PAID_INDIRECTLY: Balance = 50 * UNIT;
/// What he sends to Ferdie's public account.
const UNSHIELDED: Balance = 200 * UNIT;
/// What she has after her payments: one of them went to the enclave directly, and so paid the shard's fee.
const LEFT_TO_ALICE: Balance = SHIELDED - PAID - DIRECT_CALL_FEE - PAID_INDIRECTLY;
/// What he has in the end.
const LEFT_TO_BOB: Balance = PAID + PAID_INDIRECTLY - UNSHIELDED - DIRECT_CALL_FEE - UNSHIELD_FEE;

/// Shields public money, pays privately, kills the worker, takes money out again, and shows that nothing is lost and
/// what the public saw.
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
    let mut story = Story { start: Instant::now(), checks: Vec::new() };
    story.chapter("A public chain, and a worker with an enclave");
    story.say("starting a node of layer one: a development chain of one validator");
    let node = Node::dev().await?;
    story.say(format!("node runs at {}", node.url()));
    story.say("starting a worker; its enclave registers on layer one with evidence, then bears a shard");
    let worker = Worker::start(node.url(), WorkerOptions::default()).await?;
    let mut deployment = Deployment::connect(node, worker).await?;
    let told = story.go_on(&mut deployment).await;
    told.map_err(|error| deployment.explain(error))?;

    show(&story.checks);
    story.say(if story.checks.iter().all(Check::holds) { "everything holds" } else { "NOT everything holds" });
    Ok((deployment, story.checks))
}

/// A claim, what it comes to and what was found.
struct Check {
    claim: String,
    expected: String,
    found: String,
}

impl Check {
    fn holds(&self) -> bool {
        self.expected == self.found
    }
}

struct Story {
    start: Instant,
    checks: Vec<Check>,
}

impl Story {
    fn chapter(&self, title: &str) {
        println!("\n--- {title}");
    }

    fn say(&self, text: impl AsRef<str>) {
        println!("[{:5.1} s] {}", self.start.elapsed().as_secs_f64(), text.as_ref());
    }

    fn check(&mut self, claim: &str, expected: impl ToString, found: impl ToString) {
        let check = Check { claim: claim.into(), expected: expected.to_string(), found: found.to_string() };
        self.checks.push(check);
    }

    async fn go_on(&mut self, deployment: &mut Deployment) -> Result<()> {
        self.introduce(deployment);
        self.shield(deployment).await?;
        self.pay_directly(deployment).await?;
        self.pay_through_layer_one(deployment).await?;
        self.kill_the_worker(deployment).await?;
        self.unshield(deployment).await?;
        self.turn_strangers_away(deployment).await?;
        self.look_as_the_public(deployment).await?;
        self.open_both_ledgers(deployment).await
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

    async fn shield(&self, deployment: &Deployment) -> Result<()> {
        self.chapter("Money goes in");
        let alice = signer(Alice);
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
        Ok(())
    }

    async fn pay_directly(&mut self, deployment: &Deployment) -> Result<()> {
        self.chapter("Private payments");
        self.say(format!("Alice pays Bob {} on the shard; the call goes to the enclave itself", units(PAID)));
        let mut payment = deployment.shard.transfer(&signer(Alice), &Bob.to_account_id(), PAID).await?;
        let mut last = String::new();
        let finalized = payment.finalized_reporting(SETTLE_DEADLINE, |update| {
            last = format!("{:?}", update.status);
            self.say(format!("  {last}"));
        });
        finalized.await?;
        self.say("  its block is anchored on layer one: not even the worker's operator can take it back");
        self.check("the payment's last status", "Finalized", last);
        Ok(())
    }

    /// As the worker cannot prevent.
    async fn pay_through_layer_one(&mut self, deployment: &Deployment) -> Result<()> {
        let (alice, amount) = (signer(Alice), units(PAID_INDIRECTLY));
        self.say(format!("Alice pays Bob {amount} through layer one's inbox, which no worker can pass over"));
        let invocation = deployment.shard.transfer_indirect(&alice, &Bob.to_account_id(), PAID_INDIRECTLY).await?;
        self.say(format!("  final in block {} of layer one, encrypted to the enclave", invocation.block_number));
        let outcome = deployment.shard.executed(&alice, &invocation, SETTLE_DEADLINE).await?;
        self.say(format!(
            "  executed in block {} of the shard; the enclave has said so on layer one",
            outcome.block_number
        ));
        let result = outcome.result.map_or_else(|reason| reason, |()| "executed".into());
        self.check("the payment through layer one", "executed", result);
        Ok(())
    }

    /// Without warning; then it is started again as an operator would.
    async fn kill_the_worker(&mut self, deployment: &mut Deployment) -> Result<()> {
        self.chapter("The worker dies");
        self.say("the worker is killed (SIGKILL), and its enclave ends with it");
        let (shard, before) = (deployment.shard.shard().id, deployment.shard.shard().enclave.incarnation_key);
        deployment.worker.kill().await?;
        self.say("  started again: it recovers the shard from what it had stored, and registers with new keys");
        deployment.start_worker_again().await?;
        let now = deployment.shard.shard().enclave.incarnation_key;
        self.say(format!("  serves the same shard; the incarnation of the enclave is {}", to_hex(now)));

        self.say("both read their balances through TLS that ends in the enclave, with its key pinned from layer one");
        let (alice_has, bob_has) = balances(deployment).await?;
        let nonce = deployment.shard.nonce(&signer(Alice)).await?;
        let shard_after = shortened(&to_hex(deployment.shard.shard().id));
        self.check("the shard after the kill", shortened(&to_hex(shard)), shard_after);
        self.check("its enclave after the kill", "a new start", if before == now { "the same" } else { "a new start" });
        self.check("Alice's confidential balance", units(LEFT_TO_ALICE), units(alice_has));
        self.check("Bob's confidential balance", units(PAID + PAID_INDIRECTLY), units(bob_has));
        self.check("Alice's confidential nonce", 2, nonce);
        Ok(())
    }

    async fn unshield(&mut self, deployment: &Deployment) -> Result<()> {
        self.chapter("Money comes out");
        let (bob, ferdie) = (signer(Bob), Ferdie.to_account_id());
        let before = deployment.chain.free_balance(&ferdie).await?;
        self.say(format!("Bob sends {} to Ferdie's public account", units(UNSHIELDED)));
        let (shard, limit) = (&deployment.shard, SETTLE_DEADLINE);
        let unshielding = shard.unshield(&bob, &ferdie, UNSHIELDED, Route::Direct, limit, |_| ()).await?;
        self.say(format!(
            "  entry {} of the shard's outbox, in its block {}",
            unshielding.number, unshielding.executed.block_number
        ));
        let (verdict, found) = shard.settled(&unshielding, SETTLE_DEADLINE, |_| ()).await?;
        self.say(format!(
            "  {} in block {} of layer one, which was shown that the entry stands under an anchored root",
            verdict_name(verdict),
            found.block_number
        ));
        shard.closed(&bob, unshielding.number, SETTLE_DEADLINE).await?;
        self.say("  the enclave has a proof of that, and has closed the entry");
        let gained = deployment.chain.free_balance(&ferdie).await? - before;
        self.check("what Ferdie has more in public", units(UNSHIELDED), units(gained));
        let (_, bob_has) = balances(deployment).await?;
        self.check("Bob's last confidential balance", units(LEFT_TO_BOB), units(bob_has));
        Ok(())
    }

    async fn turn_strangers_away(&mut self, deployment: &Deployment) -> Result<()> {
        self.chapter("Strangers");
        self.say("Charlie asks for Alice's balance");
        let answers = deployment.ask_as_stranger(&signer(Alice), &signer(Charlie)).await?;
        for (form, answer) in ["published", "bound"].iter().zip(answers) {
            let answer = match answer {
                Err(cloister_client::worker::Error::Refused(reason)) => {
                    self.say(format!("  {form} query: {reason}"));
                    "refused".to_owned()
                }
                other => format!("{other:?}"),
            };
            self.check(&format!("a stranger's {form} query of Alice's balance"), "refused", answer);
        }

        self.say("a second worker, whose enclave nobody has paid a registration for, claims to serve the same shard");
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
        self.check("an unregistered worker", "refused", found);
        Ok(())
    }

    /// Reads all of layer one, as anybody can.
    async fn look_as_the_public(&mut self, deployment: &Deployment) -> Result<()> {
        self.chapter("What the public sees");
        // Whatever the enclave still had to say is on layer one by then.
        let until = deployment.blocks_finalized(3).await?;
        let bob_had = PAID + PAID_INDIRECTLY;
        let secrets = [
            Secret::account("Bob's account", &Bob.to_account_id()),
            Secret::amount("the amount paid", PAID),
            Secret::amount("the amount paid through layer one", PAID_INDIRECTLY),
            Secret::amount("Alice's confidential balance", LEFT_TO_ALICE + PAID_INDIRECTLY),
            Secret::amount("Alice's last confidential balance", LEFT_TO_ALICE),
            Secret::amount("Bob's confidential balance", bob_had),
            Secret::amount("Bob's last confidential balance", LEFT_TO_BOB),
        ];
        let record = PublicRecord::read(&deployment.chain, &deployment.layer_one, until, &secrets).await?;
        self.say(format!(
            "the public reads blocks 1 to {until} of layer one: {} signed extrinsics, {} events, {} bytes",
            record.extrinsics.len(),
            record.events.len(),
            record.bytes
        ));
        for event in record.events.iter().filter(|(_, event)| event.pallet == "EnclaveBridge") {
            self.say(format!("  block {}: {}", event.0, named(deployment, shortened(&event.1.to_string()))));
        }

        let seen = |name: &str| -> Result<String> {
            let amounts = record.events_of("EnclaveBridge", name).into_iter().map(amount_of);
            Ok(amounts.collect::<Result<Vec<_>>>()?.join(", "))
        };
        self.check("shieldings that the public sees", units(SHIELDED), seen("ShieldFunds")?);
        let shield_funds = (54, 2);
        let shielders = record.extrinsics.iter().filter(|extrinsic| extrinsic.call == shield_funds);
        let shielders: Vec<_> = shielders.map(|extrinsic| named(deployment, extrinsic.signer.to_string())).collect();
        self.check("who shielded", "Alice", shielders.join(", "));
        self.check("unshieldings that the public sees", units(UNSHIELDED), seen("UnshieldedFunds")?);
        let found = if record.found.is_empty() { "nothing".into() } else { record.found.join(", ") };
        self.check("what the public sees of Bob, private payments and balances", "nothing", found);
        Ok(())
    }

    /// Layer one's, which everybody reads, and the shard's, of which everybody reads the sums.
    async fn open_both_ledgers(&mut self, deployment: &Deployment) -> Result<()> {
        self.chapter("Both ledgers");
        let ledgers = deployment.ledgers().await?;
        let (alice_has, bob_has) = balances(deployment).await?;
        let Ledgers { books, flows, escrow, .. } = ledgers;
        let row = |left: (&str, Balance), right: (&str, Balance)| {
            println!("  {:<14}{:>20}    {:<14}{:>20}", left.0, units(left.1), right.0, units(right.1));
        };
        println!("  {:<34}    the shard", "layer one, for the shard");
        row(("shielded", flows.shielded), ("Alice has", alice_has));
        row(("paid out", flows.paid), ("Bob has", bob_has));
        row(("fees repaid", flows.repaid), ("fees", books.fees));
        row(("in the escrow", escrow), ("fees not repaid", books.fees - flows.repaid));
        let backed = alice_has + bob_has + books.fees - flows.repaid;
        self.check("what lies in the escrow", units(backed), units(escrow));

        self.say("an auditor, who trusts his own node and knows no secret, compares them block by block:");
        let [shard, url] = deployment.audited();
        let audit = Cli::of(deployment)?.command(&["audit", "--shard", &shard, "--url", &url]).output()?;
        for line in String::from_utf8_lossy(&audit.stdout).lines() {
            println!("  {}", shortened(line));
        }
        self.check("the auditor's answer", "exit status: 0", audit.status);
        Ok(())
    }
}

async fn balances(deployment: &Deployment) -> Result<(Balance, Balance)> {
    let of = async |owner: Sr25519Keyring| deployment.shard.free_balance(&signer(owner)).await;
    Ok((of(Alice).await?, of(Bob).await?))
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Paid => "paid",
        Verdict::Refused => "refused",
    }
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
    format!("{}.{:04} UNIT", planck / UNIT, planck % UNIT / (UNIT / 10_000))
}

/// Accounts under the names by which the story goes.
fn named(deployment: &Deployment, text: String) -> String {
    let people = [(Alice, "Alice"), (Bob, "Bob"), (Ferdie, "Ferdie")].map(|(key, name)| (key.to_account_id(), name));
    let enclave = (deployment.shard.shard().founder().clone(), "the enclave");
    let accounts = people.into_iter().chain([enclave]);
    accounts.fold(text, |text, (account, name)| text.replace(&account.to_string(), name))
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
        "trusted --direct unshield-funds //Charlie //Dave 40 --wait settled",
    ] {
        println!("  {cloister} {command}");
    }
    println!("\nLogs: {} and {}", deployment.node.log().path().display(), deployment.worker.log().path().display());
}
