//! What the operator is told on standard output: lines to read, or events as JSON lines.

use std::{
    fmt::{self, Debug, Formatter},
    io::Write,
    sync::Arc,
    time::Duration,
};

use cloister_chain_primitives::{AccountId, Balance, BlockNumber, Moment, ShardId, UNIT};
use serde_json::{Value, json};
use sp_core::crypto::Ss58Codec;
use tokio::time::Instant;

use crate::{cli::shard_text, registration::Obstacle};

/// What happened to an enclave that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The registration waits for something.
    Waiting { account: AccountId, obstacle: Obstacle },
    /// Layer one's node has taken a registration, whose evidence names this block.
    Registering { block_number: BlockNumber },
    /// The registration is final until then.
    Registered { expires_at: Moment },
    /// The enclave waits with evidence until layer one's time, as last proven to it, and this machine's clock are
    /// closer together.
    LayerOneBehind { layer_one: Moment, clock: Moment },
    /// The enclave has the state of the shard's newest block again.
    Recovered { number: u64 },
    /// Clients are served.
    Serving { shard: ShardId },
}

impl Progress {
    fn event(&self) -> Value {
        match self {
            Self::Waiting { account, obstacle } => {
                let mut event = json!({
                    "event": "waiting",
                    "account": account.to_ss58check(),
                    "reason": printable(&obstacle.to_string()),
                });
                event["for"] = json!(obstacle.waits_for());
                match obstacle {
                    Obstacle::Funds { free, needed } => {
                        event["free"] = json!(free.to_string());
                        event["needed"] = json!(needed.to_string());
                        event["missing"] = json!(needed.saturating_sub(*free).to_string());
                    }
                    Obstacle::Collateral { refusal, command } => {
                        event["refusal"] = json!(format!("{refusal:?}"));
                        event["command"] = json!(command);
                    }
                    Obstacle::Refused(refusal) => event["refusal"] = json!(format!("{refusal:?}")),
                    Obstacle::NotTaken(_) | Obstacle::SignedTooEarly(_) => {}
                }
                event
            }
            Self::Registering { block_number } => json!({ "event": "registering", "block_number": block_number }),
            Self::Registered { expires_at } => json!({ "event": "registered", "expires_at": expires_at }),
            Self::LayerOneBehind { layer_one, clock } => json!({
                "event": "waiting",
                "for": "time",
                "reason": self.to_string(),
                "layer_one": layer_one,
                "clock": clock,
            }),
            Self::Recovered { number } => json!({ "event": "recovered", "number": number }),
            Self::Serving { shard } => json!({ "event": "serving", "shard": shard_text(shard) }),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { account, obstacle } => {
                let address = account.to_ss58check();
                match obstacle {
                    Obstacle::Funds { .. } => {
                        write!(f, "waiting for money on the enclave's account {address}: {obstacle}")
                    }
                    Obstacle::Collateral { command, .. } => {
                        write!(f, "waiting for collateral: {obstacle}. Submit it with:\n{command}")
                    }
                    Obstacle::Refused(_) | Obstacle::NotTaken(_) | Obstacle::SignedTooEarly(_) => {
                        write!(f, "waiting to register {address}: {}", printable(&obstacle.to_string()))
                    }
                }
            }
            Self::Registering { block_number } => write!(f, "registering, with evidence of block {block_number}"),
            Self::Registered { expires_at } => write!(f, "registered until {expires_at} (Unix ms)"),
            Self::LayerOneBehind { layer_one, clock } => write!(
                f,
                "waiting for layer one's time: as last proven to the enclave it is {layer_one} (Unix ms), {} s behind \
                 this machine's clock, {clock}. Until they are closer the enclave neither registers nor renews its \
                 registration. Finality or storage proofs stall, the enclave is catching up, or this clock is wrong",
                clock.saturating_sub(*layer_one) / 1_000
            ),
            Self::Recovered { number: 0 } => write!(f, "recovered: the shard has no blocks yet"),
            Self::Recovered { number } => write!(f, "recovered the state of block {number}"),
            Self::Serving { shard } => write!(f, "serving shard {}", shard_text(shard)),
        }
    }
}

/// Whoever reads what the worker has to say.
#[derive(Clone)]
pub struct Operator(Arc<dyn Fn(&Progress) + Send + Sync>);

impl Operator {
    /// Reads standard output, as lines or as JSON.
    pub fn new(as_json: bool) -> Self {
        Self::listening(move |progress| match as_json {
            true => event(&progress.event()),
            false => say(progress),
        })
    }

