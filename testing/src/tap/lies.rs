//! A node's answers as a lying one gives them, by chance under a seed.

use std::collections::HashMap;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};

/// A seed, and what happened so far.
pub struct Lies {
    random: StdRng,
    one_in: u32,
    /// The last truthful result of each method.
    last: HashMap<String, Value>,
    told: usize,
}

/// What the worker hears instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// These messages, or none.
    Messages(Vec<String>),
    /// The end of its connection.
    End,
}

impl Lies {
    /// About one answer of so many.
    pub fn new(seed: u64, one_in: u32) -> Self {
        Self { random: StdRng::seed_from_u64(seed), one_in: one_in.max(1), last: HashMap::new(), told: 0 }
    }

    /// How many were told.
    pub fn told(&self) -> usize {
        self.told
    }

    /// What is heard of a node's message; `method` is that of the request that it answers, if it is an answer.
    pub fn tell(&mut self, text: &str, method: Option<&str>) -> Heard {
        let truth = Heard::Messages(vec![text.to_owned()]);
        let Ok(answer) = serde_json::from_str::<Value>(text) else { return truth };
        let result = answer.get("result").cloned();
        let earlier = match (method, &result) {
            (Some(method), Some(result)) => self.last.insert(method.to_owned(), result.clone()),
            _ => None,
        };
        if !self.random.gen_ratio(1, self.one_in) {
            return truth;
        }
        let id = &answer["id"];
        let heard = match (self.random.gen_range(0..100), result) {
            (0..20, _) => Heard::Messages(Vec::new()),
            (20..30, _) => Heard::Messages(vec![text.to_owned(); 2]),
            (30..34, _) => Heard::End,
            (34..50, Some(_)) => {
                let error = json!({ "code": 4003, "message": "the node has forgotten" });
                Heard::Messages(vec![json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()])
            }
            (50..65, Some(_)) => match earlier {
                Some(earlier) => {
                    Heard::Messages(vec![json!({ "jsonrpc": "2.0", "id": id, "result": earlier }).to_string()])
                }
                None => return truth,
            },
            _ => match self.garbled(text) {
                Some(garbled) => Heard::Messages(vec![garbled]),
                None => return truth,
            },
        };
        self.told += 1;
        heard
    }

    /// The text with another hex digit somewhere.
    fn garbled(&mut self, text: &str) -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let starts: Vec<usize> = text.match_indices("\"0x").map(|(at, quote)| at + quote.len()).collect();
        let start = *starts.choose(&mut self.random)?;
        let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let at = start + (digits > 0).then(|| self.random.gen_range(0..digits))?;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_what_a_node_says() {
        let answer = |id: u32| json!({ "jsonrpc": "2.0", "id": id, "result": format!("0x{id:08x}") }).to_string();
        let heard = |seed| {
            let mut lies = Lies::new(seed, 2);
            let heard: Vec<_> = (0..200).map(|id| lies.tell(&answer(id), Some("method"))).collect();
            (heard, lies.told())
        };
        let (first, told) = heard(3);
        assert_eq!((first.clone(), told), heard(3));
        assert_ne!(first, heard(4).0);
        let is_lie = |(id, heard): (u32, &Heard)| *heard != Heard::Messages(vec![answer(id)]);
        assert_eq!((0..).zip(&first).filter(|said| is_lie(*said)).count(), told);
        for wanted in [Heard::End, Heard::Messages(vec![]), Heard::Messages(vec![answer(9); 2])] {
            let alike = |heard: &&Heard| match (heard, &wanted) {
                (Heard::Messages(some), Heard::Messages(wanted)) => some.len() == wanted.len(),
                (heard, wanted) => *heard == wanted,
            };
            assert!(first.iter().any(|heard| alike(&heard)), "{wanted:?}");
        }
    }

    #[test]
    fn one_of_one_is_a_lie_and_no_nonsense() {
        let mut lies = Lies::new(1, 1);
        let text = json!({ "jsonrpc": "2.0", "id": 1, "result": "0xab" }).to_string();
        for _ in 0..100 {
            if let Heard::Messages(messages) = lies.tell(&text, Some("method")) {
                assert!(messages.iter().all(|message| serde_json::from_str::<Value>(message).is_ok()));
            }
        }
    }
}
