//! Notices an enclave that says nothing any more: a call that computes without end holds all others up.

use std::time::Duration;

use tokio::time::Instant;

/// An enclave tells figures every few slots; it is given up after a long silence.
#[derive(Debug)]
pub struct Watchdog {
    heard: Instant,
    doubted: bool,
}

impl Watchdog {
    pub fn new(now: Instant) -> Self {
        Self { heard: now, doubted: false }
    }

    /// The enclave said something.
    pub fn hear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// When to look again.
    pub fn due(&self) -> Instant {
        self.heard + if self.doubted { SILENCE + LAST_CHANCE } else { SILENCE }
    }

    /// It is due; whether the enclave is given up. This process may have slept while the enclave did not, so what it said
    /// meanwhile is read first.
    pub fn gives_up(&mut self, now: Instant) -> bool {
        let gives_up = self.doubted && now >= self.due();
        if !self.doubted {
            self.heard = now - SILENCE.min(now - self.heard);
            self.doubted = true;
        }
        gives_up
    }
}

/// How long an enclave may say nothing. Evidence of hardware takes seconds; calls of one slot, no more than that.
pub const SILENCE: Duration = Duration::from_secs(60);
const LAST_CHANCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_enclave_is_given_up_and_a_sleeping_host_doubts_first() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        assert_eq!(watchdog.due(), start + SILENCE);
        assert!(!watchdog.gives_up(start + SILENCE));
        assert_eq!(watchdog.due(), start + SILENCE + LAST_CHANCE);
        assert!(watchdog.gives_up(start + SILENCE + LAST_CHANCE));

        let mut watchdog = Watchdog::new(start);
        let woken = start + 10 * SILENCE;
        assert!(!watchdog.gives_up(woken));
        assert_eq!(watchdog.due(), woken + LAST_CHANCE);
        watchdog.hear(woken);
        assert_eq!(watchdog.due(), woken + SILENCE);
    }
}
