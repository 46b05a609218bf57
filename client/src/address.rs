//! Where a server is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port where none is named.
pub const DEFAULT_PORT: u16 = 8695;

/// A host and a port: `files.example`, `files.example:8695`, `[::1]:8695`, `::1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// The text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not HOST or HOST:PORT", crate::printable(.0))]
pub struct BadAddress(String);

impl ServerAddress {
    /// The name or number of the machine, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
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
        parse(text).ok_or_else(|| BadAddress(text.to_owned()))
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
    let is_ipv6 = is_ipv6(host);
    let legal =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':') || is_ipv6 && c == '%';
    (!host.is_empty() && host.chars().all(legal))
        .then(|| ServerAddress { host: host.to_owned(), port })
}

/// An address of IPv6, of a link with its zone (RFC 4007): `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(is_zone)
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
            ("[fe80::1%eth0.7]:9000", "[fe80::1%eth0.7]:9000"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), full);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for text in
            ["", ":1", "a:", "a:0", "a:65536", "a:b", "http://a", "a b", "[::1", "[a]:1", "a@b"]
        {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
