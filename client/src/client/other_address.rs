//! The server is no longer at its address: it is looked for where it is known as well.

use super::Client;
use crate::address::ServerAddress;
use crate::attempt_end::AttemptEnd;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::security::Security;
use std::time::Duration;
use towline_protocol::Code;

impl Client {
    /// A connection to the same server at another address, at which the client stays from then on.
    /// `None` where there is no such address, or the server is not there, either: then the client
    /// waits for it at its usual address.
    ///
    /// The same server has the same key and the same store. The key alone does not tell, because
    /// several servers may share a certificate, and a server says which store it has only once it has
    /// the token. So the token is shown only where that store has answered before, and where another
    /// one answers by now, this is noted and the token is not shown there again.
    ///
    /// Cancel-safe: a connection that is not open yet is dropped.
    pub(super) async fn at_other_address(&mut self, login: Duration) -> Option<Connection> {
        let Security::Key(_) = self.route.security() else { return None };
        let store = self.expected.or(self.known.id).or_else(|| self.shown.store())?;
        for address in self.others.besides(self.route.server(), store).await {
            let route = self.route.leading_to(address.clone());
            let opened = Connection::open(&route, &self.token, self.timeouts, login).await;
            let opened = match opened {
                Ok(opened) => opened,
                Err(end) => {
                    if is_stranger(&end) {
                        self.others.note(&address, None).await;
                    }
                    continue;
                }
            };
            if opened.welcome().server_id != Some(store) {
                // Which other store it has, nothing proves.
                self.others.note(&address, None).await;
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

/// Whether the server does not know the token at all, as another one with the same certificate. The
/// right one may say that the token has expired, or that it is full.
fn is_stranger(end: &AttemptEnd) -> bool {
    let AttemptEnd::Failed(Failure::Refused { reply, .. }) = end else { return false };
    reply.code == Code::Unauthorized
}

fn moved(from: &ServerAddress, to: &ServerAddress) -> String {
    format!(
        "the server is not at {from} now; it was found at {to}, with the same key, and is gone on with \
         there"
    )
}
