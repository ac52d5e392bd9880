//! The commands that README and demo show, on a real shard.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use cloister_testing::{Deployment, process::binary};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_by_command() -> Result<()> {
    Deployment::run(async |deployment| {
        let cli = Cli::new(deployment)?;

        let shielded = cli.done(&["shield-funds", "//Alice", "//Alice", "1000", "--wait", "credited"])?;
        assert_eq!(shielded["credited"], true);
        let paid = cli.done(&["trusted", "--direct", "transfer", "//Alice", "//Bob", "300"])?;
        assert_eq!(paid["status"], "in-sidechain-block");
        assert_eq!(cli.done(&["trusted", "balance", "//Alice"])?["free"], "700000000000000");
        assert_eq!(cli.done(&["trusted", "balance", "//Bob"])?["free"], "300000000000000");
        assert_eq!(cli.done(&["trusted", "nonce", "//Alice"])?["nonce"], 1);
        let shard = cli.done(&["trusted", "get-shard"])?["shard"].clone();
        assert_eq!(shard, cloister_testing::to_hex(deployment.shard.shard().id));
        let named = ["trusted", "--shard", shard.as_str().context("no shard")?, "nonce", "//Bob"];
        assert_eq!(cli.done(&named)?["nonce"], 0);

        let before = cli.done(&["balance", "//Ferdie"])?["free"].clone();
        cli.done(&["transfer", "//Alice", "//Ferdie", "2", "--wait", "finalized"])?;
        let planck = |value: &Value| -> Result<u128> { Ok(value.as_str().context("no amount")?.parse()?) };
        let after = cli.done(&["balance", "//Ferdie"])?["free"].clone();
        assert_eq!(planck(&after)?, planck(&before)? + 2_000_000_000_000);

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
        assert_eq!(cli.done(&["trusted", "balance", "//Alice"])?["free"], "703000000000000");
        assert_eq!(cli.done(&["trusted", "nonce", "//Bob"])?["nonce"], 4);

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

struct Cli {
    program: std::path::PathBuf,
    home: tempfile::TempDir,
    node: String,
    worker: String,
    status: String,
}

impl Cli {
    fn new(deployment: &Deployment) -> Result<Self> {
        Ok(Self {
            program: binary("cloister")?,
            home: tempfile::tempdir()?,
            node: deployment.node.url().into(),
            worker: deployment.worker.url(),
            status: format!("http://127.0.0.1:{}", deployment.worker.ports().http),
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<(Output, Value)> {
        let output = Command::new(&self.program)
            .args(arguments)
            .arg("--json")
            .env_clear()
            .env("HOME", self.home.path())
            .env("CLOISTER_NODE_URL", &self.node)
            .env("CLOISTER_WORKER_URL", &self.worker)
            .env("CLOISTER_WORKER_STATUS_URL", &self.status)
            .output()?;
        let answer = serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {output:?}"))?;
        Ok((output, answer))
    }

    fn done(&self, arguments: &[&str]) -> Result<Value> {
        let (output, answer) = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {answer}");
        Ok(answer)
    }

    fn refused(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let (output, answer) = self.run(arguments)?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {:?} {answer}", output.status);
        Ok(answer["error"].as_str().context("no reason")?.to_owned())
    }
}
