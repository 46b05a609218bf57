//! Links: addresses at which whoever has them fetches one document of the server by HTTP.

use super::Client;
use super::tree::{names, unexpected};
use crate::address::ServerAddress;
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use crate::security::{Security, is_this_machine};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_protocol::reply::DownloadUrl as Address;
use towline_protocol::request::DownloadUrl;
use towline_protocol::{Reply, Request};
use towline_types::{DocumentId, NodePath};

/// An address at which whoever has it fetches one document, without a token of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The address. It has no control characters.
    pub url: String,
    /// The version of the file that it leads to.
    pub document_id: DocumentId,
    /// When it ends: also before the time that was asked for, where the token ends before.
    pub expires_at: SystemTime,
    /// What others meet at the address.
    pub reach: LinkReach,
}

/// What others meet at the address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkReach {
    /// The operator of the server has said the address, or it has no TLS.
    AsTold,
    /// The server's own certificate: a browser warns of it unless an authority has signed it.
    OwnCertificate,
    /// Nothing: the address always means the machine on which it is used.
    ThisMachine,
}

/// The word by which a server says that it makes links.
const FEATURE: &str = "download_url";

impl Client {
    /// A link to the version that a file has now, good for that time at most. Whoever has it can
    /// fetch that version, so it is to be kept like a token.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made), makes no links
    /// ([`Failure::NotSupported`]) or refuses.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing on the server.
    pub async fn link(&mut self, path: &NodePath, good_for: Duration) -> Result<Link, Failure> {
        let wanted = DownloadUrl {
            path: Some(names(path)),
            expires_in: Some(good_for.as_secs()),
            ..DownloadUrl::default()
        };
        let address = self.download_url(wanted).await;
        let address = address.map_err(|end| self.unanswered(end, None))?;
        // The connection may have led to another address than the one that was typed.
        whole(&address, self.server(), self.route.security())
            .ok_or_else(|| Failure::Protocol("the address of a link is none".to_owned()))
    }

    async fn download_url(&mut self, wanted: DownloadUrl) -> Result<Address, AttemptEnd> {
        let server = self.server().clone();
        let connection = self.connected().await?;
        if !connection.knows(FEATURE) {
            return Err(Failure::NotSupported { server }.into());
        }
        let channel = connection.new_channel();
        match connection.ask(&Request::DownloadUrl(DownloadUrl { channel, ..wanted })).await? {
            Reply::DownloadUrl(address) => Ok(address),
            Reply::Error(error) => Err(AttemptEnd::refused(error)),
            other => Err(unexpected(&other)),
        }
    }
}

/// The whole address. `None` where what the server says is no part of one: it goes to a terminal, and
/// into messages to others (P7).
fn whole(address: &Address, server: &ServerAddress, security: Security) -> Option<Link> {
    let Address { path, origin, port, expires_at, document_id, channel: _ } = address;
    if !path.starts_with('/') || path.starts_with("//") || !is_printable(path) {
        return None;
    }
    let is_plain = security == Security::Plaintext;
    let (origin, reach) = match origin {
        Some(origin) => (is_origin(origin).then(|| origin.clone())?, LinkReach::AsTold),
        None => {
            let scheme = if is_plain { "http" } else { "https" };
            let port = port.filter(|port| *port > 0).unwrap_or_else(|| server.port());
            let reach = match (is_this_machine(server), is_plain) {
                (true, _) => LinkReach::ThisMachine,
                (false, true) => LinkReach::AsTold,
                (false, false) => LinkReach::OwnCertificate,
            };
            (format!("{scheme}://{}:{port}", host(server)), reach)
        }
    };
    let expires_at = UNIX_EPOCH + Duration::from_millis(expires_at.get());
    let url = format!("{origin}{path}");
    Some(Link { url, document_id: *document_id, expires_at, reach })
}

/// The host as a URL has it: an IPv6 address in brackets, and without its zone, which is of this
/// machine alone.
fn host(server: &ServerAddress) -> String {
    let host = server.host();
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether it is scheme, host and perhaps port, and nothing besides.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(legal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_protocol::Channel;
    use towline_types::{Fingerprint, Timestamp};

    fn address() -> Address {
        Address {
            channel: Channel::default(),
            document_id: DocumentId::MIN,
            path: "/d/1/a.txt?token=t".to_owned(),
            origin: None,
            port: None,
            expires_at: Timestamp::try_from(1_795_876_200_000).unwrap(),
        }
    }

    fn url(address: &Address, server: &str, security: Security) -> Option<(String, LinkReach)> {
        let link = whole(address, &server.parse().unwrap(), security)?;
        Some((link.url, link.reach))
    }

    #[test]
    fn the_address_begins_where_the_client_has_found_the_server() {
        let tls = Security::Key(Fingerprint::from_bytes([0; 32]));
        for (server, security, port, origin, reach) in [
            ("nas", tls, None, "https://nas:8695", LinkReach::OwnCertificate),
            ("nas:9000", tls, None, "https://nas:9000", LinkReach::OwnCertificate),
            ("nas:9000", tls, Some(8080), "https://nas:8080", LinkReach::OwnCertificate),
            ("nas:9000", tls, Some(0), "https://nas:9000", LinkReach::OwnCertificate),
            ("nas", Security::Plaintext, None, "http://nas:8695", LinkReach::AsTold),
            ("[fd00::7]:9", tls, None, "https://[fd00::7]:9", LinkReach::OwnCertificate),
            ("[fe80::1%eth0]:9", tls, None, "https://[fe80::1]:9", LinkReach::OwnCertificate),
            (
                "127.0.0.1",
                Security::Plaintext,
                None,
                "http://127.0.0.1:8695",
                LinkReach::ThisMachine,
            ),
            ("localhost", tls, Some(80), "https://localhost:80", LinkReach::ThisMachine),
        ] {
            let found = url(&Address { port, ..address() }, server, security);
            assert_eq!(found, Some((format!("{origin}/d/1/a.txt?token=t"), reach)), "{server}");
        }
        let told = Address { origin: Some("https://files.example.com".into()), ..address() };
        let found = url(&told, "127.0.0.1", Security::Plaintext);
        let whole = "https://files.example.com/d/1/a.txt?token=t".to_owned();
        assert_eq!(found, Some((whole, LinkReach::AsTold)));
    }

    #[test]
    fn what_is_no_part_of_an_address_is_shown_to_nobody() {
        for path in ["", "d/1", "//evil.test/a", "/a b", "/a\u{1b}[2J", "/a\n", "/\u{202e}"] {
            let address = Address { path: path.to_owned(), ..address() };
            assert_eq!(url(&address, "nas", Security::Plaintext), None, "{path:?}");
        }
        for origin in [
            "",
            "https://",
            "ftp://a",
            "javascript:x",
            "https://a/b",
            "https://a@b",
            "https://a\u{7}",
            "https://a b",
            "https://a#",
            "https://ä",
        ] {
            let address = Address { origin: Some(origin.to_owned()), ..address() };
            assert_eq!(url(&address, "nas", Security::Plaintext), None, "{origin:?}");
        }
    }
}
