//! A door besides the TCP door, for connections that begin as its protocol does. It is called
//! through this trait: a program that never opens such a door has none of its code in it.

use crate::places::Place;
use crate::shared::Shared;
use crate::tcp::Arrival;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// A connection: plain or over TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The end of one connection.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module's description.
pub(crate) trait Door: Send + Sync {
    /// Serves one connection, until it ends.
    fn serve(
        &self,
        stream: Box<dyn Stream>,
        arrival: Arrival,
        place: Place,
        shared: Arc<Shared>,
    ) -> Serving;
}

/// Tells programs that watch over the server how it is, on a port of its own. It is called through a
/// trait for the same reason.
pub(crate) trait Monitor: Send {
    /// Answers until the server stops.
    fn run(self: Box<Self>, listener: TcpListener, shared: Arc<Shared>) -> Serving;
}

/// Which doors a port has. The first byte of a connection tells which of them a client wants.
#[derive(Clone)]
pub(crate) enum Doors {
    /// The TCP door alone.
    Frames,
    /// The HTTP door alone.
    Http(Arc<dyn Door>),
    /// Both.
    Both(Arc<dyn Door>),
}

/// The door for one connection.
pub(crate) enum Opened {
    Frames,
    Http(Arc<dyn Door>),
    /// The client wants a door that the port does not have.
    None,
}

impl Doors {
    /// The door for a client whose first byte is this one; none where it has sent no byte.
    pub(crate) fn for_first(&self, first: Option<u8>) -> Opened {
        match (self, first.is_some_and(is_http)) {
            (Self::Http(door) | Self::Both(door), true) => Opened::Http(Arc::clone(door)),
            // The session knows what to say to a client of HTTP.
            (Self::Frames, _) | (Self::Both(_), false) => Opened::Frames,
            (Self::Http(_), false) => Opened::None,
        }
    }
}

/// Whether a connection that begins with that byte is one of HTTP: methods are words in capital
/// letters.
pub(crate) const fn is_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}
