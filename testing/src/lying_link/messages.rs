//! What can be done to each message of the link.

use std::fmt::Debug;

use cloister_chain_primitives::H256;
use cloister_link::{Kept, LinkMessage, MAX_FRAME, StopReason, ToEnclave, ToHost};
use codec::DecodeAll;
use rand::{Rng, rngs::StdRng};

use super::{
    Manner::{self, Alter, Postpone, Repeat, Withhold},
    Rule, Told, frame_of,
};

/// A message about which lies can be told.
pub trait Lied: LinkMessage + DecodeAll + Clone + Debug {
    /// Both directions of a seed tell different lies.
    const SALT: u64;

    /// Its name.
    fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
    }

    /// Whether the enclave serves from now on.
    fn is_serving(&self) -> bool {
        false
    }

    /// What may be done to it, and what breaks the link's rules.
    fn manners(&self) -> (&'static [Manner], &'static [Manner]);

    /// The same with something changed.
    fn altered(&self, random: &mut StdRng) -> Self;

    /// What a rule makes of it; `done` once its occasion is over.
    fn by_rule(&self, rule: Rule, done: &mut bool) -> Option<Told>;
}

impl Lied for ToEnclave {
    const SALT: u64 = 0;

    fn manners(&self) -> (&'static [Manner], &'static [Manner]) {
        match self {
            Self::Start { .. } => (&[], &[Repeat]),
            Self::Finality { .. } | Self::ProofAnswer { .. } => (&[Withhold, Repeat, Postpone, Alter, Alter], &[]),
            Self::Tick { .. } => (&[Withhold, Repeat, Alter], &[]),
            Self::ChainVersion { .. } | Self::SubmitFailed { .. } => (&[Withhold, Repeat, Alter], &[]),
            // The last of what was kept may be in no anchor, so none is withheld.
            Self::Kept(_) => (&[], &[Repeat, Alter]),
            Self::KeptAll => (&[], &[Repeat]),
            // Never sooner than it is true.
            Self::Stored { .. } => (&[Repeat, Postpone], &[Withhold]),
            Self::ConnectionOpened { .. } => (&[], &[Withhold, Repeat, Postpone]),
            Self::ConnectionData { .. } => (&[Alter, Withhold], &[Repeat, Postpone]),
            Self::ConnectionCredit { .. } => (&[Withhold, Postpone], &[Alter]),
            Self::ConnectionClosed { .. } => (&[Withhold, Postpone], &[Repeat]),
            Self::Stop => (&[], &[]),
        }
    }

    fn altered(&self, random: &mut StdRng) -> Self {
        let mut message = self.clone();
        match &mut message {
            Self::ChainVersion { spec_version, .. } => *spec_version ^= 1,
            Self::Finality { headers, justification } => match (random.gen_range(0..4), headers.last_mut()) {
                (0, Some(last)) => last.state_root = H256::random(),
                (1, Some(_)) => drop(headers.pop()),
                (2, _) => justification.truncate(random.gen_range(0..=justification.len())),
                _ => flip(justification, random),
            },
            Self::ProofAnswer { question, proof } => match (random.gen_range(0..4), proof) {
                (0, proof) => *proof = Err("there is none".into()),
                (1, _) => *question = question.wrapping_add(1),
                (2, Ok(nodes)) => {
                    nodes.pop();
                }
                (_, Ok(nodes)) if !nodes.is_empty() => {
                    let at = random.gen_range(0..nodes.len());
                    flip(&mut nodes[at], random);
                }
                _ => {}
            },
            Self::Tick { unix_ms } => {
                let (second, hour) = (1_000, 3_600_000);
                *unix_ms = match random.gen_range(0..6) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => unix_ms.saturating_sub(hour),
                    3 => unix_ms.saturating_add(hour),
                    4 => unix_ms.saturating_sub(second),
                    _ => unix_ms.saturating_add(10 * second),
                };
            }
            Self::ConnectionData { bytes, .. } => flip(bytes, random),
            Self::ConnectionCredit { bytes, .. } => *bytes = random.r#gen(),
            Self::SubmitFailed { extrinsic_hash, .. } => *extrinsic_hash = H256::random(),
            Self::Kept(kept) => flip(kept_bytes(kept), random),
            _ => {}
        }
        message
    }

    fn by_rule(&self, rule: Rule, done: &mut bool) -> Option<Told> {
        let repeated = || vec![frame_of(self), frame_of(self)];
        let on = match (rule, self) {
            _ if *done => return None,
            (Rule::StartTwice, Self::Start { .. }) => repeated(),
            (Rule::TickFirst, Self::Start { .. }) => vec![frame_of(&Self::Tick { unix_ms: 1 })],
            (Rule::EarlierProtocol, Self::Start { .. }) => {
                let mut message = self.clone();
                if let Self::Start { protocol, .. } = &mut message {
                    *protocol = protocol.saturating_sub(1);
                }
                vec![frame_of(&message)]
            }
            (Rule::HugeFrame, Self::Tick { .. }) => {
                vec![[&(MAX_FRAME as u32 + 1).to_le_bytes()[..], &[0; 64]].concat()]
            }
            (Rule::CutFrame, Self::Tick { .. }) => {
                *done = true;
                let cut = [&100u32.to_le_bytes()[..], &[4; 50]].concat();
                return Some(Told { on: vec![cut], ends: true, ..Told::default() });
            }
            (Rule::Gibberish, Self::Tick { .. }) => vec![[&3u32.to_le_bytes()[..], &[0xff; 3]].concat()],
            // Each of them.
            (Rule::KeptWithheld, Self::Kept(_)) => return Some(Told::default()),
            (Rule::KeptTwice, Self::Kept(Kept::Block(_))) => repeated(),
            (Rule::KeptAltered, Self::Kept(Kept::Block(bytes))) => {
                let mut bytes = bytes.clone();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                vec![frame_of(&Self::Kept(Kept::Block(bytes)))]
            }
            (Rule::KeptLate, Self::KeptAll) => vec![frame_of(self), frame_of(&Self::Kept(Kept::Mark(vec![0; 40])))],
            (Rule::NumberAgain, Self::ConnectionOpened { .. }) => repeated(),
            (Rule::DataOfNobody, Self::Tick { .. }) => {
                vec![frame_of(&Self::ConnectionData { connection: 1 << 40, bytes: vec![1] }), frame_of(self)]
            }
            _ => return None,
        };
        *done = true;
        Some(Told { on, ..Told::default() })
    }
}

