//! Accepts connections, up to a limit, tunes their sockets, and finds out by the first byte which
//! protocol a client speaks.

use crate::door::{Doors, Opened, is_http};
use crate::places::Place;
use crate::shared::Shared;
use crate::socket;
use crate::tcp::{Arrival, Privacy, crowded, session};
use crate::tls;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use towline_engine::log::Limiter;
use towline_protocol::{Code, ErrorReply, Reply, frame};

/// How long the listener rests after an error (no descriptors left, for example); connections
/// that are open go on.
const REST: Duration = Duration::from_millis(250);

/// A peer that does not answer for this time is gone: the kernel itself would wait for two hours
/// on an idle connection, and a quarter of an hour on a busy one.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Takes connections until the server stops.
pub(crate) async fn run(listener: TcpListener, doors: Doors, shared: Arc<Shared>) {
    let (full, failing) = (Limiter::default(), Limiter::default());
    loop {
        // Cancel-safe: a connection not accepted stays in the backlog.
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let entered = match shared.http.proxies.has(peer.ip()) {
                    true => shared.places.enter_from_proxy(peer.ip()),
                    false => shared.places.enter(peer.ip()),
                };
                let Some(place) = entered else {
                    if let Some(others) = full.due(()) {
                        tracing::warn!(%peer, others, "too many connections; one was turned away");
                    }
                    turn_away(&stream, shared.places.all());
                    continue;
                };
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%peer, %error, "the socket could not be tuned");
                }
                let (here, doors) = (Arc::clone(&shared), doors.clone());
                shared.connections.spawn(open_door(stream, peer, place, doors, here));
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
    doors: Doors,
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
    let first = matches!(peeked, Ok(Ok(1))).then_some(first[0]);
    let is_tls = first == Some(TLS_HANDSHAKE);
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
        let (reader, mut writer) = halves;
        return match doors.for_first(first) {
            Opened::Http(door) => {
                door.serve(Box::new(join(reader, writer)), arrival, place, shared).await;
            }
            Opened::Frames => session::serve(reader, writer, arrival, place, shared).await,
            Opened::None => say_http_alone(&mut writer).await,
        };
    }
    let accepted = tokio::select! {
        accepted = timeout_at(login_until, tls::accept(&shared.tls, halves)) => accepted,
        () = shared.stopping.cancelled() => return,
        () = place.has_to_leave() => return,
    };
    match accepted {
        Ok(Ok((mut reader, mut writer))) => {
            let first = tokio::select! {
                first = timeout_at(login_until, reader.first_byte()) => first,
                () = shared.stopping.cancelled() => return,
                () = place.has_to_leave() => return,
            };
            match doors.for_first(first.ok().and_then(Result::ok).flatten()) {
                Opened::Http(door) => {
                    door.serve(Box::new(join(reader, writer)), arrival, place, shared).await;
                }
                Opened::Frames => session::serve(reader, writer, arrival, place, shared).await,
                Opened::None => say_http_alone(&mut writer).await,
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "no TLS came about");
            shared.logins.refused(peer, "tls_failed");
        }
        Err(_) => shared.logins.refused(peer, Code::AuthTimeout.as_str()),
    }
}

/// Tells a client of the TCP door that this port has none, if the message can be written at once.
async fn say_http_alone(writer: &mut (impl AsyncWrite + Unpin)) {
    let message = "this port serves HTTP alone; frames are served at the server's other address";
    let error = ErrorReply::new(Code::BadRequest, message);
    let _ = timeout(SAID_WITHIN, async {
        writer.write_all(&frame::control(&Reply::Error(error))).await?;
        writer.shutdown().await
    })
    .await;
}

/// How long a client that is turned away has to take the message.
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// Whether the connection stays on this machine: the client has a loopback address, or the address
/// of the server itself.
fn is_of_this_machine(stream: &TcpStream, peer: SocketAddr) -> bool {
    let peer = peer.ip().to_canonical();
    peer.is_loopback() || stream.local_addr().is_ok_and(|here| here.ip().to_canonical() == peer)
}

/// Tells the client that there are too many connections, if the socket takes the message at once.
/// The caller closes the connection.
fn turn_away(stream: &TcpStream, connections: usize) {
    let socket = SockRef::from(stream);
    let mut first = [0];
    let speaks_http = matches!((&*socket).read(&mut first), Ok(1)) && is_http(first[0]);
    if speaks_http {
        let _ = (&*socket).write(HTTP_CROWDED);
    } else {
        let mut error = crowded();
        error.max = Some(connections as u64);
        let _ = (&*socket).write(&frame::control(&Reply::Error(error)));
    }
}

/// The same in the words of HTTP.
const HTTP_CROWDED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\
                              Content-Length: 0\r\nConnection: close\r\n\r\n";

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
