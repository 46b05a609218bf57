//! The line by which a new client joins a server: where it is, by which key it is recognised, and a
//! one-time secret. `towlined join` prints such lines, and `towline login` takes them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use towline_types::{Fingerprint, JoinSecret};

/// What a line begins with.
const SCHEME: &str = "towline://";

/// The most addresses of one line. A line may come from anywhere, and a client tries all of them.
pub const JOIN_ADDRESSES_MAX: usize = 8;

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAddress {
    host: String,
    port: u16,
}

/// A line by which a client joins: `towline://HOST:PORT/SHA256:KEY/SECRET`, with a comma between
/// several addresses. It consists of characters that no shell takes for anything else, so an IPv6
/// address has no brackets: the port is always there, and begins after the last colon.
///
/// `{:?}` never shows the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLine {
    /// The addresses of the server, the one to be tried first in front. There is at least one.
    pub addresses: Vec<JoinAddress>,
    /// The key that the server must have.
    pub fingerprint: Fingerprint,
    /// The secret that is exchanged for a token.
    pub secret: JoinSecret,
}

/// The text is no such line. The message does not repeat the text, which may have a secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinLine {
    /// It does not begin like one.
    #[error("this is no join line: one begins with {SCHEME}")]
    OtherText,
    /// Its end is missing, or a part in the middle.
    #[error("the join line is not complete; copy all of it: {SCHEME}HOST:PORT/SHA256:KEY/SECRET")]
    Incomplete,
    /// An address does not read.
    #[error("the join line has an address that is not HOST:PORT")]
    Address,
    /// The key does not read.
    #[error("the key in the join line was damaged: {0}")]
    Key(#[from] towline_types::BadFingerprint),
    /// The secret does not read.
    #[error("the secret in the join line was damaged: {0}")]
    Secret(#[from] towline_types::BadJoinSecret),
}

impl JoinAddress {
    /// The address; `None` where the host has a character that no line may have, or the port is 0.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !host.is_empty() && host.chars().all(legal);
        let is_host = is_name || host.parse::<Ipv6Addr>().is_ok();
        (is_host && port > 0).then(|| Self { host: host.to_owned(), port })
    }

    /// The name or the number of the machine, without brackets.
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

impl fmt::Display for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for JoinAddress {
    type Err = BadJoinLine;

    fn from_str(text: &str) -> Result<Self, BadJoinLine> {
        let (host, port) = text.rsplit_once(':').ok_or(BadJoinLine::Address)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        port.and_then(|port| Self::new(host, port)).ok_or(BadJoinLine::Address)
    }
}

impl JoinLine {
    /// Whether a text is meant as such a line, good or damaged.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        bare(text).starts_with(SCHEME)
    }

    /// The line with its secret, for the person who passes it on.
    #[must_use]
    pub fn reveal(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let Self { fingerprint, secret, .. } = self;
        format!("{SCHEME}{}/{fingerprint}/{}", addresses.join(","), secret.reveal())
    }
}

impl FromStr for JoinLine {
    type Err = BadJoinLine;

    /// Reads a line. Quotes and brackets around it, space in it and a full stop after it are passed
    /// over: mail and chat programs add them.
    fn from_str(text: &str) -> Result<Self, BadJoinLine> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let rest = bare(&text).strip_prefix(SCHEME).ok_or(BadJoinLine::OtherText)?;
        let mut parts = rest.splitn(3, '/');
        let (Some(addresses), Some(key), Some(secret)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(BadJoinLine::Incomplete);
        };
        if secret.len() < 32 {
            return Err(BadJoinLine::Incomplete);
        }
        let addresses: Vec<JoinAddress> =
            addresses.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if addresses.len() > JOIN_ADDRESSES_MAX {
            return Err(BadJoinLine::Address);
        }
        Ok(Self { addresses, fingerprint: key.parse()?, secret: secret.parse()? })
    }
}

/// The text without what programs put around a line.
fn bare(text: &str) -> &str {
    let around =
        |c: char| c.is_whitespace() || "\"'`<>()\u{201c}\u{201d}\u{2018}\u{2019}".contains(c);
    text.trim_matches(around).trim_end_matches(['.', ',', ';']).trim_matches(around)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "SHA256:-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s";
    const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

    fn parse(text: &str) -> Result<JoinLine, BadJoinLine> {
        text.parse()
    }

    #[test]
    fn a_line_reads_back_also_from_a_chat() {
        let text = format!("towline://nas.lan:8695,192.0.2.7:1,fd00::7:8695/{KEY}/{SECRET}");
        let line = parse(&text).unwrap();
        assert_eq!(line.reveal(), text);
        let hosts: Vec<_> = line.addresses.iter().map(|one| (one.host(), one.port())).collect();
        assert_eq!(hosts, [("nas.lan", 8695), ("192.0.2.7", 1), ("fd00::7", 8695)]);
        assert!(!format!("{line:?}").contains(SECRET));
        let (front, back) = text.split_at(60);
        for around in [
            format!(" {text}\n"),
            format!("'{text}'"),
            format!("<{text}>."),
            format!("\u{201c}{text}\u{201d},"),
            format!("{front}\r\n  {back}"),
        ] {
            assert!(JoinLine::is_meant(&around));
            assert_eq!(parse(&around), Ok(line.clone()), "{around}");
        }
    }

    /// A line is pasted into a shell without quotes around it.
    #[test]
    fn no_shell_takes_a_line_apart() {
        let line = parse(&format!("towline://a_b-c.example:1,::1:2/{KEY}/{SECRET}")).unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/:,._-".contains(c);
        assert!(line.reveal().chars().all(plain), "{}", line.reveal());
    }

    #[test]
    fn what_is_no_line_is_refused_without_repeating_it() {
        use BadJoinLine::{Address, Incomplete, Key, OtherText, Secret};
        let key = Key(towline_types::BadFingerprint);
        let secret = Secret(towline_types::BadJoinSecret);
        let many = ["a:1"; JOIN_ADDRESSES_MAX + 1].join(",");
        for (text, why) in [
            (String::new(), OtherText),
            (format!("http://nas:1/{KEY}/{SECRET}"), OtherText),
            (format!("nas:1/{KEY}/{SECRET}"), OtherText),
            ("towline://nas:1".to_owned(), Incomplete),
            (format!("towline://nas:1/{KEY}"), Incomplete),
            (format!("towline://nas:1/{KEY}/{}", &SECRET[1..]), Incomplete),
            (format!("towline://nas/{KEY}/{SECRET}"), Address),
            (format!("towline://nas:0/{KEY}/{SECRET}"), Address),
            (format!("towline://nas:+1/{KEY}/{SECRET}"), Address),
            (format!("towline:///{KEY}/{SECRET}"), Address),
            (format!("towline://a:1,/{KEY}/{SECRET}"), Address),
            (format!("towline://a$b:1/{KEY}/{SECRET}"), Address),
            (format!("towline://[::1]:1/{KEY}/{SECRET}"), Address),
            (format!("towline://{many}/{KEY}/{SECRET}"), Address),
            (format!("towline://nas:1/{}/{SECRET}", &KEY[..49]), key),
            (format!("towline://nas:1/{KEY}/{SECRET}0"), secret),
            (format!("towline://nas:1/{KEY}/{}", SECRET.to_uppercase()), secret),
            (format!("towline://nas:1/{KEY}/{SECRET}/"), secret),
        ] {
            let refused = parse(&text).unwrap_err();
            assert_eq!(refused, why, "{text}");
            assert!(!refused.to_string().contains(SECRET), "{refused}");
        }
    }
}
