//! Who may connect to a listener: so many at a time, and of each peer so many, and so often.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Bounds of one listener. Zero is taken for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections of one peer at a time.
    pub per_peer: u32,
    /// Connections per second that one peer may go on opening, after `per_peer` at once.
    pub per_second_per_peer: u32,
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There are too many.
    Full,
    /// Its peer has too many.
    Peer,
    /// Its peer opens them too fast.
    Rate,
}

impl Refusal {
    pub const ALL: [Self; 3] = [Self::Full, Self::Peer, Self::Rate];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Peer => "peer",
            Self::Rate => "rate",
        }
    }
}

/// Counts connections.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    /// Between two connections that one peer goes on opening.
    interval: Duration,
    guests: Mutex<Guests>,
}

/// One connection; counted until it is dropped.
#[derive(Debug)]
pub struct Pass {
    admission: Arc<Admission>,
    peer: Peer,
}

/// Whom a network gives its addresses to: with IPv6 that is, as a rule, 64 bits of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Peer {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

#[derive(Debug, Default)]
struct Guests {
    open: usize,
    peers: HashMap<Peer, Guest>,
    /// So many peers are remembered before those are forgotten of whom there is nothing to remember.
    enough: usize,
}

#[derive(Debug)]
struct Guest {
    open: u32,
    /// Until then its connections are paid for by waiting (generic cell rate algorithm).
    due: Instant,
}

impl Admission {
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let interval = Duration::from_secs(1) / bounds.per_second_per_peer.max(1);
        let bounds = Bounds { connections: bounds.connections.max(1), per_peer: bounds.per_peer.max(1), ..bounds };
        Arc::new(Self { bounds, interval, guests: Mutex::default() })
    }

    /// Takes a connection from `address`, or refuses it.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Pass, Refusal> {
        let peer = Peer::of(address);
        let mut guests = self.guests();
        if guests.open >= self.bounds.connections {
            return Err(Refusal::Full);
        }
        guests.forget(now);
        let guest = guests.peers.entry(peer).or_insert(Guest { open: 0, due: now });
        if guest.open >= self.bounds.per_peer {
            return Err(Refusal::Peer);
        }
        let due = guest.due.max(now);
        if due - now > self.interval * (self.bounds.per_peer - 1) {
            return Err(Refusal::Rate);
        }
        guest.due = due + self.interval;
        guest.open += 1;
        guests.open += 1;
        Ok(Pass { admission: self.clone(), peer })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    /// Lets go of peers that are as good as new. Costs each connection the same, whatever the number of peers.
    fn forget(&mut self, now: Instant) {
        if self.peers.len() < self.enough.max(ENOUGH) {
            return;
        }
        self.peers.retain(|_, guest| guest.open > 0 || guest.due > now);
        self.enough = 2 * self.peers.len();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut guests = self.admission.guests();
        guests.open = guests.open.saturating_sub(1);
        if let Some(guest) = guests.peers.get_mut(&self.peer) {
            guest.open = guest.open.saturating_sub(1);
        }
    }
}

impl Peer {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

const ENOUGH: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admission(connections: usize, per_peer: u32, per_second_per_peer: u32) -> Arc<Admission> {
        Admission::new(Bounds { connections, per_peer, per_second_per_peer })
    }

    #[test]
    fn one_peer_leaves_room_for_others() {
        let (admission, now) = (admission(5, 2, 1_000), Instant::now());
        let admit = |text: &str| admission.admit(address(text), now).map(drop);
        let first = admission.admit(address("127.0.0.2"), now).unwrap();
        let _second = admission.admit(address("127.0.0.2"), now).unwrap();
        assert_eq!(admit("127.0.0.2"), Err(Refusal::Peer));
        let others = ["127.0.0.3", "127.0.0.3", "::1"].map(|text| admission.admit(address(text), now).unwrap());
        assert_eq!(admit("127.0.0.4"), Err(Refusal::Full));
        drop(others);
        assert_eq!(admit("127.0.0.2"), Err(Refusal::Peer));
        drop(first);
        let later = now + Duration::from_secs(1);
        assert_eq!(admission.admit(address("127.0.0.2"), later).map(drop), Ok(()));
    }

    #[test]
    fn who_connects_too_often_waits() {
        let (admission, start) = (admission(100, 3, 10), Instant::now());
        let admit = |ms| admission.admit(address("10.0.0.1"), start + Duration::from_millis(ms)).map(drop);
        for _ in 0..3 {
            assert_eq!(admit(0), Ok(()));
        }
        // Refused ones cost nothing.
        for _ in 0..10 {
            assert_eq!(admit(99), Err(Refusal::Rate));
        }
        assert_eq!(admit(100), Ok(()));
        assert_eq!(admit(199), Err(Refusal::Rate));
        assert_eq!(admission.admit(address("10.0.0.2"), start).map(drop), Ok(()));
        for _ in 0..3 {
            assert_eq!(admit(10_000), Ok(()));
        }
        assert_eq!(admit(10_000), Err(Refusal::Rate));
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_ipv4() {
        let (admission, now) = (admission(100, 1, 1), Instant::now());
        let mut admitted = Vec::new();
        for (text, expected) in [
            ("2001:db8:0:1::1", Ok(())),
            ("2001:db8:0:1:ffff::2", Err(Refusal::Peer)),
            ("2001:db8:0:2::1", Ok(())),
            ("10.0.0.1", Ok(())),
            ("::ffff:10.0.0.1", Err(Refusal::Peer)),
            ("::ffff:10.0.0.2", Ok(())),
        ] {
            let outcome = admission.admit(address(text), now).map(|pass| admitted.push(pass));
            assert_eq!(outcome, expected, "{text}");
        }
    }

    #[test]
    fn peers_that_left_are_forgotten() {
        let (admission, start) = (admission(100, 2, 50), Instant::now());
        let stays = admission.admit(address("10.0.0.1"), start).unwrap();
        for second in 0..100_000u32 {
            let peer = IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + second));
            admission.admit(peer, start + Duration::from_secs(second.into())).unwrap();
        }
        assert!(admission.guests().peers.len() <= ENOUGH);
        assert!(admission.guests().peers.contains_key(&Peer::of(address("10.0.0.1"))));
        drop(stays);
        assert_eq!(admission.guests().open, 0);
    }

    #[test]
    fn zero_is_taken_for_one() {
        let (admission, now) = (admission(0, 0, 0), Instant::now());
        let pass = admission.admit(address("::1"), now).unwrap();
        assert_eq!(admission.admit(address("10.0.0.1"), now).map(drop), Err(Refusal::Full));
        drop(pass);
        assert_eq!(admission.admit(address("::1"), now).map(drop), Err(Refusal::Rate));
    }
}
