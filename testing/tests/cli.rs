//! The commands that README and demo show, on a real shard.

use anyhow::{Context, Result};
use cloister_chain_primitives::{Balance, DIRECT_CALL_FEE, UNIT, UNSHIELD_FEE};
use cloister_testing::{Cli, Deployment, to_hex};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_by_command() -> Result<()> {
    Deployment::run(async |deployment| {
        let cli = Cli::of(deployment)?;

        let shielded = cli.done(&["shield-funds", "//Alice", "//Alice", "1000", "--wait", "credited"])?;
        assert_eq!(shielded["credited"], true);
        let paid = cli.done(&["trusted", "--direct", "transfer", "//Alice", "//Bob", "300"])?;
        assert_eq!(paid["status"], "in-sidechain-block");
        let confidential = |account: &str| planck(&cli.done(&["trusted", "balance", account])?["free"]);
        assert_eq!(confidential("//Alice")?, 700 * UNIT - DIRECT_CALL_FEE);
        assert_eq!(confidential("//Bob")?, 300 * UNIT);
        assert_eq!(cli.done(&["trusted", "nonce", "//Alice"])?["nonce"], 1);
        let shard = cli.done(&["trusted", "get-shard"])?["shard"].clone();
        assert_eq!(shard, to_hex(deployment.shard.shard().id));
        let named = ["trusted", "--shard", shard.as_str().context("no shard")?, "nonce", "//Bob"];
        assert_eq!(cli.done(&named)?["nonce"], 0);

        let public = |account: &str| planck(&cli.done(&["balance", account])?["free"]);
        let before = public("//Ferdie")?;
        cli.done(&["transfer", "//Alice", "//Ferdie", "2", "--wait", "finalized"])?;
        assert_eq!(public("//Ferdie")?, before + 2 * UNIT);

        let too_much = cli.refused(3, &["trusted", "--direct", "transfer", "//Bob", "//Alice", "301"])?;
        assert!(too_much.contains("insufficient balance"), "{too_much}");
        let unknown = format!("0x{}", "07".repeat(32));
        let unknown = cli.refused(3, &["trusted", "--shard", &unknown, "nonce", "//Bob"])?;
        assert!(unknown.contains("no finalized shard"), "{unknown}");

        // Through layer one, by whom it belongs to and at whose expense.
        let paid = cli.done(&["trusted", "transfer", "//Bob", "//Alice", "1", "--payer", "//Charlie"])?;
        assert_eq!((&paid["status"], &paid["nonce"]), (&"in-sidechain-block".into(), &1.into()), "{paid}");
        let too_much = cli.refused(3, &["trusted", "transfer", "//Bob", "//Alice", "300"])?;
        assert!(too_much.contains("insufficient balance"), "{too_much}");
        let paid = cli.done(&["trusted", "--direct", "transfer", "//Bob", "//Alice", "2", "--wait", "finalized"])?;
        assert_eq!(paid["status"], "finalized");
        assert_eq!(confidential("//Alice")?, 703 * UNIT - DIRECT_CALL_FEE);
        // Of his four calls one was direct and done, and one direct and failed.
        assert_eq!(confidential("//Bob")?, 297 * UNIT - 2 * DIRECT_CALL_FEE);
        assert_eq!(cli.done(&["trusted", "nonce", "//Bob"])?["nonce"], 4);

        // And out again.
        let before = public("//Ferdie")?;
        let out = ["trusted", "unshield-funds", "//Bob", "//Ferdie", "100", "--direct", "--wait", "settled"];
        let unshielded = cli.done(&out)?;
        assert_eq!((&unshielded["status"], &unshielded["outbox_number"]), (&"paid".into(), &0.into()), "{unshielded}");
        assert_eq!(public("//Ferdie")?, before + 100 * UNIT);
        assert_eq!(confidential("//Bob")?, 197 * UNIT - 3 * DIRECT_CALL_FEE - UNSHIELD_FEE);
        let too_much = cli.refused(3, &["trusted", "unshield-funds", "//Bob", "//Ferdie", "200"])?;
        assert!(too_much.contains("insufficient balance"), "{too_much}");
        // An account that does not exist, and too little to make it.
        let nobody = format!("0x{}", "09".repeat(32));
        let back = cli.refused(4, &["trusted", "unshield-funds", "//Bob", &nobody, "1planck", "--direct"])?;
        assert!(back.contains("layer one refused to pay"), "{back}");
        assert_eq!(confidential("//Bob")?, 197 * UNIT - 4 * DIRECT_CALL_FEE - 3 * UNSHIELD_FEE);
        deployment.ledgers().await?;

        let status = cli.done(&["worker", "status"])?;
        assert_eq!((&status["serves"], &status["phase"]), (&true.into(), &"serving".into()), "{status}");
        assert_eq!((&status["kind"], &status["accounts"]), (&"simulated".into(), &2.into()), "{status}");
        assert!(status["anchored"].as_u64() > Some(0) && status["anchored"].as_u64() <= status["block"].as_u64());
        deployment.worker.stop().await?;
        let gone = cli.refused(1, &["worker", "status"])?;
        assert!(gone.contains("cannot reach a worker"), "{gone}");
        Ok(())
    })
    .await
}

/// Amounts are decimal strings.
fn planck(value: &Value) -> Result<Balance> {
    Ok(value.as_str().context("no amount")?.parse()?)
}
