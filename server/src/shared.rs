//! What every connection needs of its server.

use crate::Timings;
use crate::audit::AuditLog;
use crate::http_config::{HttpAt, HttpConfig};
use crate::login_log::LoginLog;
use crate::places::Places;
use crate::tls::TlsIdentity;
use crate::token::Tokens;
use crate::token_use::TokenUse;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_engine::Engine;

/// See the module's description.
pub(crate) struct Shared {
    /// When the server was opened.
    pub(crate) started: Instant,
    pub(crate) timings: Timings,
    pub(crate) places: Arc<Places>,
    pub(crate) engine: Engine,
    pub(crate) tokens: Tokens,
    pub(crate) token_use: TokenUse,
    pub(crate) tls: TlsIdentity,
    /// Whether other machines may connect without TLS.
    pub(crate) allow_plaintext: bool,
    pub(crate) logins: LoginLog,
    pub(crate) http: HttpConfig,
    /// Where HTTP is served; empty where it is not. It is set before the first connection is taken.
    pub(crate) http_at: OnceLock<HttpAt>,
    pub(crate) audit: Option<Arc<AuditLog>>,
    /// The connections.
    pub(crate) connections: TaskTracker,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
}
