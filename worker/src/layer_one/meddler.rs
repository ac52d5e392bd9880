//! A proxy before a node for tests, which makes of an honest node one that lies.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What happens to a connection.
#[derive(Clone, Debug)]
pub enum Meddling {
    /// It is accepted, and that is all.
    Silence,
    /// Nothing that the node says after the handshake arrives.
    Deafness,
    /// Right after the handshake the node seems to say this.
    Says(String),
    /// The first time that the node says the first text, it seems to say the second, of the same length.
    Swaps(String, String),
}

/// Where a proxy listens that meddles so with its first connections, and with later ones not at all.
pub async fn meddle(node: SocketAddr, meddling: Vec<Meddling>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut meddling = meddling.into_iter();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(relay(client, node, meddling.next()));
        }
    });
    address
}

async fn relay(mut client: TcpStream, node: SocketAddr, meddling: Option<Meddling>) -> Option<()> {
    if let Some(Meddling::Silence) = meddling {
        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
        return None;
    }
    let (mut from_client, to_client) = client.into_split();
    let (from_node, mut to_node) = TcpStream::connect(node).await.ok()?.into_split();
    let asked = async { tokio::io::copy(&mut from_client, &mut to_node).await.ok() };
    tokio::select! {
        _ = asked => None,
        ended = answer(from_node, to_client, meddling) => ended,
    }
}

async fn answer(mut node: OwnedReadHalf, mut client: OwnedWriteHalf, meddling: Option<Meddling>) -> Option<()> {
    let mut handshake = Vec::new();
    while !handshake.ends_with(b"\r\n\r\n") {
        handshake.push(node.read_u8().await.ok()?);
    }
    client.write_all(&handshake).await.ok()?;
    let mut swap = None;
    match meddling {
        Some(Meddling::Says(text)) => client.write_all(&frame(&text)).await.ok()?,
        Some(Meddling::Swaps(from, to)) => swap = Some((from, to)),
        Some(Meddling::Deafness) => {
            tokio::io::copy(&mut node, &mut tokio::io::sink()).await.ok()?;
        }
        Some(Meddling::Silence) | None => {}
    }
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let count = node.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        if let Some((from, to)) = &swap
            && let Some(at) = buffer[..count].windows(from.len()).position(|window| window == from.as_bytes())
        {
            buffer[at..][..to.len()].copy_from_slice(to.as_bytes());
            swap = None;
        }
        client.write_all(&buffer[..count]).await.ok()?;
    }
}

/// A text message as servers frame it (RFC 6455, section 5.2).
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 127];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}
