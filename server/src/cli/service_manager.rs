//! Tells the service manager how the server is, by the protocol of `sd_notify`.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;

/// The variable in which the service manager names its socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The socket of the service manager; none where no such program has started the server. A clone is
/// the same socket.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceManager(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl ServiceManager {
    /// The socket that the environment names.
    pub(super) fn of_environment() -> Self {
        let Some(name) = std::env::var_os(VARIABLE) else { return Self::default() };
        match connect(name.as_bytes()) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told that the server is ready");
                Self::default()
            }
        }
    }

    /// Clients can connect; or what was read again is in force.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Keys and certificates are read again.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The server ends.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        let (socket, address) = &**socket;
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state, "the service manager could not be told");
        }
    }
}

/// A socket that never waits, and the address of the other one. A name that begins with `@` is one
/// without a file.
fn connect(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(name)))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
