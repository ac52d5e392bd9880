//! Lies under a seed: every message of the link, in both directions, may be altered, dropped, repeated, reordered or
//! delayed, and messages come that nobody sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use cloister_chain_primitives::H256;
use cloister_link::{Kept, ToEnclave, ToHost, Write, frame};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{Lie, Passing};

/// How often each kind of lie was told.
pub type Coverage = BTreeMap<&'static str, u32>;

/// How a liar lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Lies in a thousand messages.
    pub per_mille: u32,
    /// Whether it also tells those that no honest link can bring about, at the first of which an enclave ends.
    pub breaches: bool,
}

/// A liar; what it does follows from its seed and from what passes.
pub struct Liar {
    random: ChaCha8Rng,
    rate: Rate,
    /// Messages that come later, and after how many others.
    held: Vec<(u32, Passing)>,
    /// What passed lately, to come again.
    passed: VecDeque<Passing>,
    coverage: Arc<Mutex<Coverage>>,
}

impl Liar {
    /// Counts what it does in `coverage`.
    pub fn new(seed: u64, rate: Rate, coverage: Arc<Mutex<Coverage>>) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, rate, held: Vec::new(), passed: VecDeque::new(), coverage }
    }

    /// As a link takes it.
    pub fn into_lie(mut self) -> Lie {
        Box::new(move |passing| self.pass(passing))
    }

    fn pass(&mut self, passing: Passing) -> Vec<Passing> {
        let mut passes = Vec::new();
        for (left, _) in &mut self.held {
            *left = left.saturating_sub(1);
        }
        while let Some(at) = self.held.iter().position(|(left, _)| *left == 0) {
            passes.push(self.held.remove(at).1);
        }
        if self.passed.len() == REMEMBERED {
            self.passed.pop_front();
        }
        if !is_of_a_connection(&passing) {
            self.passed.push_back(passing.clone());
        }
        let per_mille = if is_rare(&passing) { (5 * self.rate.per_mille).min(500) } else { self.rate.per_mille };
        if is_about_the_start(&passing) || !self.random.gen_ratio(per_mille, 1_000) {
            passes.push(passing);
            return passes;
        }
        let connection = is_of_a_connection(&passing);
        match self.random.gen_range(0..9) {
            // A gap in a connection's bytes is what its TLS notices; a link without its end or credit only stands still.
            0 => self.count("dropped"),
            1 if !connection => {
                self.count("repeated");
                passes.extend([passing.clone(), passing]);
            }
            2 if !connection => {
                self.count("delayed");
                self.held.push((self.random.gen_range(1..60), passing));
            }
            3 if !connection => {
                self.count("came again");
                passes.push(passing);
                passes.extend(self.passed.iter().collect::<Vec<_>>().choose(&mut self.random).copied().cloned());
            }
            4 => {
                let invented = self.invented();
                passes.extend([Some(passing), invented].into_iter().flatten());
            }
            _ => passes.extend(self.altered(passing)),
        }
        passes
    }

    fn altered(&mut self, passing: Passing) -> Option<Passing> {
        if self.rate.breaches && self.random.gen_ratio(1, 8) {
            return self.broken(passing);
        }
        match passing {
            Passing::ToEnclave(message) => Some(self.altered_to_enclave(message)),
            Passing::ToHost(message) => Some(Passing::ToHost(self.altered_to_host(message))),
            passing => Some(passing),
        }
    }

    /// A frame with some bits flipped, too short, too long, or cut off.
    fn broken(&mut self, passing: Passing) -> Option<Passing> {
        let Passing::ToEnclave(message) = passing else { return Some(passing) };
        self.count("frame broken");
        let mut bytes = frame::encode(&message).unwrap();
        match self.random.gen_range(0..4) {
            0 => bytes.truncate(self.random.gen_range(0..bytes.len())),
            1 => bytes.extend([0; 3]),
            _ => self.flip(&mut bytes),
        }
        Some(Passing::Bytes(bytes))
    }

    fn altered_to_enclave(&mut self, message: ToEnclave) -> Passing {
        Passing::ToEnclave(match message {
            ToEnclave::Finality { mut headers, mut justification } => {
                self.count("finality altered");
                let at = self.random.gen_range(0..headers.len().max(1));
                match self.random.gen_range(0..6) {
                    0 => headers.truncate(at),
                    1 => drop(headers.drain(..at)),
                    2 => headers.iter_mut().skip(at).take(1).for_each(|header| header.state_root = H256::random()),
                    3 => headers.iter_mut().skip(at).take(1).for_each(|header| header.number ^= 1),
                    4 => headers.reverse(),
                    _ => self.flip(&mut justification),
                }
                ToEnclave::Finality { headers, justification }
            }
            ToEnclave::ProofAnswer { question, proof } => {
                self.count("proof altered");
                let question = if self.random.gen_ratio(1, 4) { self.number(question) } else { question };
                let proof = proof.and_then(|mut nodes| {
                    let at = self.random.gen_range(0..nodes.len().max(1));
                    match self.random.gen_range(0..5) {
                        0 => return Err("no proof".into()),
                        1 => nodes.clear(),
                        2 => nodes.truncate(at),
                        3 => nodes.iter_mut().skip(at).take(1).for_each(|node| self.flip(node)),
                        _ => nodes.reverse(),
                    }
                    Ok(nodes)
                });
                ToEnclave::ProofAnswer { question, proof }
            }
            ToEnclave::Tick { unix_ms } => {
                self.count("clock altered");
                ToEnclave::Tick { unix_ms: self.number(unix_ms) }
            }
            ToEnclave::Stored { sequence } => {
                self.count("acknowledgement altered");
                ToEnclave::Stored { sequence: self.number(sequence) }
            }
            ToEnclave::Kept(mut kept) => {
                self.count("kept altered");
                let (Kept::Mark(bytes) | Kept::Manifest(bytes) | Kept::Piece(bytes) | Kept::Block(bytes)) = &mut kept;
                self.flip(bytes);
                ToEnclave::Kept(kept)
            }
            ToEnclave::ConnectionData { connection, mut bytes } => {
                self.count("client's bytes altered");
                self.flip(&mut bytes);
                ToEnclave::ConnectionData { connection, bytes }
            }
            ToEnclave::ConnectionOpened { connection } if self.rate.breaches => {
                ToEnclave::ConnectionOpened { connection: self.number(connection) }
            }
            ToEnclave::ConnectionCredit { connection, bytes } if self.rate.breaches => {
                self.count("credit altered");
                ToEnclave::ConnectionCredit {
                    connection,
                    bytes: bytes.saturating_mul(1 << self.random.gen_range(0..9)),
                }
            }
            message => message,
        })
    }

    fn altered_to_host(&mut self, message: ToHost) -> ToHost {
        match message {
            ToHost::Synced { number, hash } => {
                self.count("head altered");
                ToHost::Synced { number: number ^ self.random.gen_range(0..8), hash }
            }
            ToHost::ProofQuestion { question, at, mut keys } => {
                self.count("question altered");
                keys.truncate(self.random.gen_range(0..=keys.len()));
                ToHost::ProofQuestion { question: self.number(question), at, keys }
            }
            ToHost::Submit { mut extrinsic } => {
                self.count("extrinsic altered");
                self.flip(&mut extrinsic);
                ToHost::Submit { extrinsic }
            }
            ToHost::Register { mut registration, extrinsic } => {
                self.count("registration altered");
                registration.incarnation_key[3] ^= 1;
                ToHost::Register { registration, extrinsic }
            }
            ToHost::Store { sequence, mut writes } => {
                self.count("what is to be kept altered");
                if let Some(Write::Mark(bytes) | Write::Block { bytes, .. }) = writes.first_mut() {
                    self.flip(bytes);
                }
                ToHost::Store { sequence: self.number(sequence), writes }
            }
            ToHost::ConnectionData { connection, mut bytes } => {
                self.count("answer's bytes altered");
                self.flip(&mut bytes);
                ToHost::ConnectionData { connection, bytes }
            }
            message => message,
        }
    }

    fn invented(&mut self) -> Option<Passing> {
        self.count("invented");
        let number = self.random.gen_range(0..200);
        let breach = self.rate.breaches;
        Some(Passing::ToEnclave(match self.random.gen_range(0..12) {
            0 => ToEnclave::Stored { sequence: number },
            1 => ToEnclave::Tick { unix_ms: self.random.gen_range(0..=u64::MAX) },
            2 => ToEnclave::ChainVersion { spec_version: number as u32, transaction_version: 1 },
            3 => ToEnclave::SubmitFailed { extrinsic_hash: H256::random(), reason: "lie\n".repeat(number as usize) },
            4 => ToEnclave::ProofAnswer { question: number, proof: Ok(vec![vec![0; 64]; number as usize]) },
            5 => ToEnclave::ProofAnswer { question: number, proof: Err("lie".into()) },
            6 => ToEnclave::Finality { headers: vec![], justification: vec![0; number as usize] },
            7 if breach => ToEnclave::Kept(Kept::Block(vec![0; number as usize])),
            8 if breach => ToEnclave::KeptAll,
            9 if breach => ToEnclave::ConnectionData { connection: number, bytes: vec![0; 9] },
            10 if breach => ToEnclave::ConnectionCredit { connection: number, bytes: 1 << 18 },
            11 if breach => ToEnclave::ConnectionClosed { connection: number },
            _ => return None,
        }))
    }

    /// Another number: near, or far away.
    fn number(&mut self, number: u64) -> u64 {
        match self.random.gen_range(0..7) {
            0 => 0,
            1 => u64::MAX,
            2 => number.saturating_add(1),
            3 => number.saturating_sub(1),
            4 => number.saturating_add(self.random.gen_range(0..100_000)),
            5 => number.saturating_sub(self.random.gen_range(0..100_000)),
            _ => self.random.gen_range(0..=u64::MAX),
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.random.gen_range(1..4) {
            if let Some(byte) = bytes.choose_mut(&mut self.random) {
                *byte ^= 1 << self.random.gen_range(0..8);
            }
        }
    }

    fn count(&self, what: &'static str) {
        *self.coverage.lock().unwrap().entry(what).or_default() += 1;
    }
}

/// What a host has to say for anything to begin. Lies about it have tests of their own.
fn is_about_the_start(passing: &Passing) -> bool {
    matches!(passing, Passing::ToEnclave(ToEnclave::Start { .. }) | Passing::ToHost(ToHost::Identity { .. }))
}

/// Of which there are few.
fn is_rare(passing: &Passing) -> bool {
    matches!(
        passing,
        Passing::ToEnclave(ToEnclave::Kept(_) | ToEnclave::KeptAll)
            | Passing::ToHost(ToHost::Register { .. } | ToHost::Submit { .. })
    )
}

/// Whether it belongs to a stream, which ends if parts of it are missing or come twice.
fn is_of_a_connection(passing: &Passing) -> bool {
    use {ToEnclave as E, ToHost as H};
    matches!(
        passing,
        Passing::ToEnclave(
            E::ConnectionOpened { .. }
                | E::ConnectionData { .. }
                | E::ConnectionCredit { .. }
                | E::ConnectionClosed { .. }
        ) | Passing::ToHost(H::ConnectionData { .. } | H::ConnectionCredit { .. } | H::ConnectionClosed { .. })
    )
}

/// Messages.
const REMEMBERED: usize = 64;
