//! Where a server may be found that is no longer at its address.

use crate::address::ServerAddress;
use std::fmt;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The most addresses that are tried after the usual one: each may take as long as a connection may
/// take.
const ADDRESSES_MAX: usize = 4;

/// Says under which addresses a server is known, the one that is most probably right in front. It is
/// asked each time, because a person may add an address while a command waits.
#[derive(Clone, Default)]
pub(crate) struct OtherAddresses(Option<Arc<dyn Fn() -> Vec<ServerAddress> + Send + Sync>>);

impl OtherAddresses {
    /// Addresses from a function that may read a file.
    pub(crate) fn from_fn(known: impl Fn() -> Vec<ServerAddress> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(known)))
    }

    /// The addresses of the server besides that one.
    ///
    /// Cancel-safe: it only reads.
    pub(crate) async fn besides(&self, usual: &ServerAddress) -> Vec<ServerAddress> {
        let Some(known) = self.0.clone() else { return Vec::new() };
        let known = spawn_blocking(move || known()).await.unwrap_or_default();
        known.into_iter().filter(|address| address != usual).take(ADDRESSES_MAX).collect()
    }
}

impl fmt::Debug for OtherAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OtherAddresses").field(&self.0.is_some()).finish()
    }
}
