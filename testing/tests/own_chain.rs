//! docs/chain.md can be followed: three operators begin a chain, one changes its session keys, and root lets it go.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::H256;
use cloister_testing::{
    Chain, eventually, from_hex,
    process::{Process, binary},
};
use codec::DecodeAll;
use jsonrpsee::rpc_params;

#[tokio::test(flavor = "multi_thread")]
async fn three_operators_begin_a_chain_and_change_keys_and_validators() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let founder = Person::new(directory.path().to_owned(), vec![])?;
    let operators = ["a", "b", "c"].map(|name| Operator::new(directory.path().join(name)));
    let operators = operators.into_iter().collect::<Result<Vec<_>>>()?;
    for operator in &operators {
        operator.person.does(&block("account", 0)?).await?;
        operator.person.does(&block("operator", 0)?).await?;
    }

    let root = founder.does("cloister --json new-account | jq --raw-output .account").await?;
    let founder = founder.knowing("ROOT", root.trim()).knowing("RICH", root.trim());
    let hash = founder.does(&block("founder", 0)?).await?;
    ensure!(hash.contains("  chain.json"), "{hash}");
    for operator in &operators {
        fs::copy(directory.path().join("chain.json"), operator.person.directory.join("chain.json"))?;
        let kept = operator.person.does(&block("operator", 1)?).await?;
        let kinds: Vec<&str> = kept.lines().filter_map(|name| name.get(..8)).collect();
        assert_eq!(kinds, ["61757261", "6772616e"], "{kept}");
    }

    let mut nodes = operators.iter().map(Operator::start).collect::<Result<Vec<_>>>()?;
    let [a, _, c] = operators.as_slice() else { unreachable!() };
    let chain = a.chain().await?;
    finalizes(&chain).await?;
    let first = authorities(&chain).await?;
    assert_eq!(first.len(), 3);
    let seen = a.person.does(&block("check", 0)?).await?;
    ensure!(seen.contains(&format!("{:?}", chain.genesis())) && seen.contains(r#""peers":2"#), "{seen}");

    c.person.does(&block("rotate", 0)?).await?;
    let rotated = eventually("another key of the third", SESSIONS, async || {
        let now = authorities(&chain).await?;
        Ok((now != first).then_some(now))
    })
    .await?;
    assert_eq!((rotated.len(), rotated.iter().filter(|one| first.contains(one)).count()), (3, 2));
    // Of three all have to vote.
    finalizes(&chain).await?;

    fs::remove_file(c.person.directory.join("public.json"))?;
    let founder = founder.knowing("CLOISTER_NODE_URL", &a.url());
    founder.does(&block("root", 0)?).await?;
    eventually("two validators", SESSIONS, async || Ok((authorities(&chain).await?.len() == 2).then_some(()))).await?;
    nodes.pop().context("no third node")?.stop().await?;
    finalizes(&chain).await
}

/// Somebody with a directory of their own, which is their home, too.
struct Person {
    directory: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Person {
    fn new(directory: PathBuf, variables: Vec<(&'static str, String)>) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, variables })
    }

    fn knowing(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn shell(&self, script: &str) -> Result<Command> {
        let programs = binary("cloister-node")?;
        let beside = programs.parent().context("a program in no directory")?;
        let mut command = Command::new("bash");
        command.args(["-e", "-o", "pipefail", "-c", script]).env_clear().current_dir(&self.directory);
        command.env("HOME", &self.directory).env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", beside.display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs a script to its end; what it has written.
    async fn does(&self, script: &str) -> Result<String> {
        let mut command = tokio::process::Command::from(self.shell(script)?);
        let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output());
        let output = output.await.with_context(|| format!("{script}: still running"))??;
        ensure!(output.status.success(), "{script}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Who runs a validator.
struct Operator {
    person: Person,
    rpc: u16,
}

impl Operator {
    fn new(directory: PathBuf) -> Result<Self> {
        let (port, rpc) = (free_port()?, free_port()?);
        let variables = vec![
            ("HOST", "localhost".into()),
            ("PORT", port.to_string()),
            ("BASE", directory.join("base").display().to_string()),
            ("RPC", format!("http://127.0.0.1:{rpc}")),
            ("CLOISTER_NODE_URL", format!("ws://127.0.0.1:{rpc}")),
        ];
        Ok(Self { person: Person::new(directory, variables)?, rpc })
    }

    fn start(&self) -> Result<Process> {
        let line = block("node", 0)?;
        let line = format!("exec {} --rpc-port {} --no-prometheus --no-mdns", line.trim(), self.rpc);
        Process::spawn("node", &mut self.person.shell(&line)?, &self.person.directory)
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.rpc)
    }

    async fn chain(&self) -> Result<Chain> {
        eventually("a node that answers", PATIENCE, async || Ok(Some(Chain::connect(&self.url()).await?))).await
    }
}

/// One that nobody has now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn finalizes(chain: &Chain) -> Result<()> {
    let wanted = chain.finalized_head().await?.number + 5;
    eventually("finality", PATIENCE, async || Ok((chain.finalized_head().await?.number >= wanted).then_some(()))).await
}

/// Who finalizes, as the newest final block says: a change is finalized by those who were there before.
async fn authorities(chain: &Chain) -> Result<Vec<([u8; 32], u64)>> {
    let at: H256 = chain.finalized_head().await?.hash();
    let call = rpc_params!["GrandpaApi_grandpa_authorities", "0x", at];
    let authorities: String = chain.request("state_call", call).await?;
    Ok(DecodeAll::decode_all(&mut from_hex(&authorities)?.as_slice())?)
}

/// The page's commands with this tag.
fn block(tag: &str, which: usize) -> Result<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/chain.md"))?;
    let opening = format!("\n```sh {tag}\n");
    let block = page.split(&opening).nth(which + 1).with_context(|| format!("no block {which} of {tag}"))?;
    Ok(block.split("\n```").next().context("a block without an end")?.to_owned())
}

/// For programs, and for a few blocks.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keys and lists count from the session after the next one on.
const SESSIONS: Duration = Duration::from_secs(90);
