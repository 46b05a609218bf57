//! Where a server may be found that is no longer at its address.

use crate::address::ServerAddress;
use std::fmt;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use towline_types::StoreId;

/// The most addresses that are tried after the usual one: each may take as long as a connection may
/// take.
const ADDRESSES_MAX: usize = 4;

/// Where servers with the key of a client's server were met, as the caller keeps it. Both are called
/// on a thread that may block.
///
/// Servers may share a key, and a token is for one store: so an address counts only where the store is
/// known that has answered there.
pub trait KnownAddresses: Send + Sync {
    /// The addresses at which that store has answered, the one that is most probably right in front.
    /// It is asked each time, because a person may add an address while a command waits.
    fn of_store(&self, store: StoreId) -> Vec<ServerAddress>;

    /// A server at that address has taken a token of that store, and says that it has this store; with
    /// `None`, a server has answered that is none of this store.
    fn answered(&self, server: &ServerAddress, store: Option<StoreId>);
}

/// The known addresses, if the caller has any, and what was seen at them in this run.
#[derive(Clone, Default)]
pub(crate) struct OtherAddresses {
    known: Option<Arc<dyn KnownAddresses>>,
    /// What was noted last of addresses in this run: what the caller cannot keep is known at least so
    /// long.
    seen: Vec<(ServerAddress, Option<StoreId>)>,
}

impl OtherAddresses {
    pub(crate) fn of(known: impl KnownAddresses + 'static) -> Self {
        Self { known: Some(Arc::new(known)), seen: Vec::new() }
    }

    /// The addresses of that store besides that one, without those at which something else has
    /// answered in this run.
    ///
    /// Cancel-safe: it only reads.
    pub(crate) async fn besides(
        &self,
        usual: &ServerAddress,
        store: StoreId,
    ) -> Vec<ServerAddress> {
        let Some(known) = self.known.clone() else { return Vec::new() };
        let known = spawn_blocking(move || known.of_store(store)).await.unwrap_or_default();
        let is_other = |address: &ServerAddress| {
            let seen = self.seen.iter().find(|(seen, _)| seen == address);
            seen.is_some_and(|(_, seen)| *seen != Some(store))
        };
        let others = known.into_iter().filter(|address| address != usual && !is_other(address));
        others.take(ADDRESSES_MAX).collect()
    }

    /// Notes the store whose token was taken at that address; with `None`, that the server there is none
    /// of the token's store.
    ///
    /// Cancel-safe: what was not noted is noted by the next connection.
    pub(crate) async fn note(&mut self, server: &ServerAddress, store: Option<StoreId>) {
        let Some(known) = self.known.clone() else { return };
        let seen = self.seen.iter().position(|(seen, _)| seen == server);
        match seen {
            Some(at) if self.seen[at].1 == store => return,
            Some(at) => self.seen[at].1 = store,
            None => self.seen.push((server.clone(), store)),
        }
        let server = server.clone();
        let _ = spawn_blocking(move || known.answered(&server, store)).await;
    }
}

impl fmt::Debug for OtherAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherAddresses").field("seen", &self.seen).finish_non_exhaustive()
    }
}
