//! Relays clients' TCP connections to the enclave, in which TLS ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use cloister_link::{Connections, ToEnclave};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    admission::{Pass, Refusal},
    listener::BoundedListener,
};

/// Accepts until the link ends.
pub async fn accept(listener: BoundedListener, connections: Connections<ToEnclave>) {
    loop {
        let (stream, pass, _) = listener.admit().await;
        // Without it small answers would wait for acknowledgements; harmless if refused.
        let _ = stream.set_nodelay(true);
        match connections.open(Relayed { stream, _pass: pass }).await {
            Ok(Ok(_)) => {}
            // Ended connections count on the link for some seconds more.
            Ok(Err(_refused)) => listener.refused(Refusal::Full),
            Err(_) => return,
        }
    }
}

/// A client's connection. What it may do the enclave says; how many there may be, the host.
struct Relayed {
    stream: TcpStream,
    _pass: Pass,
}

impl AsyncRead for Relayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Relayed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use cloister_link::{ToHost, transport};
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpSocket},
    };

    use super::*;
    use crate::{admission::Bounds, listener::Port, status::Shared};

    #[tokio::test]
    async fn the_enclave_hears_of_no_more_connections_than_a_peer_may_have() {
        let (near, far) = tokio::io::duplex(64 * 1_024);
        let (sender, _receiver) = transport::split::<_, ToEnclave, ToHost>(near);
        let (_enclave, mut host) = transport::split::<_, ToHost, ToEnclave>(far);
        let shared = Arc::new(Shared::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds { connections: 4, per_peer: 2, per_second_per_peer: 1_000 };
        let listener = BoundedListener::new(listener, Port::Trusted, bounds, shared.clone());
        // Those that the link still counts are refused, too.
        tokio::spawn(accept(listener, Connections::new(sender, 3)));
        let connect = async |last: u8| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
            socket.connect(address).await.unwrap()
        };
        let mut opened = async |connection| {
            assert_eq!(host.recv().await.unwrap(), ToEnclave::ConnectionOpened { connection });
        };
        let ended = async |mut stream: TcpStream| matches!(stream.read(&mut [0]).await, Ok(0) | Err(_));

        let _flood = [connect(2).await, connect(2).await];
        opened(0).await;
        opened(1).await;
        for _ in 0..5 {
            assert!(ended(connect(2).await).await);
        }
        let _other = connect(3).await;
        opened(2).await;
        assert!(ended(connect(4).await).await);
        let text = shared.metrics.text().unwrap();
        for line in [r#"reason="full"} 1"#, r#"reason="peer"} 5"#, r#"reason="rate"} 0"#] {
            assert!(text.contains(&format!("refused_total{{port=\"trusted\",{line}\n")), "{line}: {text}");
        }
    }
}
