//! Accepts clients' TCP connections and relays their bytes to the enclave, in which TLS ends.

use std::{sync::Arc, time::Duration};

use cloister_link::{Connections, ToEnclave};
use tokio::net::TcpListener;

use crate::status::Shared;

/// Accepts until the link ends.
pub async fn accept(listener: TcpListener, connections: Connections<ToEnclave>, shared: Arc<Shared>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, as a rule; the connection waits in the kernel meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Without it small answers would wait for acknowledgements; harmless if refused.
        let _ = stream.set_nodelay(true);
        match connections.open(stream).await {
            Ok(Ok(_)) => {}
            Ok(Err(_refused)) => shared.metrics.connections_refused_total.inc(),
            Err(_) => return,
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);
