//! Accepts connections of one listener, and counts them.
//!
//! A failed accept is the system's shortage (descriptors, memory): it is logged, and the loop waits until a connection
//! ends or a moment has passed. The number of connections is bounded by `max.connections`; beyond it a new one is closed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection;
use crate::broker::Broker;
use crate::context::Session;

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// Receive buffers that nobody needed for so long are given back.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// Accepts until `stop`, and then waits until all connections have ended.
pub async fn accept(broker: Arc<Broker>, listener: TcpListener, name: Arc<str>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let mut trim = tokio::time::interval(TRIM_INTERVAL);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => open(&broker, stream, &name, (&stop, &connections)),
                Err(error) => {
                    warn!(%error, listener = %name, "accept failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            },
            _ = trim.tick() => broker.buffers.trim(),
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn open(
    broker: &Arc<Broker>,
    stream: TcpStream,
    listener: &Arc<str>,
    (stop, connections): (&CancellationToken, &TaskTracker),
) {
    if broker.metrics.connections.get() >= broker.connections_max() {
        broker.metrics.connections_failed.add(1);
        return;
    }
    let Ok(peer) = stream.peer_addr() else { return };
    if let Err(error) = prepare(&stream, broker.limits.send_buffer_bytes) {
        warn!(%error, listener = %listener, "a connection cannot be set up");
        return;
    }
    let (broker, stop, session) = (broker.clone(), stop.clone(), Session::new(listener.clone(), peer));
    connections.spawn(async move {
        broker.metrics.connections.add(1);
        connection::serve(broker.clone(), stream, session, stop).await;
        broker.metrics.connections.sub(1);
    });
}

fn prepare(stream: &TcpStream, send_buffer_bytes: Option<usize>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(bytes) = send_buffer_bytes {
        rustix::net::sockopt::set_socket_send_buffer_size(stream, bytes)?;
    }
    Ok(())
}
