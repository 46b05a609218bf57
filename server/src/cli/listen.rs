//! Where a server listens: what was typed, and the socket.

use super::usage_error::UsageError;
use anyhow::Context as _;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::str::FromStr;

/// The port where none is named.
const PORT: u16 = 8695;
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;
/// The host where none is named: other machines are let in only where that was asked for.
const HOST: &str = "127.0.0.1";
/// Every address of this machine, IPv6 and IPv4 alike, and the same without IPv6.
const EVERYWHERE: [&str; 2] = ["::", "0.0.0.0"];

/// `HOST:PORT`, `HOST`, `:PORT` (on every address of the machine) or `PORT`. The host is
/// a name or an address; an IPv6 address with a port stands in brackets, and one of a link
/// has its zone (`[fe80::1%eth0]:8695`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Everywhere,
    Named(String),
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { host: Host::Named(HOST.to_owned()), port: PORT }
    }
}

impl FromStr for ListenAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let port = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten().ok_or_else(bad)
        };
        let named = |host: &str| match host {
            "" | "*" => Host::Everywhere,
            host => Host::Named(host.to_owned()),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            if !host.contains(':') {
                return Err(bad());
            }
            match rest.strip_prefix(':') {
                Some(digits) => (named(host), port(digits)?),
                None if rest.is_empty() => (named(host), PORT),
                None => return Err(bad()),
            }
        } else {
            match text.split_once(':') {
                // Two colons and no brackets: an IPv6 address without a port.
                Some((_, rest)) if rest.contains(':') => (named(text), PORT),
                Some((host, digits)) => (named(host), port(digits)?),
                None if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (Host::Named(HOST.to_owned()), port(text)?)
                }
                None => (named(text), PORT),
            }
        };
        if let Host::Named(name) = &host
            && name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/' || c == '@')
        {
            return Err(bad());
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Everywhere => write!(f, ":{port}"),
            Host::Named(host) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Host::Named(host) => write!(f, "{host}:{port}"),
        }
    }
}

impl ListenAddress {
    /// The host; `None` where every address of the machine is meant.
    pub(super) fn host(&self) -> Option<&str> {
        match &self.host {
            Host::Everywhere => None,
            Host::Named(host) => Some(host),
        }
    }

    /// The port.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Listens there. Blocks while a name is looked up, and needs no runtime.
    ///
    /// # Errors
    /// A host that is not known is a mistake of usage; all else is the system's no.
    pub(super) fn bind(&self) -> anyhow::Result<TcpListener> {
        let listener = self.bound()?;
        let ready = listener.set_nonblocking(true);
        // The standard library lets only 128 connections wait to be accepted.
        ready
            .and_then(|()| SockRef::from(&listener).listen(BACKLOG))
            .with_context(|| format!("cannot listen on {self}"))?;
        Ok(listener)
    }

    fn bound(&self) -> anyhow::Result<TcpListener> {
        let context = || format!("cannot listen on {self}");
        match &self.host {
            Host::Everywhere => {
                let [both, without_ipv6] = EVERYWHERE;
                match TcpListener::bind((both, self.port)) {
                    Err(error) if lacks_ipv6(&error) => {
                        TcpListener::bind((without_ipv6, self.port)).with_context(context)
                    }
                    answer => answer.with_context(context),
                }
            }
            // The name is looked up by the system, which knows zones too.
            Host::Named(host) => {
                let found = (host.as_str(), self.port).to_socket_addrs();
                let addresses: Vec<_> = found
                    .map_err(|_| {
                        UsageError(format!(
                            "cannot listen on {self}: {host} is no address of this machine"
                        ))
                    })?
                    .collect();
                TcpListener::bind(addresses.as_slice()).with_context(context)
            }
        }
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// What was typed is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an address to listen on; write HOST:PORT, HOST, :PORT or PORT")]
pub struct BadAddress(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        for (typed, meant) in [
            ("127.0.0.1:8695", "127.0.0.1:8695"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0", "0.0.0.0:8695"),
            (":8695", ":8695"),
            ("*:80", ":80"),
            ("8700", "127.0.0.1:8700"),
            ("localhost", "localhost:8695"),
            ("nas.lan:1", "nas.lan:1"),
            ("::", "[::]:8695"),
            ("::1", "[::1]:8695"),
            ("[::1]", "[::1]:8695"),
            ("[::]:80", "[::]:80"),
            ("[fe80::1%lo]:8695", "[fe80::1%lo]:8695"),
            ("fe80::1%lo", "[fe80::1%lo]:8695"),
        ] {
            let parsed: ListenAddress = typed.parse().unwrap();
            assert_eq!(parsed.to_string(), meant, "{typed}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for typed in [
            "host:",
            "host:port",
            "host:99999",
            "99999",
            "[::1",
            "[::1]8695",
            "[host]:1",
            "a b",
            "http://host",
            "me@host:1",
            "host:+1",
            "[]:1",
        ] {
            assert!(typed.parse::<ListenAddress>().is_err(), "{typed}");
        }
    }
}
