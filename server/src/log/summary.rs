//! What would fill the log: anybody can cause it, and as often as they like. Of each kind
//! a line is written at once, and then one a second, with how often it was left out.

use super::Limiter;
use super::limiter::LeftOut;
use crate::failure::Failure;
use crate::origin::Origin;
use crate::rejection::Rejection;
use crate::service::Service;
use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use towline_state::catalog::Document;
use towline_types::{DocumentId, UserId};
use tracing::field::{debug, display};

/// How often what was left out is told.
const EVERY: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    logins: Limiter<(&'static str, Network)>,
    refusals: Limiter<(&'static str, UserId)>,
    /// By the code and what the system said.
    faults: Limiter<(&'static str, Option<i32>)>,
    damaged: Limiter<DocumentId>,
}

/// Addresses that one person has as a rule: a /24 of IPv4, a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl Network {
    fn of(peer: SocketAddr) -> Self {
        Self(match peer.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, if self.0.is_ipv4() { 24 } else { 64 })
    }
}

impl Summary {
    /// A stranger was not let in.
    pub(crate) fn login_refused(&self, peer: SocketAddr, code: &'static str) {
        if let Some(others) = self.logins.due((code, Network::of(peer))) {
            tracing::info!(%peer, %code, others, "a login was refused");
        }
    }

    /// A request was refused.
    pub(crate) fn refused(
        &self,
        origin: &Origin,
        user: UserId,
        id: Option<DocumentId>,
        rejection: &Rejection,
    ) {
        let code = rejection.kind.as_str();
        if let Some(others) = self.refusals.due((code, user)) {
            let (document, reason) = (id.map(display), &rejection.message);
            tracing::info!(peer = %origin, %user, document, %code, others, ?reason, "a request was refused");
        }
    }

    /// Something happened that the operator has to mend.
    pub(crate) fn fault(&self, id: Option<DocumentId>, failure: &Failure) {
        let (code, errno) = (failure.rejection().kind.as_str(), failure.errno());
        if let Some(others) = self.faults.due((code, errno)) {
            let (document, path) = (id.map(display), failure.path().map(debug));
            let error = chain(failure);
            tracing::warn!(
                document,
                path,
                errno,
                %code,
                others,
                error,
                "the server's storage refused or failed"
            );
        }
    }

    /// The file of a completed document is not what was uploaded.
    pub(crate) fn damaged(&self, document: &Document, reason: &str) {
        let id = document.document_id;
        if let Some(others) = self.damaged.due(id) {
            let path = document.file_path.as_ref().map(|path| debug(path.to_string()));
            tracing::error!(
                document = %id, user = %document.user_id, path, others, reason,
                "the file of a document is damaged; stop the server and run towlined verify --repair"
            );
        }
    }

    fn tell(&self) {
        let told = |what: &str, LeftOut { kinds, others }: LeftOut<String>| {
            for (kind, count) in kinds {
                tracing::info!(count, "{what} within the last second: {kind}");
            }
            if others > 0 {
                tracing::info!(count = others, "{what} within the last second, of further kinds");
            }
        };
        told(
            "logins were refused",
            self.logins.left_out().named(|(code, network)| format!("{code} from {network}")),
        );
        told(
            "requests were refused",
            self.refusals.left_out().named(|(code, user)| format!("{code} to user {user}")),
        );
        told(
            "damaged files were met",
            self.damaged.left_out().named(|id| format!("document {id}")),
        );
        told(
            "requests met the same fault of the storage",
            self.faults.left_out().named(|(code, _)| (*code).to_owned()),
        );
    }
}

impl<K: Hash + Eq> LeftOut<K> {
    fn named(self, name: impl Fn(&K) -> String) -> LeftOut<String> {
        let kinds = self.kinds.iter().map(|(kind, count)| (name(kind), *count)).collect();
        LeftOut { kinds, others: self.others }
    }
}

/// Tells every second what was left out, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        service.summary.tell();
    }
}

/// What went wrong, and all that it comes from.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_network() {
        let network = |text: &str| Network::of(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7:1"), "192.0.2.0/24");
        assert_eq!(network("[::ffff:192.0.2.9]:1"), "192.0.2.0/24");
        assert_eq!(network("[2001:db8:1:2:3::1]:1"), "2001:db8:1:2::/64");
    }
}
