//! Notices an enclave that says nothing any more: a call that computes without end holds all others up.

use std::time::Duration;

use tokio::time::Instant;

/// An enclave tells figures every few slots; it is given up after a long silence.
#[derive(Debug)]
pub struct Watchdog {
    silence: Duration,
    heard: Instant,
    doubted: bool,
}

impl Watchdog {
    /// The enclave may say nothing for so long.
    pub fn new(silence: Duration, now: Instant) -> Self {
        Self { silence, heard: now, doubted: false }
    }

    /// The enclave said something.
    pub fn hear(&mut self, now: Instant) {
        *self = Self::new(self.silence, now);
    }

    /// When to look again.
    pub fn due(&self) -> Instant {
        self.heard + if self.doubted { self.silence + self.last_chance() } else { self.silence }
    }

    /// It is due; whether the enclave is given up. This process may have slept while the enclave did not, so what it said
    /// meanwhile is read first.
    pub fn gives_up(&mut self, now: Instant) -> bool {
        let gives_up = self.doubted && now >= self.due();
        if !self.doubted {
            self.heard = now - self.silence.min(now - self.heard);
            self.doubted = true;
        }
        gives_up
    }

    fn last_chance(&self) -> Duration {
        self.silence / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);
    const LAST_CHANCE: Duration = Duration::from_secs(6);

    #[test]
    fn a_silent_enclave_is_given_up_and_a_sleeping_host_doubts_first() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(SILENCE, start);
        assert_eq!(watchdog.due(), start + SILENCE);
        assert!(!watchdog.gives_up(start + SILENCE));
        assert_eq!(watchdog.due(), start + SILENCE + LAST_CHANCE);
        assert!(watchdog.gives_up(start + SILENCE + LAST_CHANCE));

        let mut watchdog = Watchdog::new(SILENCE, start);
        let woken = start + 10 * SILENCE;
        assert!(!watchdog.gives_up(woken));
        assert_eq!(watchdog.due(), woken + LAST_CHANCE);
        watchdog.hear(woken);
        assert_eq!(watchdog.due(), woken + SILENCE);
    }
}
