//! Clients that send nonsense, too much, too many or too slowly, while others go on being served.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{DIRECT_CALL_FEE, UNIT};
use cloister_client::{Pin, Selection, ShardClient, Worker as WorkerClient};
use cloister_testing::{
    Deployment, Junk, Peer, Sidechain, WorkerOptions, deployment::SETTLE_DEADLINE, eventually, signer,
};
use serde_json::json;
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, interval},
};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_junk_requests_in_twenty_seconds_keep_nobody_from_paying() -> Result<()> {
    Deployment::run(async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.shield(&alice, 1_000 * UNIT).await?;
        let shard = deployment.shard.shard();
        let kinds = Junk::of_each_kind(shard)?;
        // One of a hundred costs the enclave forty milliseconds.
        let worst = Junk {
            method: "author_submitExtrinsic",
            parameters: json!([cloister_testing::to_hex(codec::Encode::encode(&Junk::worst(shard)?))]),
            refusal: "the request does not decrypt, decode or verify",
        };
        let before = deployment.worker.status().await?.rpc_requests;
        let mut flood = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let worker =
                WorkerClient::connect(&deployment.worker.url(), Pin::TlsKey(shard.enclave.tls_key_hash)).await?;
            let (kinds, worst) = (kinds.clone(), worst.clone());
            flood.spawn(async move {
                let mut turns = interval(FLOOD / REQUESTS_EACH);
                for number in 0..REQUESTS_EACH {
                    turns.tick().await;
                    let junk = match number {
                        50 => &worst,
                        number => &kinds[(connection + number) as usize % kinds.len()],
                    };
                    ensure!(junk.is_refused_by(&worker).await?, "{} {}", junk.method, junk.refusal);
                }
                Ok(())
            });
        }

        let (mut paid, mut ended) = (0, 0);
        while ended < CONNECTIONS {
            deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
            paid += 1;
            assert_eq!(deployment.shard.free_balance(&bob).await?, paid * UNIT);
            while let Some(done) = flood.try_join_next() {
                done??;
                ended += 1;
            }
        }
        println!("{paid} payments meanwhile");
        ensure!(paid >= 10, "{paid} payments are few");
        let answered = deployment.worker.status().await?.rpc_requests - before;
        println!("{answered} requests came to the enclave's handler");
        let spent = paid * (UNIT + DIRECT_CALL_FEE);
        assert_eq!(deployment.shard.free_balance(&alice).await?, 1_000 * UNIT - spent);
        assert!(!deployment.worker.log().contains("a panic was caught"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_from_one_address_leaves_room_for_others() -> Result<()> {
    let arguments = vec!["--max-connections", "64", "--max-connections-per-peer", "16"];
    let options = WorkerOptions { arguments, ..WorkerOptions::default() };
    Deployment::run_with(options, async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.shield(&alice, 100 * UNIT).await?;
        let trusted = deployment.worker.ports().trusted;

        let mut refused = JoinSet::new();
        for _ in 0..FLOODING {
            let mut stream = Peer::at(2).connect(trusted).await?;
            // Who is not refused is held until the end of the handshake's time.
            refused.spawn(async move { !matches!(stream.read(&mut [0]).await, Ok(1..)) });
        }
        let others = (3..13).map(|last| Peer::at(last).stands_before(trusted));
        let others = futures::future::try_join_all(others).await?;
        let mut served = JoinSet::new();
        for (address, _) in &others {
            let (layer_one, url) = (deployment.layer_one.clone(), format!("wss://{address}"));
            served.spawn(async move {
                let shard = ShardClient::connect(&layer_one, &url, &Selection::default()).await?;
                Ok::<_, anyhow::Error>((shard.free_balance(&signer(Alice)).await?, shard))
            });
        }
        let mut clients = Vec::new();
        while let Some(client) = served.join_next().await {
            let (balance, shard) = client??;
            assert_eq!(balance, 100 * UNIT);
            clients.push(shard);
        }
        assert_eq!(clients.len(), 10, "from ten other addresses");
        deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
        eventually("refusals", SETTLE_DEADLINE, async || {
            let refused = deployment.worker.metric("connections_refused_total").await?;
            Ok((refused >= (FLOODING - 16) as f64).then_some(()))
        })
        .await?;
        let mut ended = 0;
        while let Some(end) = refused.join_next().await {
            ensure!(end?, "something was said to a client that said nothing");
            ended += 1;
        }
        assert_eq!(ended, FLOODING, "nobody who says nothing stays");

        // Opening and closing again and again is no way round.
        for _ in 0..FLOODING {
            drop(Peer::at(2).connect(trusted).await?);
        }
        let shard =
            ShardClient::connect(&deployment.layer_one, &deployment.worker.url(), &Selection::default()).await?;
        assert_eq!(shard.free_balance(&bob).await?, UNIT);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_on_all_ports_hold_nobody_up_and_are_let_go() -> Result<()> {
    let options = WorkerOptions { arguments: vec!["--handshake-seconds", "3"], ..WorkerOptions::default() };
    Deployment::run_with(options, async |deployment| {
        let (alice, bob) = (signer(Alice), signer(Bob));
        deployment.shield(&alice, 100 * UNIT).await?;
        let ports = deployment.worker.ports();
        let birth = deployment.shard.shard().clone();
        let mut sidechain = Sidechain::new(birth.genesis, birth.id, birth.entry.birth.genesis_commitment);

        let deadline = Instant::now() + LET_GO;
        let mut slow = JoinSet::new();
        for _ in 0..SLOW {
            slow.spawn(Peer::at(2).drips(ports.trusted, RECORD, deadline));
            for port in [ports.untrusted, ports.http, ports.metrics] {
                slow.spawn(Peer::at(2).drips(port, HEADER, deadline));
            }
        }
        // The same at full speed.
        for port in [ports.untrusted, ports.http, ports.metrics] {
            let mut stream = Peer::at(3).connect(port).await?;
            slow.spawn(async move {
                let endless = [b'a'; 16 * 1024];
                let mut sent = stream.write_all(HEADER).await;
                for _ in 0..1_024 {
                    if sent.is_err() {
                        return true;
                    }
                    sent = stream.write_all(&endless).await;
                }
                sent.is_err()
            });
        }

        for round in 1..=ROUNDS {
            deployment.shard.transfer(&alice, &bob.account(), UNIT).await?.in_block().await?;
            assert_eq!(deployment.shard.free_balance(&bob).await?, round * UNIT);
            ensure!(deployment.worker.is_serving().await?);
            assert_eq!(deployment.worker.metric("serving").await?, 1.0);
            sidechain.follow(ports).await?;
            ensure!(sidechain.height() > round as u64);
            let newcomer = connected(deployment, &deployment.worker.url()).await?;
            assert_eq!(newcomer.free_balance(&bob).await?, round * UNIT);
        }
        while let Some(ended) = slow.join_next().await {
            ensure!(ended?, "somebody drips on after {LET_GO:?}, or sends 16 MiB of header");
        }
        // And those who dripped are served like all others, once they ask.
        eventually("no connection but this one", SETTLE_DEADLINE, async || {
            Ok((deployment.worker.status().await?.connections <= 1).then_some(()))
        })
        .await?;
        let (before, _relay) = Peer::at(2).stands_before(ports.trusted).await?;
        let shard = connected(deployment, &format!("wss://{before}")).await.context("the slow one's next try")?;
        assert_eq!(shard.free_balance(&bob).await?, ROUNDS * UNIT);
        Ok(())
    })
    .await
}

/// A new client of the shard.
async fn connected(deployment: &Deployment, url: &str) -> Result<ShardClient> {
    Ok(ShardClient::connect(&deployment.layer_one, url, &Selection::default()).await?)
}

/// Of those who send junk.
const CONNECTIONS: u32 = 100;
const REQUESTS_EACH: u32 = 100;
const FLOOD: Duration = Duration::from_secs(20);
/// Connections from one address.
const FLOODING: usize = 300;
/// The beginning of a TLS record of 16 KiB.
const RECORD: &[u8] = &[22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3];
/// A header without end.
const HEADER: &[u8] = b"GET / HTTP/1.1\r\nHost: worker\r\nUpgrade: websocket\r\nX-Endless: a";
/// Slow clients of each port.
const SLOW: usize = 80;
const ROUNDS: u128 = 5;
/// When the last slow client must be gone.
const LET_GO: Duration = Duration::from_secs(90);
