//! What one connection may use.

use std::time::Duration;

/// What one connection may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest message, bytes. The largest request is about 33 kB in hex.
    pub message_bytes: usize,
    /// Requests per second that a client may go on making. One that makes more is not read until there is room.
    pub requests_per_second: u32,
    /// Requests that it may make at once after a silence.
    pub request_burst: u32,
    /// Most requests in one batch.
    pub batch: usize,
    /// Bytes of one answer above which it is refused, and of a batch's answers after which its other requests are.
    pub answer_bytes: usize,
    /// Most operations watched at once.
    pub watched: usize,
    /// Until TLS and WebSocket stand.
    pub handshake: Duration,
    /// Until the handler has answered all calls of one message.
    pub answer: Duration,
    /// Until the client has taken one message.
    pub write: Duration,
    /// Silence after which the client is asked for a sign of life.
    pub ping: Duration,
    /// Silence after which the connection ends; above `ping`. Also how long one message may be under way.
    pub idle: Duration,
    /// Until the client has answered the end.
    pub close: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 128 * 1024,
            requests_per_second: 200,
            request_burst: 400,
            batch: 32,
            answer_bytes: 256 * 1024,
            watched: 64,
            handshake: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            write: Duration::from_secs(20),
            ping: Duration::from_secs(25),
            idle: Duration::from_secs(60),
            close: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_fit_together() {
        let limits = Limits::default();
        assert!(limits.ping < limits.idle);
        assert!(limits.message_bytes > 2 * 16_384 + 200);
    }
}
