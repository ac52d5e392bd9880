//! How fast an account spends, and how long it can go on.

use std::{collections::VecDeque, time::Duration};

use cloister_chain_primitives::Balance;
use tokio::time::Instant;

/// What an account has spent lately. Deposits count; what it is given does not.
#[derive(Debug, Default)]
pub struct Spending {
    free: Option<Balance>,
    /// Planck since the beginning.
    spent: Balance,
    /// The oldest is about as old as what counts.
    past: VecDeque<(Instant, Balance)>,
}

impl Spending {
    /// The account has this much.
    pub fn note(&mut self, free: Balance, now: Instant) {
        let before = self.free.replace(free).unwrap_or(free);
        self.spent = self.spent.saturating_add(before.saturating_sub(free));
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.past.back().is_none_or(|(at, _)| since(*at) >= INTERVAL) {
            self.past.push_back((now, self.spent));
        }
        while self.past.get(1).is_some_and(|(at, _)| since(*at) >= WINDOW) {
            self.past.pop_front();
        }
    }

    /// For how many seconds the account has enough if it goes on like this; `None` if nothing was spent.
    pub fn lasts(&self, now: Instant) -> Option<f64> {
        let (free, (since, before)) = (self.free?, self.past.front()?);
        let spent = self.spent.saturating_sub(*before);
        let seconds = now.saturating_duration_since(*since).max(SHORTEST).as_secs_f64();
        (spent > 0).then(|| free as f64 / spent as f64 * seconds)
    }
}

/// What counts.
const WINDOW: Duration = Duration::from_secs(600);
const INTERVAL: Duration = Duration::from_secs(10);
/// What is spent at the beginning is not taken for what is spent every second.
const SHORTEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_lately_says_how_long_the_rest_lasts() {
        let (mut spending, start) = (Spending::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(spending.lasts(at(0)), None);
        spending.note(1_000, at(0));
        assert_eq!(spending.lasts(at(1)), None);
        // The first spending counts as a minute's.
        spending.note(900, at(1));
        assert_eq!(spending.lasts(at(1)), Some(900.0 / 100.0 * 60.0));
        assert_eq!(spending.lasts(at(120)), Some(900.0 / 100.0 * 120.0));
        // What it is given makes it last longer and is not spent.
        spending.note(2_900, at(120));
        assert_eq!(spending.lasts(at(120)), Some(2_900.0 / 100.0 * 120.0));
    }

    #[test]
    fn spending_of_long_ago_is_forgotten() {
        let (mut spending, start) = (Spending::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        spending.note(10_000, at(0));
        for second in 1..=1_200 {
            // One planck a second for ten minutes, then two.
            let spent = second + u64::saturating_sub(second, 600);
            spending.note(Balance::from(10_000 - spent), at(second));
        }
        let lasts = spending.lasts(at(1_200)).unwrap();
        assert!((lasts - 8_200.0 / 2.0).abs() < 50.0, "{lasts}");
        assert!(spending.past.len() < 70, "{}", spending.past.len());
        for second in 1_201..=2_000 {
            spending.note(8_200, at(second));
        }
        assert_eq!(spending.lasts(at(2_000)), None);
    }
}
