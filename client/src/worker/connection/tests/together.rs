//! What is asked at once.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::ReadBuf;

use super::*;

/// Counts how often it is written to.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test]
async fn requests_that_are_made_together_go_out_together() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let writes = Arc::<AtomicUsize>::default();
    let ours = Counted { stream: ours, writes: writes.clone() };
    let commands = start(WebSocketStream::from_raw_socket(ours, Role::Client, None).await);
    let mut enclave = Enclave(WebSocketStream::from_raw_socket(theirs, Role::Server, None).await);
    // The connection's task runs once this one waits.
    let ask = |number: u8| {
        let (reply, answer) = oneshot::channel();
        let command = Command { method: "any".into(), parameters: json!([number]), reply: Reply::Answer(reply) };
        assert!(commands.try_send(command).is_ok());
        answer
    };
    let answers: Vec<_> = (0..5).map(ask).collect();
    for number in 0..5 {
        let request = enclave.request().await;
        assert_eq!(request["params"], json!([number]));
        enclave.answer(&request, &[number]).await;
    }
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    for (number, answer) in (0u8..).zip(answers) {
        assert_eq!(answer.await.unwrap().unwrap(), json!(to_hex(&[number])));
    }
}
