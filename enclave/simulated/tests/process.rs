//! The simulated enclave as its host sees it: it introduces itself, keeps its identity, and asks to be registered with
//! evidence that the verifier takes for what it is.

use std::{
    collections::BTreeMap,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    process::Stdio,
    time::Duration,
};

use cloister_attestation::{Roots, verify};
use cloister_chain_primitives::{AccountId, H256, config::MeasuredConfig, registry::report_data, storage};
use cloister_claims::{Collateral, TeeKind};
use cloister_link::{
    ClientLimits, PROTOCOL, StopReason, ToEnclave, ToHost,
    transport::{Receiver, Sender, split},
};
use cloister_synthetic_layer_one::{Chain, State, Voters};
use codec::Encode;
use sp_core::storage::StateVersion;
use tokio::{net::UnixStream, process::Child};

/// 2026-01-01, Unix milliseconds.
const NOW: u64 = 1_767_225_600_000;

struct Enclave {
    sender: Sender<ToEnclave>,
    receiver: Receiver<UnixStream, ToHost>,
    _child: Child,
}

struct Introduced {
    account: AccountId,
    measurement: [u8; 32],
    hpke: [u8; 32],
    shard: H256,
    sealed_identity: Option<Vec<u8>>,
    collateral: Collateral,
}

impl Enclave {
    async fn start(config: &MeasuredConfig, sealed_identity: Option<Vec<u8>>) -> Self {
        let (near, far) = StdUnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_cloister-enclave-simulated"))
            .stdin(Stdio::from(OwnedFd::from(far)))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, receiver) = split(UnixStream::from_std(near).unwrap());
        let start = ToEnclave::Start {
            protocol: PROTOCOL,
            config: config.encode(),
            shard: None,
            spec_version: 1,
            transaction_version: 1,
            sealed_identity,
            url: Some(b"wss://localhost:2000".to_vec().try_into().unwrap()),
            limits: ClientLimits::default(),
        };
        sender.send(start).await.unwrap();
        Self { sender, receiver, _child: child }
    }

    async fn next(&mut self) -> ToHost {
        tokio::time::timeout(Duration::from_secs(60), self.receiver.recv()).await.unwrap().unwrap()
    }

    async fn introduction(&mut self) -> Introduced {
        match self.next().await {
            ToHost::Identity { protocol, kind, measurement, account, birth, shard, sealed_identity, collateral } => {
                assert_eq!((protocol, kind), (PROTOCOL, TeeKind::Simulated));
                assert_eq!((birth.config.enclave_fingerprint, &birth.founder), (measurement, &account));
                Introduced {
                    account,
                    measurement,
                    hpke: birth.shielding_keys.hpke,
                    shard: shard.0,
                    sealed_identity,
                    collateral: collateral.unwrap(),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    async fn stop_reason(&mut self) -> StopReason {
        match self.next().await {
            ToHost::Stopped { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn layer_one() -> (Chain, Voters, MeasuredConfig) {
    let (chain, voters) = (Chain::new(0), Voters::new(0, 1..=4));
    let config = chain.config(&voters);
    (chain, voters, config)
}

#[tokio::test]
async fn a_restarted_enclave_has_its_identity_and_shard_again() {
    let (_, _, config) = layer_one();
    let first = Enclave::start(&config, None).await.introduction().await;
    let sealed = first.sealed_identity.unwrap();
    let second = Enclave::start(&config, Some(sealed.clone())).await.introduction().await;
    assert_eq!(
        (&first.account, first.measurement, first.hpke, &first.collateral),
        (&second.account, second.measurement, second.hpke, &second.collateral)
    );
    assert_eq!(second.sealed_identity, None, "nothing new to keep");
    assert_eq!(first.shard, second.shard);
    let stranger = Enclave::start(&config, None).await.introduction().await;
    assert_ne!((stranger.account, stranger.shard), (first.account, first.shard));
}

#[tokio::test]
async fn what_does_not_open_is_no_identity() {
    let (_, _, config) = layer_one();
    let sealed = Enclave::start(&config, None).await.introduction().await.sealed_identity.unwrap();
    let mut altered = sealed.clone();
    altered[50] ^= 1;
    let other = MeasuredConfig { slot_ms: config.slot_ms + 1, ..config.clone() };
    for (config, sealed) in [(&config, altered), (&other, sealed), (&config, vec![])] {
        let mut enclave = Enclave::start(config, Some(sealed)).await;
        assert_eq!(enclave.stop_reason().await, StopReason::SealedIdentity);
    }
}

#[tokio::test]
async fn a_configuration_without_simulation_is_refused() {
    let (_, _, config) = layer_one();
    let mut enclave = Enclave::start(&MeasuredConfig { simulation_allowed: false, ..config }, None).await;
    let reason = enclave.stop_reason().await;
    assert!(matches!(&reason, StopReason::BadConfig(why) if why.contains("simulated")), "{reason:?}");
}

#[tokio::test]
async fn its_registration_is_genuine_for_the_verifier() {
    let (mut chain, voters, config) = layer_one();
    let mut enclave = Enclave::start(&config, None).await;
    let introduced = enclave.introduction().await;
    let values = BTreeMap::from([
        (storage::enclave_bridge_version(), storage::ENCLAVE_BRIDGE_VERSION.encode()),
        (storage::teerex_version(), storage::TEEREX_VERSION.encode()),
        (storage::sidechain_version(), storage::SIDECHAIN_VERSION.encode()),
        (storage::timestamp(), NOW.encode()),
    ]);
    let state = State::new(values, StateVersion::V1);
    let number = chain.push(|header| header.state_root = state.root());
    let justification = voters.justify(chain.header(number)).encode();
    enclave.sender.send(ToEnclave::Finality { headers: chain.range(1, number), justification }).await.unwrap();
    let registration = loop {
        match enclave.next().await {
            ToHost::ProofQuestion { question, at, keys } => {
                assert_eq!(at, chain.header(number).hash());
                let proof = Ok(state.prove(&keys));
                enclave.sender.send(ToEnclave::ProofAnswer { question, proof }).await.unwrap();
            }
            ToHost::Register { registration, .. } => break registration,
            ToHost::Synced { .. } | ToHost::Status { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    let roots = Roots::intel_and_development();
    let verified = verify(&registration.evidence, &introduced.collateral, &roots, NOW).unwrap();
    assert_eq!((verified.kind, verified.fingerprint), (TeeKind::Simulated, introduced.measurement));
    let (genesis, block) = (config.genesis, chain.header(registration.block_number).hash());
    let stated = (&registration.incarnation_key, &registration.tls_key_hash);
    assert_eq!(verified.report_data, report_data(&genesis, &introduced.account, stated.0, stated.1, &block));
    assert_eq!(registration.block_number, number);
    assert_eq!(registration.url.unwrap().as_slice(), b"wss://localhost:2000");
}
