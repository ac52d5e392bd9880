//! Dates and spans of time for people: UTC, to the second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::DateTime;

/// Milliseconds since the Unix epoch by this machine's clock.
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-11-21T12:00:00Z`; what lies beyond the calendar stays a number.
pub fn utc(unix_ms: u64) -> String {
    match DateTime::from_unix_duration(Duration::from_millis(unix_ms)) {
        Ok(date) => date.to_string(),
        Err(_) => format!("{unix_ms} ms"),
    }
}

/// `in 3 h 12 min`, `5 s ago`.
pub fn from_now(unix_ms: u64, now: u64) -> String {
    let span = span(unix_ms.abs_diff(now));
    if unix_ms > now { format!("in {span}") } else { format!("{span} ago") }
}

/// `2 d 3 h`, `3 h 12 min`, `12 min`, `59 s`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(utc(1_671_606_747_999), "2022-12-21T07:12:27Z");
        assert_eq!(utc(u64::MAX), format!("{} ms", u64::MAX));
        let now = 1_000_000_000;
        assert_eq!(from_now(now + 11_520_000, now), "in 3 h 12 min");
        assert_eq!(from_now(now - 59_999, now), "59 s ago");
        assert_eq!(span(60_000), "1 min");
        assert_eq!(span(86_400_000 * 2 + 3_600_000), "2 d 1 h");
    }
}
