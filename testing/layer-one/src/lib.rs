//! A layer one made up for tests of trusted cores: headers, authorities that sign for them, states with proofs, and a
//! registry that believes what it is told.

mod registry;

use cloister_chain_primitives::{
    H256, Hashing, Header,
    config::{Checkpoint, MeasuredConfig},
};
use cloister_light_client::{Error, Head, LightClient};
use codec::Encode;
use finality_grandpa::{Commit, Message, Precommit, SignedPrecommit};
use sp_consensus_grandpa::{
    AuthorityId, AuthorityPair, AuthoritySignature, ConsensusLog, GRANDPA_ENGINE_ID, GrandpaJustification,
    ScheduledChange, localized_payload,
};
use sp_core::{Pair, storage::StateVersion};
use sp_runtime::{Digest, DigestItem};
use sp_state_machine::{InMemoryBackend, prove_read_on_trie_backend};

pub use registry::Registry;

pub type Justification = GrandpaJustification<Header>;
pub type Vote = SignedPrecommit<H256, u32, AuthoritySignature, AuthorityId>;

/// The round in which all votes are cast.
pub const ROUND: u64 = 7;

/// An authority's key; keys of development accounts are public, so these are made up.
pub fn key(seed: u8) -> AuthorityPair {
    AuthorityPair::from_seed(&[seed; 32])
}

/// An authority set that can sign.
#[derive(Clone)]
pub struct Voters {
    pub id: u64,
    pub keys: Vec<(AuthorityPair, u64)>,
}

impl Voters {
    /// Authorities of weight 1.
    pub fn new(id: u64, seeds: impl IntoIterator<Item = u8>) -> Self {
        Self { id, keys: seeds.into_iter().map(|seed| (key(seed), 1)).collect() }
    }

    pub fn public(&self, voter: usize) -> AuthorityId {
        self.keys[voter].0.public()
    }

    pub fn list(&self) -> Vec<(AuthorityId, u64)> {
        self.keys.iter().map(|(key, weight)| (key.public(), *weight)).collect()
    }

    pub fn vote(&self, voter: usize, header: &Header) -> Vote {
        self.vote_for(voter, header.hash(), header.number)
    }

    pub fn vote_for(&self, voter: usize, target_hash: H256, target_number: u32) -> Vote {
        sign(&self.keys[voter].0, self.id, Precommit { target_hash, target_number })
    }

    /// All vote for `header` itself.
    pub fn justify(&self, header: &Header) -> Justification {
        let votes = (0..self.keys.len()).map(|voter| self.vote(voter, header)).collect();
        justification(header, votes, vec![])
    }
}

pub fn sign(key: &AuthorityPair, set_id: u64, precommit: Precommit<H256, u32>) -> Vote {
    let message = Message::Precommit(precommit.clone());
    SignedPrecommit { precommit, signature: key.sign(&localized_payload(ROUND, set_id, &message)), id: key.public() }
}

pub fn justification(target: &Header, precommits: Vec<Vote>, votes_ancestries: Vec<Header>) -> Justification {
    let commit = Commit { target_hash: target.hash(), target_number: target.number, precommits };
    GrandpaJustification { round: ROUND, commit, votes_ancestries }
}

/// A chain from block 0 on; a header's index is its number.
#[derive(Clone)]
pub struct Chain {
    pub headers: Vec<Header>,
}

impl Chain {
    pub fn new(length: u32) -> Self {
        let mut chain = Self { headers: vec![child(None)] };
        chain.extend(length);
        chain
    }

    pub fn extend(&mut self, length: u32) {
        for _ in 0..length {
            self.push(|_| ());
        }
    }

    /// Adds a block and returns its number.
    pub fn push(&mut self, change: impl FnOnce(&mut Header)) -> u32 {
        let mut header = child(self.headers.last());
        change(&mut header);
        self.headers.push(header);
        self.headers.last().unwrap().number
    }

    /// Adds a block in which GRANDPA says something, and returns its number.
    pub fn push_log(&mut self, log: ConsensusLog<u32>) -> u32 {
        self.push(|header| header.digest.push(DigestItem::Consensus(GRANDPA_ENGINE_ID, log.encode())))
    }

    /// Adds a block that schedules a change of authorities, and returns its number.
    pub fn push_change(&mut self, next: &Voters, delay: u32) -> u32 {
        self.push_log(ConsensusLog::ScheduledChange(ScheduledChange { next_authorities: next.list(), delay }))
    }

    pub fn header(&self, number: u32) -> &Header {
        &self.headers[number as usize]
    }

    pub fn head(&self, number: u32) -> Head {
        Head { number, hash: self.header(number).hash() }
    }

    /// The headers from `first` to `last`, both included.
    pub fn range(&self, first: u32, last: u32) -> Vec<Header> {
        self.headers[first as usize..=last as usize].to_vec()
    }

    /// A client that starts at block 0.
    pub fn client(&self, voters: &Voters) -> LightClient {
        LightClient::new(&self.config(voters)).unwrap()
    }

    pub fn config(&self, voters: &Voters) -> MeasuredConfig {
        MeasuredConfig {
            genesis: self.header(0).hash(),
            checkpoint: Checkpoint {
                number: 0,
                hash: self.header(0).hash(),
                set_id: voters.id,
                authorities: voters.list().into_iter().map(|(id, weight)| (raw(&id), weight)).collect(),
            },
            simulation_allowed: true,
            unbound_getters_allowed: true,
            slot_ms: 300,
            min_upgrade_delay: 100,
        }
    }

    /// Imports everything up to `last` with a justification of `voters`.
    pub fn import(&self, client: &mut LightClient, last: u32, voters: &Voters) -> Result<Head, Error> {
        let headers = self.range(client.head().number + 1, last);
        client.import(headers, &voters.justify(self.header(last)).encode()).map(|header| header.head())
    }
}

/// A successor of `parent` as an AURA node seals it; or block 0.
pub fn child(parent: Option<&Header>) -> Header {
    let number = parent.map_or(0, |parent| parent.number + 1);
    let mut header = Header {
        number,
        parent_hash: parent.map(Header::hash).unwrap_or_default(),
        state_root: H256::repeat_byte(0x77),
        extrinsics_root: H256::from_low_u64_be(number.into()),
        digest: Digest::default(),
    };
    if parent.is_some() {
        header.digest.push(DigestItem::PreRuntime(*b"aura", u64::from(number).encode()));
        header.digest.push(DigestItem::Seal(*b"aura", vec![0x5e; 64]));
    }
    header
}

fn raw(id: &AuthorityId) -> [u8; 32] {
    let bytes: &[u8] = id.as_ref();
    bytes.try_into().unwrap()
}

/// A state of layer one.
pub struct State {
    backend: InMemoryBackend<Hashing>,
}

impl State {
    pub fn new(values: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, version: StateVersion) -> Self {
        let values = values.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let mut backend = sp_state_machine::new_in_mem();
        backend.insert([(None, values)], version);
        Self { backend }
    }

    pub fn root(&self) -> H256 {
        *self.backend.root()
    }

    pub fn prove(&self, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        prove_read_on_trie_backend(&self.backend, keys).unwrap().into_iter_nodes().collect()
    }

    /// A client that has finalized a block with this state.
    pub fn finalized(&self) -> LightClient {
        let mut chain = Chain::new(0);
        let last = chain.push(|header| header.state_root = self.root());
        let voters = Voters::new(0, 1..=2);
        let mut client = chain.client(&voters);
        chain.import(&mut client, last, &voters).unwrap();
        client
    }
}
