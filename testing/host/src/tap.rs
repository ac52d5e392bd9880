//! Between host and enclave: every message passes a lie.

use std::sync::{Arc, Mutex};

use cloister_link::{
    Receiver, Sender, ToEnclave, ToHost,
    frame::{self, FrameDecoder},
};
use futures::StreamExt;
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    net::UnixStream,
    sync::{mpsc, watch},
};
use tokio_util::codec::FramedRead;

use crate::Seen;

/// Something on the link.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few at a time")]
pub enum Passing {
    /// From the host.
    ToEnclave(ToEnclave),
    /// From the enclave.
    ToHost(ToHost),
    /// Raw bytes for the enclave, which need not be a frame.
    Bytes(Vec<u8>),
    /// The end of all bytes for the enclave.
    HangUp,
}

/// Says what passes in place of a message, in either direction.
pub type Lie = Box<dyn FnMut(Passing) -> Vec<Passing> + Send>;

/// Nothing is changed.
pub fn honest() -> Lie {
    Box::new(|passing| vec![passing])
}

/// Where tests meddle.
#[derive(Clone)]
pub(crate) struct Tap {
    lie: Arc<Mutex<Lie>>,
    injected: mpsc::UnboundedSender<Passing>,
}

impl Tap {
    /// Joins host and enclave. What the enclave says is noted in `seen`.
    pub fn open(
        enclave: UnixStream,
        host: (Sender<ToHost>, Receiver<DuplexStream, ToEnclave>),
        lie: Lie,
        seen: watch::Sender<Seen>,
    ) -> Self {
        let lie = Arc::new(Mutex::new(lie));
        let (injected, injections) = mpsc::unbounded_channel();
        let tap = Self { lie, injected };
        tokio::spawn(relay(enclave, host, tap.lie.clone(), injections, seen));
        tap
    }

    /// From now on this lie is told.
    pub fn lie(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }

    /// Passes as it is, whatever lie is told.
    pub fn inject(&self, passing: Passing) {
        // Nothing reaches an enclave that has ended.
        let _ = self.injected.send(passing);
    }
}

async fn relay(
    enclave: UnixStream,
    (to_host, mut from_host): (Sender<ToHost>, Receiver<DuplexStream, ToEnclave>),
    lie: Arc<Mutex<Lie>>,
    mut injections: mpsc::UnboundedReceiver<Passing>,
    seen: watch::Sender<Seen>,
) {
    let (reader, mut writer) = enclave.into_split();
    let (bytes, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
    // Apart, so that an enclave that does not read does not keep us from reading.
    let writing = tokio::spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let (told, mut telling) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = telling.recv().await {
            if to_host.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = Some(bytes);
    let mut frames = FramedRead::new(reader, FrameDecoder::<ToHost>::default());
    loop {
        let passing = tokio::select! {
            message = from_host.recv() => match message {
                Ok(message) => (lie.lock().unwrap())(Passing::ToEnclave(message)),
                Err(_) => break,
            },
            message = frames.next() => match message {
                Some(Ok(message)) => {
                    seen.send_modify(|seen| seen.note(&message));
                    (lie.lock().unwrap())(Passing::ToHost(message))
                }
                _ => {
                    seen.send_modify(|seen| seen.closed = true);
                    break;
                }
            },
            Some(injected) = injections.recv() => vec![injected],
        };
        for passing in passing {
            let sent = match passing {
                Passing::ToEnclave(message) => frame::encode(&message).unwrap(),
                Passing::Bytes(bytes) => bytes,
                Passing::ToHost(message) => {
                    // A host that is gone hears nothing.
                    let _ = told.send(message);
                    continue;
                }
                Passing::HangUp => {
                    bytes = None;
                    continue;
                }
            };
            if let Some(bytes) = &bytes {
                // An enclave that takes no more has something to say first.
                let _ = bytes.send(sent);
            }
        }
    }
    drop(bytes);
    writing.abort();
}
