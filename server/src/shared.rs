//! What every connection needs of its server.

use crate::Timings;
use crate::login_log::LoginLog;
use crate::tls::TlsIdentity;
use crate::token::Tokens;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_engine::Engine;

/// See the module's description.
pub(crate) struct Shared {
    pub(crate) timings: Timings,
    /// How many connections there may be at the same time.
    pub(crate) connections_max: usize,
    pub(crate) engine: Engine,
    pub(crate) tokens: Tokens,
    pub(crate) tls: TlsIdentity,
    /// Connections without TLS are taken from other machines too.
    pub(crate) allow_plaintext: bool,
    pub(crate) logins: LoginLog,
    /// The connections.
    pub(crate) connections: TaskTracker,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
}
