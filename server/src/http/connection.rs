//! One connection of the HTTP door, from its first request to its end.

use super::client::{Client, Context};
use super::guarded_stream::GuardedStream;
use super::router;
use super::state::HttpState;
use crate::door::Stream;
use crate::places::Place;
use crate::shared::Shared;
use crate::tcp::Arrival;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep_until, timeout};

/// The most bytes that hyper keeps of a connection, for the head of a request and for the part of
/// its body that is read at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// The most headers of a request.
const HEADERS_MAX: usize = 100;

/// Serves one connection. While no request of it was authenticated, its place may be taken from it
/// as from every stranger; the head of a request has to come in the time of a login.
pub(super) async fn serve(
    stream: Box<dyn Stream>,
    arrival: Arrival,
    place: Place,
    shared: Arc<Shared>,
    state: Arc<HttpState>,
) {
    let leave = place.leave_token();
    let client = Arc::new(Client::new(arrival, place));
    let context = Context { shared: Arc::clone(&shared), state, client: Arc::clone(&client) };
    let stream = GuardedStream::new(stream, shared.timings.unread);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.timings.login)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router::of(context)));
    let mut serving = pin!(serving);
    let leaves = async {
        match leave {
            Some(leave) => leave.cancelled_owned().await,
            None => std::future::pending().await,
        }
    };
    let (mut leaves, mut late) = (pin!(leaves), pin!(sleep_until(arrival.login_until)));
    let (mut may_leave, mut may_be_late) = (true, true);
    let last_words = loop {
        tokio::select! {
            ended = serving.as_mut() => return tell(client.peer, ended),
            // The request under way is answered, and no other one is read. The rest of the time is
            // for what the engine has to end.
            () = shared.stopping.cancelled() => break shared.timings.stop / 2,
            // The client is told that it may be here no longer, if it listens.
            () = client.cut.cancelled() => break LAST_WORDS,
            () = leaves.as_mut(), if may_leave => {
                if client.is_stranger() {
                    return;
                }
                may_leave = false;
            }
            // A stranger has as long as for a login at the other door, however many requests it
            // sends.
            () = late.as_mut(), if may_be_late => {
                if client.is_stranger() {
                    break LAST_WORDS;
                }
                may_be_late = false;
            }
        }
    };
    serving.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(last_words, serving).await {
        tell(client.peer, ended);
    }
}

/// How long a connection that is to end may take for the answer that it is giving.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn tell(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection has ended");
    }
}