impl Lied for ToHost {
    const SALT: u64 = 1 << 63;

    fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. })
    }

    fn manners(&self) -> (&'static [Manner], &'static [Manner]) {
        match self {
            Self::Identity { .. } => (&[Alter], &[Repeat]),
            Self::Synced { .. } | Self::ProofQuestion { .. } => (&[Withhold, Repeat, Postpone, Alter], &[]),
            Self::Submit { .. } | Self::Register { .. } => (&[Withhold, Repeat, Postpone, Alter], &[]),
            Self::Serving { .. } | Self::Recovered { .. } | Self::LayerOneBehind { .. } => (&[Withhold, Repeat], &[]),
            Self::Registered { .. } | Self::Status { .. } => (&[Withhold, Repeat, Alter], &[]),
            Self::Store { .. } => (&[], &[Withhold, Repeat, Postpone]),
            Self::ConnectionData { .. } => (&[Alter, Withhold], &[Repeat, Postpone]),
            Self::ConnectionCredit { .. } => (&[Withhold, Postpone], &[Alter]),
            Self::ConnectionClosed { .. } => (&[Withhold, Postpone], &[Repeat]),
            Self::Stopped { .. } => (&[Alter], &[]),
        }
    }

    fn altered(&self, random: &mut StdRng) -> Self {
        let mut message = self.clone();
        match &mut message {
            // The shard stays: the host would keep its blocks in another place.
            Self::Identity { measurement, .. } => *measurement = random.r#gen(),
            Self::Synced { number, hash } => match random.r#gen() {
                true => *number = number.wrapping_add(random.gen_range(1..100)),
                false => *hash = H256::random(),
            },
            Self::ProofQuestion { at, keys, .. } => match random.r#gen() {
                true => *at = H256::random(),
                false => keys.truncate(keys.len() / 2),
            },
            Self::Submit { extrinsic } | Self::Register { extrinsic, .. } => flip(extrinsic, random),
            Self::ConnectionData { bytes, .. } => flip(bytes, random),
            Self::ConnectionCredit { bytes, .. } => *bytes = random.r#gen(),
            Self::Status { block, anchored, inbox_consumed, layer_one, account_free, execution_micros, .. } => {
                for figure in [block, anchored, inbox_consumed, execution_micros] {
                    *figure = random.r#gen();
                }
                (*layer_one, *account_free) = (random.r#gen(), random.r#gen());
            }
            Self::Registered { expires_at } => *expires_at = random.r#gen(),
            Self::Stopped { reason } => *reason = StopReason::Retired,
            _ => {}
        }
        message
    }

    fn by_rule(&self, rule: Rule, done: &mut bool) -> Option<Told> {
        match (rule, self) {
            (Rule::OtherProtocol, Self::Identity { .. }) => {
                let mut message = self.clone();
                if let Self::Identity { protocol, .. } = &mut message {
                    *protocol = protocol.saturating_add(1);
                }
                Some(Told { on: vec![frame_of(&message)], ..Told::default() })
            }
            (Rule::StoresNothing, Self::Store { sequence, .. }) => {
                Some(Told { back: vec![frame_of(&ToEnclave::Stored { sequence: *sequence })], ..Told::default() })
            }
            (Rule::StoreTwice, Self::Store { .. }) if !*done => {
                *done = true;
                Some(Told { on: vec![frame_of(self), frame_of(self)], ..Told::default() })
            }
            _ => None,
        }
    }
}

fn kept_bytes(kept: &mut Kept) -> &mut Vec<u8> {
    match kept {
        Kept::Mark(bytes) | Kept::Manifest(bytes) | Kept::Piece(bytes) | Kept::Block(bytes) => bytes,
    }
}

/// Flips a bit somewhere.
fn flip(bytes: &mut [u8], random: &mut StdRng) {
    if !bytes.is_empty() {
        let at = random.gen_range(0..bytes.len());
        bytes[at] ^= 1 << random.gen_range(0..8);
    }
}
