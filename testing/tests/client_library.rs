//! What docs/client.md shows to who pays from a program: the same code, with a real chain, worker and enclave.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cloister_client::{
    AccountId, Balance, DIRECT_CALL_FEE, Executed, H256, LayerOne, Nonce, Outcome, Route, Selection, ShardClient,
    ShardId, Signer, Stance, TrustedCall, UNIT, WantedCode, shard::Error, worker,
};
use cloister_testing::{Deployment, eventually, signer};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};
use tokio::time::{sleep, timeout};

/// How long the shard may take to execute a call.
const EXECUTION: Duration = Duration::from_secs(60);
/// How long layer one may take to anchor its block.
const FINALITY: Duration = Duration::from_secs(60);

async fn connect(node: &str, worker: &str, shard: ShardId, fingerprint: [u8; 32]) -> Result<ShardClient, Error> {
    let layer_one = LayerOne::connect(node).await?;
    // There are no other enclaves than simulated ones yet; on hardware this is Stance::Forbidden.
    let code = WantedCode { fingerprint, simulation: Stance::Allowed, debug: Stance::Forbidden };
    let selection = Selection { shard: Some(shard), mrenclave: Some(code) };
    ShardClient::connect(&layer_one, worker, &selection).await
}

async fn pay(client: &ShardClient, from: &Signer, to: &AccountId, amount: Balance) -> Result<Executed, Error> {
    let call = TrustedCall::BalanceTransfer(from.account(), to.clone(), amount);
    let client = client.clone().with_call_lifetime(200);
    let executed = client.execute(from, Route::Direct, call, EXECUTION, |step| println!("{step:?}")).await?;
    client.anchored(executed.block_number, FINALITY).await?;
    Ok(executed)
}

/// Written down before anything is sent, and after each try.
struct Order {
    to: AccountId,
    amount: Balance,
    nonce: Nonce,
    tried: Vec<H256>,
}

/// Pays an order once, however often this is called. The shard's block that has the payment, or why it failed there.
async fn settle(
    client: &ShardClient,
    from: &Signer,
    order: &mut Order,
    limit: Duration,
) -> Result<Result<u64, String>, Error> {
    let call = TrustedCall::BalanceTransfer(from.account(), order.to.clone(), order.amount);
    let client = client.clone().with_call_nonce(order.nonce);
    match client.execute(from, Route::Direct, call, limit, |_| ()).await {
        Ok(executed) => return Ok(Ok(executed.block_number)),
        Err(Error::Worker(worker::Error::CallFailed { reason, .. })) => return Ok(Err(reason)),
        // An earlier try was executed.
        Err(Error::NonceUsed { .. }) => {}
        Err(error) => {
            order.tried.extend(sent(&error));
            return Err(error);
        }
    }
    for operation in &order.tried {
        if let Some(Outcome { block_number, result, .. }) = client.outcome(from, *operation).await? {
            return Ok(result.map(|()| block_number));
        }
    }
    Ok(Err("another call of this account had the nonce, or its outcome is forgotten: look at the balances".into()))
}

/// The operation that may yet be executed, or was.
fn sent(error: &Error) -> Option<H256> {
    match error {
        Error::PerhapsExecuted { operation, .. } | Error::NoOutcome { operation } => Some(*operation),
        Error::Worker(worker::Error::NotInTime { operation, .. }) => Some(*operation),
        _ => None,
    }
}

