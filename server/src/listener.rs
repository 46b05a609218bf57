//! Accepts connections, up to a limit, tunes their sockets, and finds out by the first byte which
//! protocol a client speaks.

use crate::door::Door;
use crate::places::Place;
use crate::shared::Shared;
use crate::socket;
use crate::tcp::{Arrival, Privacy, crowded, session};
use crate::tls;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::join;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use towline_engine::log::Limiter;
use towline_protocol::{Code, Reply, frame};

/// How long the listener rests after an error (no descriptors left, for example); connections
/// that are open go on.
const REST: Duration = Duration::from_millis(250);

/// A peer that does not answer for this time is gone: the kernel itself would wait for two hours
/// on an idle connection, and a quarter of an hour on a busy one.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Takes connections until the server stops.
pub(crate) async fn run(listener: TcpListener, http: Option<Arc<dyn Door>>, shared: Arc<Shared>) {
    let (full, failing) = (Limiter::default(), Limiter::default());
    loop {
        // Cancel-safe: a connection not accepted stays in the backlog.
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = shared.places.enter(peer.ip()) else {
                    if let Some(others) = full.due(()) {
                        tracing::warn!(%peer, others, "too many connections; one was turned away");
                    }
                    turn_away(&stream, shared.places.all());
                    continue;
                };
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%peer, %error, "the socket could not be tuned");
                }
                let (here, http) = (Arc::clone(&shared), http.clone());
                shared.connections.spawn(open_door(stream, peer, place, http, here));
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

/// The first byte of a connection that begins with a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Finds out which protocol the client speaks, and serves the client.
async fn open_door(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    http: Option<Arc<dyn Door>>,
    shared: Arc<Shared>,
) {
    let login_until = Instant::now() + shared.timings.login;
    let mut first = [0];
    // Cancel-safe: `peek` leaves the byte in the socket.
    let peeked = tokio::select! {
        peeked = timeout_at(login_until, stream.peek(&mut first)) => peeked,
        () = shared.stopping.cancelled() => Ok(Ok(0)),
        () = place.has_to_leave() => return turn_away(&stream, shared.places.all()),
    };
    // Where no byte came in time, the session refuses the login for that reason.
    let is_tls = matches!(peeked, Ok(Ok(1))) && first == [TLS_HANDSHAKE];
    let is_private = is_tls || is_of_this_machine(&stream, peer);
    let halves = match socket::halves(stream) {
        Ok(halves) => halves,
        Err(error) => return tracing::warn!(%peer, %error, "a connection was lost"),
    };
    let privacy = match is_private {
        true => Privacy::Kept,
        false if shared.allow_plaintext => Privacy::Waived,
        false => Privacy::Lost,
    };
    let arrival = Arrival { peer, login_until, privacy, is_tls };
    if !is_tls {
        let (reader, writer) = halves;
        return match http.filter(|_| is_http(first[0])) {
            Some(door) => door.serve(Box::new(join(reader, writer)), arrival, place, shared).await,
            None => session::serve(reader, writer, arrival, place, shared).await,
        };
    }
    let accepted = tokio::select! {
        accepted = timeout_at(login_until, tls::accept(&shared.tls, halves)) => accepted,
        () = shared.stopping.cancelled() => return,
        () = place.has_to_leave() => return,
    };
    match accepted {
        Ok(Ok((mut reader, writer))) => {
            let first = tokio::select! {
                first = timeout_at(login_until, reader.first_byte()) => first,
                () = shared.stopping.cancelled() => return,
                () = place.has_to_leave() => return,
            };
            // Where no byte came in time, the session refuses the login for that reason.
            let is_http = matches!(first, Ok(Ok(Some(byte))) if is_http(byte));
            match http.filter(|_| is_http) {
                Some(door) => {
                    door.serve(Box::new(join(reader, writer)), arrival, place, shared).await;
                }
                None => session::serve(reader, writer, arrival, place, shared).await,
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "no TLS came about");
            shared.logins.refused(peer, "tls_failed");
        }
        Err(_) => shared.logins.refused(peer, Code::AuthTimeout.as_str()),
    }
}

/// Whether a connection that begins with that byte is one of HTTP: methods are words in capital
/// letters.
const fn is_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}

/// Whether the connection stays on this machine: the client has a loopback address, or the address
/// of the server itself.
fn is_of_this_machine(stream: &TcpStream, peer: SocketAddr) -> bool {
    let peer = peer.ip().to_canonical();
    peer.is_loopback() || stream.local_addr().is_ok_and(|here| here.ip().to_canonical() == peer)
}

/// Tells the client that there are too many connections, if the socket takes the message at once.
/// The caller closes the connection.
fn turn_away(stream: &TcpStream, connections: usize) {
    let mut error = crowded();
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
