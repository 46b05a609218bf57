//! Who sends a request: the peer of the connection or, where that is a trusted proxy, the client
//! that the proxy names in `X-Forwarded-For` and `X-Forwarded-Proto`.

use super::client::Context;
use crate::http_config::TrustedProxies;
use crate::tcp::Privacy;
use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) address: SocketAddr,
    /// Whether others can read what is on its way between the client and this machine.
    pub(super) privacy: Privacy,
    /// Whether the client uses `https`.
    pub(super) is_tls: bool,
}

impl Sender {
    /// The sender of a request with these headers.
    pub(super) fn of(context: &Context, headers: &HeaderMap) -> Self {
        let Context { shared, client, .. } = context;
        let direct = Self { address: client.peer, privacy: client.privacy, is_tls: client.is_tls };
        let proxies = &shared.http.proxies;
        match proxies.has(client.peer.ip()) {
            true => direct.behind(proxies, headers, shared.allow_plaintext),
            false => direct,
        }
    }

    /// The client behind this peer, which is a trusted proxy.
    fn behind(self, proxies: &TrustedProxies, headers: &HeaderMap, allow_plaintext: bool) -> Self {
        let client = client_of(proxies, headers);
        let address = client.unwrap_or(self.address);
        let is_local = client.is_some_and(|client| client.ip().to_canonical().is_loopback());
        let (is_tls, way) = match Way::said(headers) {
            Way::Encrypted => (true, Privacy::Kept),
            // Only of a client that is named it is known that it is on this machine.
            Way::Readable if is_local => (false, Privacy::Kept),
            Way::Readable if allow_plaintext => (false, Privacy::Waived),
            Way::Readable => (false, Privacy::Lost),
            Way::Unsaid => (self.is_tls, Privacy::Kept),
        };
        // The way from the proxy to here counts as well.
        let privacy = if self.privacy == Privacy::Kept { way } else { self.privacy };
        Self { address, privacy, is_tls }
    }
}

/// The last address of `X-Forwarded-For` that is no trusted proxy: the addresses before it are what
/// that client says itself, which counts for nothing.
fn client_of(proxies: &TrustedProxies, headers: &HeaderMap) -> Option<SocketAddr> {
    let lines = headers.get_all("x-forwarded-for").iter();
    let texts: Vec<_> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
    let hops = texts.iter().rev().flat_map(|line| line.rsplit(','));
    let mut last = None;
    for hop in hops {
        // What is no address was written by nobody who is trusted.
        let Some(address) = address(hop.trim()) else { break };
        last = Some(address);
        if !proxies.has(address.ip()) {
            break;
        }
    }
    last
}

/// An address with its port or without.
fn address(text: &str) -> Option<SocketAddr> {
    let without_port = || {
        let ip = text.trim_start_matches('[').trim_end_matches(']');
        ip.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 0))
    };
    text.parse().ok().or_else(without_port)
}

/// What the proxies say of the way from the client to the last of them.
enum Way {
    Encrypted,
    /// A part of it can be read, or what is said is no word that is known.
    Readable,
    Unsaid,
}

impl Way {
    fn said(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all("x-forwarded-proto").iter().peekable();
        if lines.peek().is_none() {
            return Self::Unsaid;
        }
        let is_https = |word: &str| word.trim().eq_ignore_ascii_case("https");
        let all = lines.all(|line| line.to_str().is_ok_and(|line| line.split(',').all(is_https)));
        if all { Self::Encrypted } else { Self::Readable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn proxy(privacy: Privacy) -> Sender {
        Sender { address: "10.0.0.1:4000".parse().unwrap(), privacy, is_tls: false }
    }

    fn proxies() -> TrustedProxies {
        ["10.0.0.0/8", "127.0.0.1"]
            .iter()
            .map(|text| text.parse::<crate::AddressRange>().unwrap())
            .collect()
    }

    #[test]
    fn what_a_client_says_of_itself_counts_for_nothing() {
        for (lines, client) in [
            (&[("x-forwarded-for", "198.51.100.7")][..], "198.51.100.7:0"),
            (&[("x-forwarded-for", "1.2.3.4, 198.51.100.7, 10.0.0.9")], "198.51.100.7:0"),
            (&[("x-forwarded-for", "1.2.3.4, rubbish, 10.0.0.9")], "10.0.0.9:0"),
            (&[("x-forwarded-for", "[2001:db8::1]:5000")], "[2001:db8::1]:5000"),
            (&[("x-forwarded-for", "[2001:db8::1]")], "[2001:db8::1]:0"),
            (&[("x-forwarded-for", "")], "10.0.0.1:4000"),
            (&[], "10.0.0.1:4000"),
        ] {
            let sender = proxy(Privacy::Kept).behind(&proxies(), &headers(lines), false);
            assert_eq!(sender.address, client.parse().unwrap(), "{lines:?}");
        }
    }

    #[test]
    fn a_way_that_others_can_read_is_not_private_wherever_it_is() {
        let of = |privacy, proto, from, allow| {
            let lines = [("x-forwarded-for", from), ("x-forwarded-proto", proto)];
            let sender = proxy(privacy).behind(&proxies(), &headers(&lines), allow);
            (sender.privacy, sender.is_tls)
        };
        assert_eq!(of(Privacy::Kept, "https", "198.51.100.7", false), (Privacy::Kept, true));
        assert_eq!(of(Privacy::Kept, "http", "198.51.100.7", false), (Privacy::Lost, false));
        assert_eq!(of(Privacy::Kept, "http", "198.51.100.7", true), (Privacy::Waived, false));
        assert_eq!(of(Privacy::Kept, "http", "127.0.0.1", false), (Privacy::Kept, false));
        assert_eq!(of(Privacy::Kept, "HTTPS", "198.51.100.7", false), (Privacy::Kept, true));
        for proto in ["HTTP", "http, https", "https, http", "ws", ""] {
            let sent = of(Privacy::Kept, proto, "198.51.100.7", false);
            assert_eq!(sent, (Privacy::Lost, false), "{proto}");
        }
        // A proxy that does not say who the client is may speak for anybody.
        for from in ["", "unknown"] {
            assert_eq!(of(Privacy::Kept, "http", from, false), (Privacy::Lost, false), "{from}");
        }
        assert_eq!(of(Privacy::Lost, "https", "198.51.100.7", false), (Privacy::Lost, true));
        assert_eq!(of(Privacy::Waived, "https", "198.51.100.7", true), (Privacy::Waived, true));
    }
}
