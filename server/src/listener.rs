//! The TCP door: takes connections, as many as there may be, and tunes their sockets.

use crate::shared::Shared;
use crate::socket;
use crate::tcp::session;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use towline_engine::log::Limiter;
use towline_protocol::{Code, ErrorReply, Reply, frame};

/// How long the listener rests after an error (no descriptors left, for example); connections
/// that are open go on.
const REST: Duration = Duration::from_millis(250);

/// A peer that does not answer for this time is gone: the kernel itself would wait for two hours
/// on an idle connection, and a quarter of an hour on a busy one.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Takes connections until the server stops.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let (full, failing) = (Limiter::default(), Limiter::default());
    let places = Arc::new(Semaphore::new(shared.connections_max));
    loop {
        // Cancel-safe: a connection not accepted stays in the backlog.
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    if let Some(others) = full.due(()) {
                        tracing::warn!(%peer, others, "too many connections; one was turned away");
                    }
                    turn_away(&stream, shared.connections_max);
                    continue;
                };
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%peer, %error, "the socket could not be tuned");
                }
                let here = Arc::clone(&shared);
                shared.connections.spawn(async move {
                    match socket::halves(stream) {
                        Ok((reader, writer)) => session::serve(reader, writer, peer, here).await,
                        Err(error) => tracing::warn!(%peer, %error, "a connection was lost"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(others) = failing.due(()) {
                    tracing::warn!(%error, others, "a connection could not be taken");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Says why, as far as the socket takes it at once, and lets go.
fn turn_away(stream: &TcpStream, connections: usize) {
    let mut error = ErrorReply::new(Code::TooMany, "too many connections; come again in a while");
    error.max = Some(connections as u64);
    let _ = stream.try_write(&frame::control(&Reply::Error(error)));
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(DEAD_AFTER / 2)
            .with_interval(DEAD_AFTER / 6)
            .with_retries(3),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    Ok(())
}
