//! A door besides the TCP door, for connections that begin as its protocol does. It is called
//! through this trait: a program that never opens such a door has none of its code in it.

use crate::places::Place;
use crate::shared::Shared;
use crate::tcp::Arrival;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

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