async fn pay_many(client: &ShardClient, from: &Signer, payments: &[(AccountId, Balance)]) -> Result<Vec<u64>> {
    let call = |(to, amount): &(AccountId, Balance)| TrustedCall::BalanceTransfer(from.account(), to.clone(), *amount);
    let taken = client.submit_batch(from, payments.iter().map(call).collect()).await?;
    let mut blocks = Vec::new();
    for operation in taken {
        let operation = operation?;
        let outcome = async {
            loop {
                match client.outcome(from, operation).await {
                    Ok(None) => sleep(Duration::from_millis(300)).await,
                    Ok(Some(outcome)) => break Ok(outcome),
                    Err(error) => break Err(error),
                }
            }
        };
        let Outcome { block_number, result, .. } = timeout(EXECUTION, outcome).await??;
        result.map_err(anyhow::Error::msg)?;
        blocks.push(block_number);
    }
    Ok(blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_shows_pays_once() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, bob, charlie) = (signer(Alice), signer(Bob), signer(Charlie));
        deployment.shield(&alice, 100 * UNIT).await?;
        let shard = deployment.shard.shard();
        let (id, fingerprint) = (shard.id, shard.scope().mrenclave);
        let (node, worker) = (deployment.node.url(), deployment.worker.url());

        let other = connect(node, &worker, id, [7; 32]).await.err().context("other code was taken")?;
        ensure!(matches!(other, Error::WrongMeasurement { found, wanted: [7, ..] } if found == fingerprint), "{other}");
        let client = connect(node, &worker, id, fingerprint).await?;
        let mut left = client.free_balance(&alice).await?;

        pay(&client, &alice, &bob.account(), 3 * UNIT).await?;
        left -= 3 * UNIT + DIRECT_CALL_FEE;
        assert_eq!((client.free_balance(&alice).await?, client.free_balance(&bob).await?), (left, 3 * UNIT));

        let nonce = client.nonce(&alice).await?;
        let mut order = Order { to: bob.account(), amount: 5 * UNIT, nonce, tried: vec![] };
        let hurried = settle(&client, &alice, &mut order, Duration::ZERO).await;
        let hurried = hurried.err().context("it was executed at once")?;
        ensure!(matches!(hurried, Error::Worker(worker::Error::NotInTime { .. })), "{hurried}");
        assert_eq!(order.tried.len(), 1);
        let paid = paid(settled(&client, &alice, &mut order).await?)?;
        assert_eq!(settled(&client, &alice, &mut order).await?, Ok(paid), "it stays the same payment");
        left -= 5 * UNIT + DIRECT_CALL_FEE;
        assert_eq!((client.free_balance(&alice).await?, client.free_balance(&bob).await?), (left, 8 * UNIT));

        let nonce = client.nonce(&alice).await?;
        let mut dear = Order { to: bob.account(), amount: 1_000 * UNIT, nonce, tried: vec![] };
        let refused = settled(&client, &alice, &mut dear).await?;
        ensure!(refused.is_err(), "{refused:?}");
        left -= DIRECT_CALL_FEE;

        let wages = [(bob.account(), UNIT), (charlie.account(), 2 * UNIT)];
        assert_eq!(pay_many(&client, &alice, &wages).await?.len(), 2);
        left -= 3 * UNIT + 2 * DIRECT_CALL_FEE;
        assert_eq!(client.free_balance(&alice).await?, left);
        assert_eq!((client.free_balance(&bob).await?, client.free_balance(&charlie).await?), (9 * UNIT, 2 * UNIT));
        Ok(())
    })
    .await
}

/// Tries until it is known.
async fn settled(client: &ShardClient, from: &Signer, order: &mut Order) -> Result<Result<u64, String>> {
    eventually("a settled order", EXECUTION, async || Ok(Some(settle(client, from, order, EXECUTION).await?))).await
}

fn paid(settled: Result<u64, String>) -> Result<u64> {
    settled.map_err(anyhow::Error::msg)
}

/// All Rust in the page is in this file, in the page's order within each block.
#[test]
fn the_page_quotes_this_test() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let here: Vec<_> = include_str!("client_library.rs").lines().map(str::trim).collect();
    let page = fs::read_to_string(root.join("docs/client.md"))?;
    let mut quotes = 0;
    for block in page.split("```rust\n").skip(1) {
        let (block, _) = block.split_once("```").context("a block without an end")?;
        let quote: Vec<_> = block.trim().lines().map(str::trim).collect();
        if !here.windows(quote.len()).any(|lines| lines == quote) {
            bail!("this file does not say:\n{block}");
        }
        quotes += 1;
    }
    ensure!(quotes >= 6, "{quotes} blocks of Rust");
    Ok(())
}
