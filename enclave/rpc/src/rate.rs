//! How often one connection may ask.

use std::time::Duration;

use tokio::time::Instant;

/// The generic cell rate algorithm (ITU-T I.371): one instant says how much of the burst is used up.
pub(crate) struct Rate {
    /// Between two requests that go on without end.
    interval: Duration,
    /// How far ahead of time requests may be.
    tolerance: Duration,
    /// Until then all requests are paid for by waiting.
    due: Instant,
}

impl Rate {
    /// So many requests per second, and as many as `burst` at once after a silence; zero is taken for one.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second.max(1)).unwrap_or_default();
        Self { interval, tolerance: interval.saturating_mul(burst.saturating_sub(1)), due: now }
    }

    /// Notes requests that were read.
    pub(crate) fn charge(&mut self, requests: usize, now: Instant) {
        let cost = self.interval.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX));
        let from = self.due.max(now);
        self.due = from.checked_add(cost).unwrap_or(from);
    }

    /// When the next request may be read; `None` for long ago.
    pub(crate) fn ready(&self) -> Option<Instant> {
        self.due.checked_sub(self.tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_the_steady_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(10, 3, start);
        for _ in 0..3 {
            assert!(rate.ready().is_none_or(|ready| ready <= start));
            rate.charge(1, start);
        }
        assert_eq!(rate.ready(), Some(at(100)));
        rate.charge(1, at(100));
        assert_eq!(rate.ready(), Some(at(200)));
        rate.charge(5, at(200));
        assert_eq!(rate.ready(), Some(at(700)), "what was read above the burst is paid for later");
        rate.charge(1, at(10_000));
        rate.charge(1, at(10_000));
        assert_eq!(rate.ready(), Some(at(10_000)), "silence gives the burst back, and no more");
        rate.charge(1, at(10_000));
        assert_eq!(rate.ready(), Some(at(10_100)));
    }

    #[test]
    fn no_figure_is_too_small_or_too_large() {
        let now = Instant::now();
        for (per_second, burst) in [(0, 0), (1, u32::MAX), (u32::MAX, u32::MAX), (0, u32::MAX)] {
            let mut rate = Rate::new(per_second, burst, now);
            assert!(rate.ready().is_none_or(|ready| ready <= now));
            rate.charge(usize::MAX, now);
            rate.charge(usize::MAX, now);
        }
        let mut rate = Rate::new(0, 0, now);
        rate.charge(1, now);
        assert_eq!(rate.ready(), Some(now + Duration::from_secs(1)));
    }
}
