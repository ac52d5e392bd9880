//! Other peers than this program: connections from other loopback addresses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

/// Somebody at 127.0.0.x.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(u8);

impl Peer {
    /// At 127.0.0.x; this program's own connections come from 127.0.0.1.
    pub fn at(last: u8) -> Self {
        Self(last)
    }

    /// Connects to a port of this machine.
    pub async fn connect(self, port: u16) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, self.0], 0)))?;
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
    }

    /// The address of a port to which others connect and in whose place the peer connects to `port`.
    pub async fn stands_before(self, port: u16) -> Result<(SocketAddr, JoinSet<()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut relays = JoinSet::new();
        relays.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                relays.spawn(async move {
                    let Ok(mut far) = self.connect(port).await else { return };
                    // Whoever ends it, ends it.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Ok((address, relays))
    }

    /// Connects and sends a byte of `words` at a time, for ever the last one, until the other side ends it or
    /// `deadline` passes; whether it was ended.
    pub async fn drips(self, port: u16, words: &'static [u8], deadline: Instant) -> bool {
        let Ok(mut stream) = self.connect(port).await else { return true };
        let mut bytes = words.iter().chain(words.last().into_iter().cycle());
        let mut answer = [0; 1024];
        while Instant::now() < deadline {
            let Some(byte) = bytes.next().map(std::slice::from_ref) else { return false };
            tokio::select! {
                written = stream.write_all(byte) => if written.is_err() { return true },
                () = sleep(deadline.saturating_duration_since(Instant::now())) => return false,
            }
            tokio::select! {
                // An answer is fine; the end is the end.
                read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return true },
                () = sleep(DRIP) => {}
            }
        }
        false
    }
}

/// Between two bytes.
const DRIP: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_has_an_address_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (before, _relays) = Peer::at(9).stands_before(port).await.unwrap();
        for (port, address) in [(port, "127.0.0.7"), (before.port(), "127.0.0.9")] {
            let (connected, accepted) = tokio::join!(Peer::at(7).connect(port), listener.accept());
            connected.unwrap();
            assert_eq!(accepted.unwrap().1.ip().to_string(), address);
        }
    }

    #[tokio::test]
    async fn who_drips_notices_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ends = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = [0; 3];
            stream.read_exact(&mut heard).await.unwrap();
            heard
        };
        let (ended, heard) = tokio::join!(Peer::at(7).drips(port, b"ab", deadline), ends);
        assert!(ended);
        assert_eq!(&heard, b"abb");
        let past = Instant::now();
        assert!(!Peer::at(7).drips(port, b"ab", past).await);
    }
}
