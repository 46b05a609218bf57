//! Logins that were refused, in the log: any client can cause them, as often as it likes.
//! Of each network and code a line is written at once, and then one a second, with how often
//! it was left out.

use crate::audit::AuditLog;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use towline_engine::log::{LeftOut, Limiter};
use towline_engine::metrics::{CodeCounter, Counter};

/// How often what was left out is told.
const EVERY: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct LoginLog {
    /// The logins that were accepted.
    pub(crate) accepted: Counter,
    /// Those that were refused, by code.
    pub(crate) refusals: CodeCounter,
    limiter: Limiter<(&'static str, Network)>,
    audit: Option<Arc<AuditLog>>,
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

impl LoginLog {
    /// The log, and the audit log as well where there is one.
    pub(crate) fn new(audit: Option<Arc<AuditLog>>) -> Self {
        Self { audit, ..Self::default() }
    }

    /// A stranger was not let in.
    pub(crate) fn refused(&self, peer: SocketAddr, code: &'static str) {
        self.refusals.increment(code);
        if let Some(others) = self.limiter.due((code, Network::of(peer))) {
            tracing::info!(%peer, %code, others, "a login was refused");
            if let Some(audit) = &self.audit {
                audit.login_refused(peer, code, others);
            }
        }
    }

    /// Tells every second what was left out, until it is dropped.
    pub(crate) async fn run(&self) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            let left_out = self.limiter.left_out();
            self.audit(&left_out);
            left_out
                .named(|(code, network)| format!("{code} from {network}"))
                .tell("logins were refused");
        }
    }

    fn audit(&self, left_out: &LeftOut<(&'static str, Network)>) {
        let Some(audit) = &self.audit else { return };
        for ((code, network), count) in &left_out.kinds {
            audit.logins_refused(code, Some(&network.to_string()), *count);
        }
        if left_out.others > 0 {
            audit.logins_refused("refused", None, left_out.others);
        }
    }
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
