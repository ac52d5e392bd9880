//! The light client follows real validators through real changes of their set, and refuses what is not proof.

use std::time::Duration;

use anyhow::{Context, Result};
use cloister_chain_primitives::{
    AccountId, BlockNumber, H256, Header, Moment,
    config::{Checkpoint, MeasuredConfig},
    storage,
};
use cloister_light_client::{Error, LightClient, MAX_PROOF_BYTES};
use cloister_testing::{Chain, Network, calls, from_hex};
use codec::{Decode, DecodeAll};
use jsonrpsee::{core::client::Subscription, rpc_params};
use sp_keyring::Sr25519Keyring::{Alice, Bob};

/// Sessions have 10 blocks of 1 s, and a change takes effect at the end of the session after the one that hears it.
const SET_CHANGE_DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn follows_a_real_validator_set_change() -> Result<()> {
    let network = Network::local_testnet().await?;
    let chain = network.alice.chain().await?;
    let mut follower = Follower::at_genesis(&chain).await?;
    for _ in 0..3 {
        follower.step().await?;
    }
    refuses_what_is_no_finality_proof(&follower)?;
    assert_eq!((follower.client.set_id(), follower.voters()?), (0, 2));

    let (alice, bob) = (AccountId::from(Alice.public()), AccountId::from(Bob.public()));
    let only_alice = calls::sudo(&calls::set_validators(std::slice::from_ref(&alice)));
    chain.submit(&Alice.pair(), only_alice).await?;
    follower.until_set(1).await?;
    follower.step().await?;
    assert_eq!(follower.voters()?, 1, "Alice finalizes alone");

    chain.submit(&Alice.pair(), calls::sudo(&calls::set_validators(&[alice, bob]))).await?;
    follower.until_set(2).await?;
    follower.step().await?;
    assert_eq!(follower.voters()?, 2, "Bob votes again");

    let mut late = follower.start.clone();
    for Import { headers, justification } in &follower.imports {
        late.import(headers.clone(), justification)?;
    }
    assert_eq!(late.head(), follower.client.head(), "the same steps lead to the same head");

    reads_by_proof(&follower).await
}

/// A host that tells the truth, and the light client that it feeds.
struct Follower<'a> {
    chain: &'a Chain,
    justifications: Subscription<String>,
    config: MeasuredConfig,
    start: LightClient,
    client: LightClient,
    imports: Vec<Import>,
}

/// What one import takes.
#[derive(Clone)]
struct Import {
    headers: Vec<Header>,
    justification: Vec<u8>,
}

impl<'a> Follower<'a> {
    async fn at_genesis(chain: &'a Chain) -> Result<Self> {
        let genesis = chain.genesis();
        let call = rpc_params!["GrandpaApi_grandpa_authorities", "0x", genesis];
        let authorities: String = chain.request("state_call", call).await?;
        let config = MeasuredConfig {
            genesis,
            checkpoint: Checkpoint {
                number: 0,
                hash: genesis,
                set_id: 0,
                authorities: DecodeAll::decode_all(&mut from_hex(&authorities)?.as_slice())?,
            },
            simulation_allowed: true,
            unbound_getters_allowed: true,
            slot_ms: 300,
            min_upgrade_delay: 10,
        };
        let client = LightClient::new(&config)?;
        let justifications = chain.justifications().await?;
        Ok(Self { chain, justifications, config, start: client.clone(), client, imports: Vec::new() })
    }

    /// Imports the next finalization.
    async fn step(&mut self) -> Result<()> {
        loop {
            let next = tokio::time::timeout(SET_CHANGE_DEADLINE, self.justifications.next());
            let justification = next.await.context("finality has stalled")?.context("the node is gone")??;
            let justification = from_hex(&justification)?;
            let (_round, target, number) = <(u64, H256, BlockNumber)>::decode(&mut justification.as_slice())?;
            if number <= self.client.head().number {
                continue;
            }
            let import = Import { headers: self.headers_up_to(target).await?, justification };
            let head = self.client.import(import.headers.clone(), &import.justification)?.head();
            assert_eq!((head.number, head.hash), (number, target));
            self.imports.push(import);
            return Ok(());
        }
    }

    async fn until_set(&mut self, id: u64) -> Result<()> {
        let steps = async {
            while self.client.set_id() < id {
                self.step().await?;
            }
            Ok(())
        };
        tokio::time::timeout(SET_CHANGE_DEADLINE, steps).await.context("the set does not change")?
    }

    async fn headers_up_to(&self, target: H256) -> Result<Vec<Header>> {
        let mut headers = Vec::new();
        let mut hash = target;
        while hash != self.client.head().hash {
            let header = self.chain.header(hash).await?;
            hash = header.parent_hash;
            headers.push(header);
        }
        headers.reverse();
        Ok(headers)
    }

    /// How many votes the last justification has.
    fn voters(&self) -> Result<usize> {
        Ok(Votes::of(&self.imports.last().context("nothing imported")?.justification).count)
    }
}

/// Where the votes stand in an encoded justification: after round, target hash and target number follows their count
/// in one byte, then (hash, number, signature, voter) each.
struct Votes {
    count: usize,
}

impl Votes {
    const COUNT: usize = 8 + 32 + 4;
    const FIRST: usize = Self::COUNT + 1;
    const SIGNATURE: usize = Self::FIRST + 32 + 4;
    const SIZE: usize = 32 + 4 + 64 + 32;

