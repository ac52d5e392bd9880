//! What comes over the link: clients' bytes go to their connections, all else to the engine.

use std::{io, num::NonZero, sync::Arc};

use cloister_link::{
    connections::{Connections, ProtocolError},
    frame::LinkError,
    message::{StopReason, ToEnclave, ToHost},
    transport::Receiver,
};
use cloister_rpc::{Handler, Limits};
use tokio::{
    net::UnixStream,
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

/// What a relayed connection is served with.
pub struct Reception {
    pub connections: Connections<ToHost>,
    pub clients: Arc<dyn Handler>,
    pub tls: Arc<rustls::ServerConfig>,
    pub limits: Limits,
    pub threads: Handle,
    pub shutdown: CancellationToken,
}

/// Threads on which clients are served, one fewer than there are cores. Whatever handshakes, messages and signatures
/// cost that strangers send, they keep each other waiting, and neither the engine nor the link.
pub fn client_threads() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(spare_cores()).thread_name("clients").enable_all().build()
}

/// Cores besides the engine's; one if there is no other.
pub fn spare_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1)
}

/// Receives from the link: bytes of connections go to their own tasks at once, all else to the engine.
pub async fn receive(
    mut receiver: Receiver<UnixStream, ToEnclave>,
    reception: Reception,
    events: mpsc::Sender<ToEnclave>,
) -> StopReason {
    loop {
        let message = match receiver.recv().await {
            Ok(message) => message,
            Err(LinkError::Closed) => return StopReason::Protocol("the host closed the link".into()),
            Err(error) => return StopReason::Protocol(error.to_string()),
        };
        let relayed = match message {
            ToEnclave::ConnectionOpened { connection } => reception.open(connection).await,
            ToEnclave::ConnectionData { connection, bytes } => reception.connections.data(connection, &bytes),
            ToEnclave::ConnectionCredit { connection, bytes } => reception.connections.credit(connection, bytes),
            ToEnclave::ConnectionClosed { connection } => reception.connections.closed(connection),
            message => {
                if events.send(message).await.is_err() {
                    return StopReason::Internal("the engine ended".into());
                }
                Ok(())
            }
        };
        if let Err(error) = relayed {
            return StopReason::Protocol(error.to_string());
        }
    }
}

impl Reception {
    async fn open(&self, connection: u64) -> Result<(), ProtocolError> {
        if let Some(stream) = self.connections.opened(connection).await? {
            let (tls, clients) = (self.tls.clone(), self.clients.clone());
            let (limits, shutdown) = (self.limits, self.shutdown.clone());
            self.threads.spawn(async move {
                let ended = stream.ended();
                tokio::select! {
                    served = cloister_rpc::serve(stream, tls, clients, limits, shutdown) => if let Err(error) = served {
                        tracing::debug!(%error, "a connection ended");
                    },
                    // A call that is under way has nobody to answer.
                    () = ended => tracing::debug!("a client left"),
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use cloister_keys::TlsIdentity;
    use cloister_link::transport::{self, Sender};
    use cloister_rpc::{Call, Reply};
    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    struct Silent;

    impl Handler for Silent {
        fn call(&self, _: Call) -> BoxFuture<'_, Reply> {
            pending().boxed()
        }
    }

    struct Host {
        sender: Sender<ToEnclave>,
        receiver: Receiver<UnixStream, ToHost>,
        connections: Connections<ToHost>,
        events: mpsc::Receiver<ToEnclave>,
    }

    impl Host {
        fn of_an_enclave(most: usize, threads: Handle) -> Self {
            let (near, far) = UnixStream::pair().unwrap();
            let (sender, receiver) = transport::split::<_, ToEnclave, ToHost>(near);
            let (answers, link) = transport::split::<_, ToHost, ToEnclave>(far);
            let connections = Connections::new(answers, most);
            let reception = Reception {
                connections: connections.clone(),
                clients: Arc::new(Silent),
                tls: TlsIdentity::draw().unwrap().server_config(),
                // Nobody begins one here, and nobody is to be given up for that.
                limits: Limits { handshake: Duration::from_secs(1_000_000), ..Limits::default() },
                threads,
                shutdown: CancellationToken::new(),
            };
            let (event, events) = mpsc::channel(1);
            tokio::spawn(receive(link, reception, event));
            Self { sender, receiver, connections, events }
        }

        async fn says(&self, message: ToEnclave) {
            self.sender.send(message).await.unwrap();
        }

        async fn hears(&mut self, expected: ToHost) {
            assert_eq!(self.receiver.recv().await.unwrap(), expected);
        }

        /// The enclave has taken all that was said before.
        async fn is_heard(&mut self) {
            self.says(ToEnclave::Tick { unix_ms: 7 }).await;
            assert_eq!(self.events.recv().await, Some(ToEnclave::Tick { unix_ms: 7 }));
        }
    }

    /// All of the clients' threads are busy until the sender is dropped.
    fn take_all(threads: &Runtime) -> std::sync::mpsc::Sender<()> {
        let (stop, stopped) = std::sync::mpsc::channel();
        let stopped = Arc::new(std::sync::Mutex::new(stopped));
        for _ in 0..threads.metrics().num_workers() {
            let stopped = stopped.clone();
            threads.spawn(async move {
                if let Ok(stopped) = stopped.lock() {
                    let _ = stopped.recv();
                }
            });
        }
        stop
    }

    #[tokio::test]
    async fn a_client_that_left_counts_until_it_is_served_no_longer() {
        let threads = client_threads().unwrap();
        let stop = take_all(&threads);
        let mut host = Host::of_an_enclave(1, threads.handle().clone());
        host.says(ToEnclave::ConnectionOpened { connection: 0 }).await;
        host.says(ToEnclave::ConnectionClosed { connection: 0 }).await;
        host.hears(ToHost::ConnectionClosed { connection: 0 }).await;
        host.says(ToEnclave::ConnectionOpened { connection: 1 }).await;
        host.hears(ToHost::ConnectionClosed { connection: 1 }).await;
        assert_eq!(host.connections.count(), 1, "the one that left");
        drop(stop);
        while host.connections.count() > 0 {
            tokio::task::yield_now().await;
        }
        threads.shutdown_background();
    }

    #[tokio::test]
    async fn clients_that_take_all_their_threads_hold_up_neither_link_nor_engine() {
        let threads = client_threads().unwrap();
        let busy = threads.metrics().num_workers();
        assert_eq!(busy, spare_cores());
        let stop = take_all(&threads);
        let mut host = Host::of_an_enclave(1, threads.handle().clone());
        host.says(ToEnclave::ConnectionOpened { connection: 0 }).await;
        host.says(ToEnclave::ConnectionData { connection: 0, bytes: vec![0x16; 100] }).await;
        host.says(ToEnclave::ConnectionOpened { connection: 1 }).await;
        host.hears(ToHost::ConnectionClosed { connection: 1 }).await;
        host.is_heard().await;
        assert_eq!(threads.metrics().num_alive_tasks(), busy + 1, "the client is served there");
        drop(stop);
        threads.shutdown_background();
    }
}
