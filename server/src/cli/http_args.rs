//! What is typed of the HTTP door and of the monitor's port, or stands in the configuration file.

use super::listen::ListenAddress;
use super::usage_error::UsageError;
use crate::{AddressRange, HttpConfig, HttpUrl, OriginArgument, Server};
use clap::Args;
use std::net::{SocketAddr, TcpListener as StdListener};
use tokio::net::TcpListener;

/// The options.
#[derive(Debug, Clone, Default, Args)]
pub struct HttpArgs {
    /// Serve HTTP at this address, and there alone; without this it is served at the address of
    /// --listen, beside frames
    #[arg(long, value_name = "ADDRESS")]
    pub http_listen: Option<ListenAddress>,
    /// Serve no HTTP
    #[arg(long, conflicts_with = "http_listen")]
    pub no_http: bool,
    /// Let pages of this origin use the server from a browser: https://HOST, or * for every one;
    /// can be said several times
    #[arg(long = "http-origin", value_name = "ORIGIN")]
    pub http_origins: Vec<OriginArgument>,
    /// Believe the proxy at this address, or in this network, for whom it speaks
    /// (X-Forwarded-For, X-Forwarded-Proto); can be said several times
    #[arg(long = "trusted-proxy", value_name = "ADDRESS")]
    pub trusted_proxies: Vec<AddressRange>,
    /// The address at which others reach the server by HTTP, for the links that it makes:
    /// https://HOST or https://HOST:PORT [default: the host that a client has used]
    #[arg(long, value_name = "URL", conflicts_with = "no_http")]
    pub http_url: Option<HttpUrl>,
    /// Tell programs that watch over the server how it is, at this address and without a token:
    /// /healthz, /readyz, /metrics
    #[arg(long, value_name = "ADDRESS")]
    pub monitor_listen: Option<ListenAddress>,
}

/// The same as the configuration file has it.
#[derive(Debug, Default)]
pub(super) struct HttpFile {
    pub(super) http: Option<bool>,
    pub(super) http_listen: Option<ListenAddress>,
    pub(super) http_origins: Vec<OriginArgument>,
    pub(super) trusted_proxies: Vec<AddressRange>,
    pub(super) http_url: Option<HttpUrl>,
    pub(super) monitor_listen: Option<ListenAddress>,
}

/// Where HTTP is served, and where the monitor's port is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HttpPorts {
    pub(super) http: HttpPort,
    pub(super) monitor: Option<ListenAddress>,
}

/// Where HTTP is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum HttpPort {
    /// Nowhere.
    Closed,
    /// Beside frames.
    #[default]
    Shared,
    /// At an address of its own.
    Own(ListenAddress),
}

impl HttpArgs {
    /// What both mean together; what was typed goes first. Mistakes are left out of it.
    pub(super) fn settings(
        &self,
        file: HttpFile,
        mistakes: &mut Vec<UsageError>,
    ) -> (HttpConfig, HttpPorts) {
        let is_closed = self.no_http || file.http == Some(false);
        let own = self.http_listen.clone().or(file.http_listen);
        if file.http == Some(false) && own.is_some() {
            mistakes
                .push(UsageError("http = false and http_listen contradict each other".to_owned()));
        }
        let http = match own {
            _ if is_closed => HttpPort::Closed,
            Some(address) => HttpPort::Own(address),
            None => HttpPort::Shared,
        };
        let origins = typed_or(&self.http_origins, file.http_origins);
        let proxies = typed_or(&self.trusted_proxies, file.trusted_proxies);
        let config = HttpConfig {
            origins: origins.into_iter().collect(),
            proxies: proxies.into_iter().collect(),
            url: self.http_url.clone().or(file.http_url),
        };
        (config, HttpPorts { http, monitor: self.monitor_listen.clone().or(file.monitor_listen) })
    }
}

fn typed_or<T: Clone>(typed: &[T], file: Vec<T>) -> Vec<T> {
    if typed.is_empty() { file } else { typed.to_vec() }
}

/// The doors of a program besides the TCP door. A program has the code of those alone that its type
/// of these can open.
pub(super) trait MoreDoors: Sized {
    /// Listens where that is asked for. Blocks while a name is looked up, and needs no runtime.
    ///
    /// # Errors
    /// Where one of the addresses cannot be had, or the program has no such door.
    fn bind(ports: &HttpPorts) -> anyhow::Result<Self>;

    /// The addresses that clients may reach, each with a word for what it serves.
    ///
    /// # Errors
    /// Where the system does not say.
    fn addresses(&self) -> anyhow::Result<Vec<(&'static str, SocketAddr)>>;

    /// Opens the doors of the server.
    ///
    /// # Errors
    /// Where the runtime does not take a socket.
    fn open(self, server: Server) -> anyhow::Result<Server>;
}

/// No more doors.
pub(super) struct FramesAlone;

impl MoreDoors for FramesAlone {
    fn bind(ports: &HttpPorts) -> anyhow::Result<Self> {
        match matches!(ports.http, HttpPort::Own(_)) || ports.monitor.is_some() {
            true => {
                let message = "this program serves frames alone. towlined serves HTTP as well \
                               (http_listen, monitor_listen)";
                Err(UsageError(message.to_owned()).into())
            }
            false => Ok(Self),
        }
    }

    fn addresses(&self) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
        Ok(Vec::new())
    }

    fn open(self, server: Server) -> anyhow::Result<Server> {
        Ok(server)
    }
}

/// The sockets of the HTTP door and of the monitor.
#[derive(Debug)]
pub(super) struct HttpListeners {
    http: HttpSocket,
    monitor: Option<StdListener>,
}

#[derive(Debug)]
enum HttpSocket {
    Closed,
    Shared,
    Own(StdListener),
}

impl MoreDoors for HttpListeners {
    fn bind(ports: &HttpPorts) -> anyhow::Result<Self> {
        let http = match &ports.http {
            HttpPort::Closed => HttpSocket::Closed,
            HttpPort::Shared => HttpSocket::Shared,
            HttpPort::Own(address) => HttpSocket::Own(address.bind()?),
        };
        let monitor = ports.monitor.as_ref().map(ListenAddress::bind).transpose()?;
        Ok(Self { http, monitor })
    }

    fn addresses(&self) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
        let mut addresses = Vec::new();
        if let HttpSocket::Own(listener) = &self.http {
            addresses.push(("http", listener.local_addr()?));
        }
        if let Some(listener) = &self.monitor {
            addresses.push(("monitor", listener.local_addr()?));
        }
        Ok(addresses)
    }

    fn open(self, server: Server) -> anyhow::Result<Server> {
        let server = match self.http {
            HttpSocket::Closed => server,
            HttpSocket::Shared => server.with_http(),
            HttpSocket::Own(listener) => server.with_http_on(TcpListener::from_std(listener)?),
        };
        Ok(match self.monitor {
            Some(listener) => server.with_monitor(TcpListener::from_std(listener)?),
            None => server,
        })
    }
}