    fn of(justification: &[u8]) -> Self {
        let count = justification[Self::COUNT];
        assert_eq!(count & 3, 0, "the shortest form of a compact number");
        Self { count: usize::from(count >> 2) }
    }
}

/// Changes one thing at a time in the last real import.
fn refuses_what_is_no_finality_proof(follower: &Follower) -> Result<()> {
    let (last, earlier) = follower.imports.split_last().context("nothing imported")?;
    let mut before = follower.start.clone();
    for Import { headers, justification } in earlier {
        before.import(headers.clone(), justification)?;
    }
    let refusal = |import: Import| -> Error {
        let mut client = before.clone();
        let error = client.import(import.headers, &import.justification).unwrap_err();
        assert_eq!(client.head(), before.head(), "a refusal changes nothing");
        assert!(!error.stops_for_good(), "{error}: the truth may still come");
        error
    };
    let changed = |change: &dyn Fn(&mut Import)| {
        let mut import = last.clone();
        change(&mut import);
        refusal(import)
    };
    let target = last.headers.last().context("no headers")?.clone();

    assert_eq!(changed(&|import| import.justification.clear()), Error::NoJustification);
    assert_eq!(changed(&|import| import.headers.clear()), Error::NoHeaders);
    assert!(matches!(
        changed(&|import| import.justification[Votes::SIGNATURE + 7] ^= 1),
        Error::ForgedSignature { .. }
    ));
    let too_few = changed(&|import| {
        import.justification[Votes::COUNT] = 1 << 2;
        import.justification.drain(Votes::FIRST..Votes::FIRST + Votes::SIZE);
    });
    assert_eq!(too_few, Error::TooFewVotes { weight: 1, threshold: 2 });
    let doubled = changed(&|import| {
        let vote = import.justification[Votes::FIRST..Votes::FIRST + Votes::SIZE].to_vec();
        let second = Votes::FIRST + Votes::SIZE;
        import.justification.splice(second..second + Votes::SIZE, vote);
    });
    assert!(matches!(doubled, Error::DuplicateVote { .. }));
    let altered = changed(&|import| {
        import.headers.last_mut().unwrap().state_root = H256::repeat_byte(1);
    });
    assert_eq!(altered, Error::JustificationOfAnotherHeader { number: target.number, hash: target.hash() });
    let orphaned = changed(&|import| import.headers[0].parent_hash = H256::repeat_byte(1));
    assert_eq!(orphaned, Error::BrokenAncestry { number: last.headers[0].number });
    let repeated = refusal(earlier.last().context("one import only")?.clone());
    assert!(matches!(repeated, Error::WrongNumber { .. }), "{repeated}");
    let early = Import { justification: earlier[0].justification.clone(), ..last.clone() };
    assert!(matches!(refusal(early), Error::JustificationOfAnotherHeader { .. }));

    // The same votes for a client that expects the next set.
    let mut config = follower.config.clone();
    config.checkpoint.set_id = 1;
    let Import { headers, justification } = follower.imports[0].clone();
    let wrong_set = LightClient::new(&config)?.import(headers, &justification).unwrap_err();
    assert_eq!(wrong_set, Error::WrongSet { current: 1, found: 0 });
    Ok(())
}

/// Reads the time of the last finalized block, and not from anything but a proof of it.
async fn reads_by_proof(follower: &Follower<'_>) -> Result<()> {
    let header = follower.client.finalized_header().context("nothing finalized")?;
    let (timestamp, absent) = (storage::timestamp(), b"no such key".to_vec());
    let versions = [storage::enclave_bridge_version(), storage::teerex_version(), storage::sidechain_version()];
    let keys: Vec<_> = [timestamp.clone(), absent.clone()].into_iter().chain(versions).collect();
    let proof = follower.chain.read_proof(&keys, header.hash()).await?;

    let values = header.read(proof.clone(), &keys)?;
    let time: Moment = values.decode(&timestamp)?.context("no time")?;
    assert_eq!(Some(time), follower.chain.storage(&timestamp, Some(header.hash())).await?);
    assert!(time > 1_700_000_000_000, "Unix milliseconds");
    assert_eq!(values.get(&absent)?, None, "absence is proven");
    cloister_light_client::check_layout(&values)?;

    let parent = follower.chain.read_proof(&keys, header.header().parent_hash).await?;
    let root = header.state_root();
    assert_eq!(header.read(parent, &keys).unwrap_err(), Error::ProofOfAnotherRoot { root });
    for lost in 0..proof.len() {
        let mut part = proof.clone();
        part.remove(lost);
        let error = header.read(part, &keys).unwrap_err();
        assert!(matches!(error, Error::MissingNode { .. } | Error::ProofOfAnotherRoot { .. }), "{error}");
    }
    for (node, length) in proof.iter().map(Vec::len).enumerate() {
        let mut forged = proof.clone();
        forged[node][length - 1] ^= 1;
        assert!(header.read(forged, &keys).is_err(), "node {node} was changed");
    }
    let oversized = [proof, vec![vec![0; MAX_PROOF_BYTES]]].concat();
    assert!(matches!(header.read(oversized, &keys).unwrap_err(), Error::ProofTooLarge { .. }));
    Ok(())
}
