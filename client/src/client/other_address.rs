//! The server is no longer at its address: it is looked for where it is known as well.

use super::Client;
use crate::address::ServerAddress;
use crate::connection::Connection;
use crate::security::Security;
use std::time::Duration;

impl Client {
    /// A connection to the same server at another address, at which the client stays from then on.
    /// `None` where there is no such address, or the server is not there, either: then the client
    /// waits for it at its usual address.
    ///
    /// The same server has the same key and the same store. The key alone does not tell, because
    /// several servers may share a certificate; so the token is shown to nothing that has another
    /// key, and files are sent to no other store.
    ///
    /// Cancel-safe: a connection that is not open yet is dropped.
    pub(super) async fn at_other_address(&mut self, login: Duration) -> Option<Connection> {
        let Security::Key(_) = self.route.security() else { return None };
        let store = self.expected.or(self.known.id).or_else(|| self.shown.store())?;
        for address in self.others.besides(self.route.server()).await {
            let route = self.route.leading_to(address);
            let opened = Connection::open(&route, &self.token, self.timeouts, login).await;
            // A server that refuses may be another one with the same certificate.
            let Ok(opened) = opened else { continue };
            if opened.welcome().server_id != Some(store) {
                continue;
            }
            self.moved = Some(moved(self.route.server(), route.server()));
            self.known.address = route.server().to_string();
            self.route = route;
            return Some(opened);
        }
        None
    }
}

fn moved(from: &ServerAddress, to: &ServerAddress) -> String {
    format!(
        "the server is not at {from} now; it was found at {to}, with the same key, and is gone on with \
         there"
    )
}
