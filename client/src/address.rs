//! The address of a server.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of a server whose address names none.
pub const DEFAULT_PORT: u16 = 8695;

/// A host and a port: `files.example`, `files.example:8695`, `[::1]:8695`, `::1`,
/// `fe80::1%eth0` with the zone of RFC 4007.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// The text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not HOST or HOST:PORT{}", crate::text::printable(text), hint(text))]
pub struct BadAddress {
    text: String,
}

/// What the person may have meant.
fn hint(text: &str) -> &'static str {
    if text.contains("towline://") {
        "; that is a line to join by: towline login LINE, and then --to NAME"
    } else if text.contains("://") {
        "; write it without the scheme"
    } else if text.contains('@') {
        "; the token says who you are"
    } else if text.split_once(':').is_some_and(|(_, path)| path.contains('/')) {
        "; the folder goes into --folder"
    } else {
        ""
    }
}

impl ServerAddress {
    /// The name or the number of the machine, without brackets. An IPv6 address has its zone after
    /// a `%`, where a zone was named.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The zone of an IPv6 address: the network interface over which the address is reached.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.host.split_once('%').map(|(_, zone)| zone)
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for ServerAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        parse(text).ok_or_else(|| BadAddress { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<ServerAddress> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        is_ipv6(host).then_some(())?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else if is_ipv6(text) {
        (text, None)
    } else if let Some((host, port)) = text.split_once(':') {
        (host, Some(port))
    } else {
        (text, None)
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => DEFAULT_PORT,
    };
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let is_name = !host.is_empty() && host.chars().all(legal);
    (is_name || is_ipv6(host)).then(|| ServerAddress { host: host.to_owned(), port })
}

/// Whether it is an IPv6 address, with a zone after it or without.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(a, zone)| (a, Some(zone)));
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
    address.parse::<Ipv6Addr>().is_ok()
        && zone.is_none_or(|zone| !zone.is_empty() && zone.chars().all(legal))
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, full) in [
            ("files.example", "files.example:8695"),
            ("files.example:9000", "files.example:9000"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:8695", "[::1]:8695"),
            ("[::1]", "[::1]:8695"),
            ("::1", "[::1]:8695"),
            ("fe80::1%eth0", "[fe80::1%eth0]:8695"),
            ("[fe80::1%lo]:9000", "[fe80::1%lo]:9000"),
            ("[fe80::1%3]", "[fe80::1%3]:8695"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), full);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for text in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "http://a",
            "a b",
            "[::1",
            "[a]:1",
            "a@b",
            "fe80::1%",
            "a%eth0",
            "1.2.3.4%lo",
            "fe80::1%a/b",
            "fe80::1%a%b",
            "[fe80::1%lo",
        ] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_zone_is_an_interface_and_no_part_of_other_hosts() {
        let zone = |text: &str| text.parse::<ServerAddress>().unwrap().zone().map(str::to_owned);
        assert_eq!(zone("[fe80::1%eth0.5]:1").as_deref(), Some("eth0.5"));
        assert_eq!(zone("[fe80::1]:1"), None);
        assert_eq!(zone("nas"), None);
    }

    #[test]
    fn what_other_tools_take_is_refused_with_what_is_meant() {
        for (text, hint) in [
            ("nas:/dir", "--folder"),
            ("nas:photos/2026", "--folder"),
            ("http://nas:8695", "scheme"),
            ("me@nas", "token"),
        ] {
            let refusal = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(refusal.contains(text) && refusal.contains(hint), "{refusal}");
        }
        let refusal = "nas:99999".parse::<ServerAddress>().unwrap_err().to_string();
        assert!(refusal.ends_with("HOST:PORT"), "{refusal}");
    }
}
