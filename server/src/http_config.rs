//! What the HTTP door is told before it opens: pages of which other origins may use it, which proxies
//! speak for others, and at which address clients reach it.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// Pages of other origins that may use the door from a browser.
    pub origins: AllowedOrigins,
    /// Proxies that say for whom they speak.
    pub proxies: TrustedProxies,
    /// The address at which clients reach the door, where the operator says it: the host of a
    /// request, or of a connection of frames, may be known on this side of a proxy alone.
    pub url: Option<HttpUrl>,
}

/// Where HTTP is served, as clients of the TCP door are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpAt {
    /// At the port of the TCP door.
    SamePort,
    /// At this port.
    OwnPort(u16),
}

/// Of which origins pages may use the door from a browser. The server's own pages always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Of no other one.
    #[default]
    Own,
    /// Of these.
    Listed(Vec<PageOrigin>),
    /// Of every one. A page still needs a token.
    Any,
}

impl AllowedOrigins {
    /// Whether pages of that origin may; `origin` is the header of a request.
    pub(crate) fn allows(&self, origin: &[u8]) -> bool {
        match self {
            Self::Own => false,
            Self::Listed(origins) => origins.iter().any(|one| one.0.as_bytes() == origin),
            Self::Any => true,
        }
    }
}

/// Every one where one of them is `*`.
impl FromIterator<OriginArgument> for AllowedOrigins {
    fn from_iter<T: IntoIterator<Item = OriginArgument>>(arguments: T) -> Self {
        let mut origins = Vec::new();
        for argument in arguments {
            match argument {
                OriginArgument::Any => return Self::Any,
                OriginArgument::One(origin) => origins.push(origin),
            }
        }
        if origins.is_empty() { Self::Own } else { Self::Listed(origins) }
    }
}

/// An origin as a browser says it: scheme, host and port, without a default port (RFC 6454,
/// section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOrigin(String);

/// An origin as it is typed, or `*` for every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginArgument {
    /// `*`.
    Any,
    /// This one.
    One(PageOrigin),
}

/// A text that is no origin.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no origin of pages; write https://HOST or https://HOST:PORT, or * for every one")]
pub struct BadOrigin(String);

impl FromStr for OriginArgument {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let origin = origin(text).ok_or_else(|| BadOrigin(text.to_owned()))?;
        Ok(Self::One(PageOrigin(origin)))
    }
}

/// Scheme, host and port without a default port; a `/` behind them is left out.
fn origin(text: &str) -> Option<String> {
    let origin = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://")?;
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_host)).then(|| format!("{scheme}://{host}"))
}

/// The address at which clients reach the HTTP door: scheme, host and port, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

/// A text that is no such address.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no address of this server; write https://HOST or https://HOST:PORT, without a path"
)]
pub struct BadHttpUrl(String);

impl FromStr for HttpUrl {
    type Err = BadHttpUrl;

    fn from_str(text: &str) -> Result<Self, BadHttpUrl> {
        origin(text).map(Self).ok_or_else(|| BadHttpUrl(text.to_owned()))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Proxies whose word for the address of a client, and for whether it uses TLS, is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<AddressRange>);

impl TrustedProxies {
    /// Whether the proxy at that address is one of them.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|range| range.0.contains(&ip))
    }
}

impl FromIterator<AddressRange> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = AddressRange>>(ranges: T) -> Self {
        Self(ranges.into_iter().collect())
    }
}

/// One address, or all of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange(IpNet);

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of a proxy; write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")]
pub struct BadAddressRange(String);

impl FromStr for AddressRange {
    type Err = BadAddressRange;

    fn from_str(text: &str) -> Result<Self, BadAddressRange> {
        let of_one = || text.parse().ok().map(|ip: IpAddr| IpNet::from(ip.to_canonical()));
        let range = text.parse().ok().or_else(of_one);
        range.map(Self).ok_or_else(|| BadAddressRange(text.to_owned()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> AllowedOrigins {
        texts.iter().map(|text| text.parse::<OriginArgument>().unwrap()).collect()
    }

    #[test]
    fn an_origin_is_compared_as_a_browser_says_it() {
        let allowed = origins(&["HTTPS://App.Example.com:443/", "http://localhost:5173"]);
        assert!(allowed.allows(b"https://app.example.com"));
        assert!(allowed.allows(b"http://localhost:5173"));
        for other in
            ["http://app.example.com", "https://app.example.com.evil.test", "null", "", "*"]
        {
            assert!(!allowed.allows(other.as_bytes()), "{other}");
        }
        assert!(!origins(&[]).allows(b"https://app.example.com"));
        assert!(origins(&["https://a.test", "*"]).allows(b"null"));
        for text in ["app.example.com", "ftp://a.test", "https://a.test/page", "https://", "null"] {
            assert!(text.parse::<OriginArgument>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_address_of_the_door_has_no_path() {
        let url: HttpUrl = "https://Files.example.com:443/".parse().unwrap();
        assert_eq!(url.to_string(), "https://files.example.com");
        for text in ["files.example.com", "https://a.test/towline", "*", "ftp://a.test", ""] {
            assert!(text.parse::<HttpUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_known_by_its_address_or_its_network() {
        let ranges = ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::ffff:198.51.100.1"];
        let proxies: TrustedProxies =
            ranges.iter().map(|text| text.parse::<AddressRange>().unwrap()).collect();
        for ip in ["192.0.2.7", "::ffff:192.0.2.7", "10.200.1.1", "2001:db8:1::1", "198.51.100.1"] {
            assert!(proxies.has(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.0.2.8", "11.0.0.1", "2001:db9::1", "127.0.0.1"] {
            assert!(!proxies.has(ip.parse().unwrap()), "{ip}");
        }
        assert!("10.0.0.0/33".parse::<AddressRange>().is_err());
        assert!("proxy.example.com".parse::<AddressRange>().is_err());
    }
}
