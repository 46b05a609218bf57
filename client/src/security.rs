//! How a client's connections are protected, and from whom.

use crate::address::ServerAddress;
use std::net::IpAddr;
use towline_types::Fingerprint;

/// How the connections of a client are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS, with a server that has this key and no other.
    Key(Fingerprint),
    /// TLS with a server whose key is not known yet: the connection ends, with an error that says
    /// what key the server has, before anything is sent.
    UnknownKey,
    /// No TLS: anyone who can read the traffic of the network sees the token and the files.
    Plaintext,
}

impl Security {
    /// The default: no TLS to this machine itself, whose traffic does not leave it, and TLS to every
    /// other machine.
    #[must_use]
    pub fn usual(server: &ServerAddress) -> Self {
        if is_this_machine(server) { Self::Plaintext } else { Self::UnknownKey }
    }
}

/// Whether the address always means this machine, whatever the network looks like.
pub(crate) fn is_this_machine(server: &ServerAddress) -> bool {
    let host = server.host();
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_itself_is_spoken_to_without_tls() {
        let usual = |text: &str| Security::usual(&text.parse().unwrap());
        for here in ["localhost", "LOCALHOST:9", "127.0.0.1", "127.1.2.3:1", "[::1]:8695", "::1"] {
            assert_eq!(usual(here), Security::Plaintext, "{here}");
        }
        for there in
            ["nas", "localhost.example", "10.0.0.1", "0.0.0.0", "::", "fe80::1%lo", "127.example"]
        {
            assert_eq!(usual(there), Security::UnknownKey, "{there}");
        }
    }
}
