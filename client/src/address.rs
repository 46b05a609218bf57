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
        host.parse::<Ipv6Addr>().ok()?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else if text.parse::<Ipv6Addr>().is_ok() {
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
    (!host.is_empty() && host.chars().all(legal))
        .then(|| ServerAddress { host: host.to_owned(), port })
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