    pub fn listening(hear: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub fn tell(&self, progress: &Progress) {
        (self.0)(progress);
    }
}

impl Debug for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Operator")
    }
}

/// What the operator has been told: news at once, the same again every minute, in the log.
#[derive(Debug, Default)]
pub struct Told {
    obstacles: Vec<Obstacle>,
    pace: Pace,
}

impl Told {
    pub fn tell(&mut self, operator: &Operator, account: &AccountId, obstacles: Vec<Obstacle>) {
        if obstacles != self.obstacles {
            self.pace = Pace::default();
        }
        if !self.pace.is_time(Instant::now()) {
            return;
        }
        for obstacle in &obstacles {
            let progress = Progress::Waiting { account: account.clone(), obstacle: obstacle.clone() };
            if self.obstacles.contains(obstacle) {
                tracing::info!("still {progress}");
            } else if obstacle.passes() {
                tracing::info!("{progress}");
            } else {
                operator.tell(&progress);
            }
        }
        self.obstacles = obstacles;
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Lets something be said at once, and again only every minute.
#[derive(Debug, Default)]
pub struct Pace {
    said: Option<Instant>,
}

impl Pace {
    /// Whether to say it now.
    pub fn is_time(&mut self, now: Instant) -> bool {
        let is_time = self.said.is_none_or(|said| now.saturating_duration_since(said) >= REMINDER);
        if is_time {
            self.said = Some(now);
        }
        is_time
    }
}

const REMINDER: Duration = Duration::from_secs(60);

/// Prints lines; whoever has closed our standard output does not want them.
pub fn say(lines: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{}", escaped(&lines.to_string(), |shown| shown == '\n'));
}

/// Prints an event as a JSON line.
pub fn event(event: &Value) {
    let _ = writeln!(std::io::stdout(), "{}", json_line(event));
}

/// Text that a node or an enclave chose, as one line that a terminal takes for text: what could steer it is escaped,
/// and what is long is cut.
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => escaped(&text[..end], |_| false) + "…",
        None => escaped(text, |_| false),
    }
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match steers(character) && !is_kept(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// JSON escapes what is below a space; the rest that steers a terminal stands within strings, where all may be escaped.
fn json_line(event: &Value) -> String {
    let mut line = String::new();
    for character in event.to_string().chars() {
        match steers(character) {
            true => {
                let mut units = [0; 2];
                line.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            false => line.push(character),
        }
    }
    line
}

/// Whether a character makes a terminal do something, or changes the order in which others are shown: control
/// characters of both sets, line separators, and what Unicode has for directions and for no width.
fn steers(character: char) -> bool {
    let is_directional = matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    character.is_control() || is_directional
}

/// Characters; what nodes say of an extrinsic has some dozens.
const MOST_SHOWN: usize = 500;

/// Planck as UNIT, in decimals, without trailing zeros.
pub fn units(planck: Balance) -> String {
    let (whole, rest) = (planck / UNIT, planck % UNIT);
    match rest {
        0 => format!("{whole} UNIT"),
        rest => format!("{whole}.{} UNIT", format!("{rest:012}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::{H256, RegistrationRefused};

    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(units(0), "0 UNIT");
        assert_eq!(units(2 * UNIT), "2 UNIT");
        assert_eq!(units(UNIT + UNIT / 4), "1.25 UNIT");
        assert_eq!(units(1), "0.000000000001 UNIT");
    }

    #[test]
    fn what_goes_on_is_said_once_a_minute() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let said = |pace: &mut Pace, ms| pace.is_time(start + Duration::from_millis(ms));
        assert!(said(&mut pace, 5));
        assert!(!said(&mut pace, 5) && !said(&mut pace, 60_004));
        assert!(said(&mut pace, 60_005) && !said(&mut pace, 60_006));
    }

    #[test]
    fn what_a_node_says_steers_no_terminal() {
        const SAID: &str = "\x1b]0;x\x07 \x1b[2J\r\n\u{9b}31m \u{202e}evil\u{2066} \u{7f}ä";
        const SHOWN: &str = "\\u{1b}]0;x\\u{7} \\u{1b}[2J\\u{d}\\u{a}\\u{9b}31m \\u{202e}evil\\u{2066} \\u{7f}ä";
        assert_eq!(printable(SAID), SHOWN);
        assert_eq!(printable(SHOWN), SHOWN, "not twice");

        let account = AccountId::new([7; 32]);
        let address = account.to_ss58check();
        for obstacle in [Obstacle::NotTaken(SAID.into()), Obstacle::SignedTooEarly(SAID.into())] {
            let waiting = Progress::Waiting { account: account.clone(), obstacle };
            let text = waiting.to_string();
            assert!(text.starts_with(&format!("waiting to register {address}: ")), "{text}");
            assert!(text.ends_with(SHOWN) && !text.contains(steers), "{text}");
            assert!(!json_line(&waiting.event()).contains(steers));
        }
        let event = json!({ "reason": SAID });
        let line = json_line(&event);
        assert!(!line.contains(steers), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), event, "a program reads what was said");
    }

    #[test]
    fn what_a_node_says_without_end_is_cut() {
        let said = "ä".repeat(1_000_000);
        let shown = printable(&said);
        assert_eq!(shown, format!("{}…", "ä".repeat(MOST_SHOWN)));
        assert_eq!(printable(&said[..2 * MOST_SHOWN]), said[..2 * MOST_SHOWN]);
        let waiting = Progress::Waiting { account: AccountId::new([7; 32]), obstacle: Obstacle::NotTaken(said) };
        assert!(waiting.to_string().chars().count() < MOST_SHOWN + 200);
        assert!(waiting.event().to_string().chars().count() < MOST_SHOWN + 300);
    }

    #[test]
    fn every_event_is_for_people_and_for_programs() {
        let account = AccountId::new([7; 32]);
        let address = account.to_ss58check();
        let waiting = |obstacle| Progress::Waiting { account: account.clone(), obstacle };

        let funds = waiting(Obstacle::Funds { free: UNIT, needed: 3 * UNIT });
        assert_eq!(
            funds.to_string(),
            format!(
                "waiting for money on the enclave's account {address}: it has 1 UNIT of the 3 UNIT that it needs for \
                 deposits and fees; send it 2 UNIT"
            )
        );
        let event = funds.event();
        assert_eq!((&event["free"], &event["missing"]), (&json!("1000000000000"), &json!("2000000000000")));
        assert_eq!((&event["for"], &event["needed"]), (&json!("funds"), &json!("3000000000000")));
        assert_eq!(event["account"], json!(address));

        let command = "cloister attest submit".to_owned();
        let collateral = waiting(Obstacle::Collateral { refusal: RegistrationRefused::TcbInfoMissing, command });
        assert!(collateral.to_string().ends_with("\ncloister attest submit"), "{collateral}");
        assert!(collateral.to_string().contains("no TCB info"), "{collateral}");
        let event = collateral.event();
        assert_eq!((&event["for"], &event["refusal"]), (&json!("collateral"), &json!("TcbInfoMissing")));
        assert_eq!(event["command"], json!("cloister attest submit"));

        let refused = waiting(Obstacle::Refused(RegistrationRefused::TooSoon));
        assert!(refused.to_string().contains("too young"), "{refused}");
        assert_eq!((&refused.event()["for"], &refused.event()["refusal"]), (&json!("refused"), &json!("TooSoon")));

        let behind = Progress::LayerOneBehind { layer_one: 1_700_000_000_000, clock: 1_700_000_061_500 };
        let text = behind.to_string();
        assert!(text.contains("1700000000000 (Unix ms), 61 s behind this machine's clock, 1700000061500."), "{text}");
        let event = behind.event();
        assert_eq!((&event["event"], &event["for"]), (&json!("waiting"), &json!("time")));
        assert_eq!(
            (&event["layer_one"], &event["clock"]),
            (&json!(1_700_000_000_000u64), &json!(1_700_000_061_500u64))
        );

        let shard = ShardId(H256::repeat_byte(3));
        for (progress, name) in [
            (Progress::Registering { block_number: 4 }, "registering"),
            (Progress::Registered { expires_at: 5 }, "registered"),
            (Progress::Recovered { number: 0 }, "recovered"),
            (Progress::Recovered { number: 6 }, "recovered"),
            (Progress::Serving { shard }, "serving"),
        ] {
            assert_eq!(progress.event()["event"], json!(name));
            assert!(progress.to_string().starts_with(name), "{progress}");
        }
        assert_eq!(Progress::Registered { expires_at: 5 }.event()["expires_at"], json!(5));
        assert_eq!(Progress::Recovered { number: 6 }.event()["number"], json!(6));
    }
}
