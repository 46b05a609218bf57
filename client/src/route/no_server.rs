//! Why a server cannot be reached, and the sentence about it for people.

use super::greeting::Greeting;
use crate::address::{DEFAULT_PORT, ServerAddress};
use crate::text::printable;
use std::fmt;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// A failure that would normally be the same a moment later: the name, the address or the port
    /// is wrong, or no server runs there.
    Definite(NoServer),
    /// A failure that may end soon: the network has an error, or something on the way is slow.
    ForNow(String),
}

/// Why there is no server at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoServer {
    /// The resolver knows no such name.
    NoSuchHost,
    /// The name is known, and has no address.
    NoAddress,
    /// The zone of an IPv6 address names no network interface of this machine.
    NoSuchInterface,
    /// Every address refuses connections.
    Refused,
    /// No router has a route to any of the addresses.
    HostUnreachable,
    /// Another service listens there; these are the first bytes of its answer.
    OtherService(Greeting),
    /// The other end accepts connections and sends nothing.
    Silent,
    /// The other end accepts connections and closes them before it sends anything.
    Closes,
}

impl NoServer {
    /// The whole sentence for a person.
    pub(crate) fn sentence(self, server: &ServerAddress) -> String {
        let host = printable(server.host());
        match self {
            Self::NoSuchHost => format!("no such host: {host}"),
            Self::NoAddress => format!("the host {host} has no address"),
            Self::NoSuchInterface => {
                format!("{host} names a network interface that this machine does not have")
            }
            Self::Refused => format!(
                "no server listens at {server}: is towlined running there? The default port is {}",
                DEFAULT_PORT
            ),
            Self::HostUnreachable => format!("there is no route to {server}"),
            Self::OtherService(greeting) => format!(
                "{server} is not a Towline server but another service ({greeting}); is the port \
                 right? The default port of Towline is {}",
                DEFAULT_PORT
            ),
            Self::Silent => format!(
                "{server} accepts connections and does not answer: is it a Towline server? The \
                 default port of Towline is {}",
                DEFAULT_PORT
            ),
            Self::Closes => format!(
                "{server} accepts connections and closes them without an answer: is it a Towline \
                 server? The default port of Towline is {}",
                DEFAULT_PORT
            ),
        }
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchHost => "no such host",
            Self::NoAddress => "the host has no address",
            Self::NoSuchInterface => "no such network interface",
            Self::Refused => "connection refused",
            Self::HostUnreachable => "no route to the host",
            Self::OtherService(greeting) => {
                return write!(f, "not a Towline server: {greeting}");
            }
            Self::Silent => "the server does not answer",
            Self::Closes => "the server closes the connection without an answer",
        })
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definite(no_server) => no_server.fmt(f),
            Self::ForNow(reason) => f.write_str(reason),
        }
    }
}
