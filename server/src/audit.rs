//! The audit log: a file of its own, in which an operator finds who did what. Each line is a JSON
//! object, and none holds a token, a secret or a hash of one.
//!
//! Nothing that the server does waits for it: lines go into the bounded queue of
//! [`log::queue`](crate::log::queue), and one thread writes them. Where lines come faster than the
//! disk takes them, or the disk takes none, lines are lost and the server goes on. A server that
//! stopped instead would be stopped for all users by one full disk, or by one user who makes many
//! lines. But an operator who reads the log has to know that it is not whole: lost lines are
//! counted, the next line that can be written says how many are missing before it, and the log of
//! the server says why.

mod file;
mod line;

pub use file::{AuditError, AuditFile};

use crate::log::queue::Queue;
use crate::token::Identity;
use file::OpenFile;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use towline_engine::{AuditObserver, AuditRecord};
use towline_state::catalog::User;

/// Adds a line to the file, for a command that works beside the server. Blocks.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn append(path: &Path, event: &str, fields: Value) -> io::Result<()> {
    file::append(path, &line::line(event, fields))
}

/// How long a server that stops waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// See the module's description.
pub(crate) struct AuditLog {
    queue: Arc<Queue>,
    file: OpenFile,
}

impl AuditLog {
    /// Opens the file and begins the thread that writes to it. Blocks.
    ///
    /// # Errors
    /// Where the file cannot be used.
    pub(crate) fn open(
        place: AuditFile,
        data_dir: &Path,
        is_strict: bool,
    ) -> Result<Arc<Self>, AuditError> {
        let path = place.path.clone();
        let file = OpenFile::open(place, data_dir, is_strict)?;
        let queue = Queue::to(file.clone(), "audit-log");
        let queue = queue.map_err(|error| AuditError::Open { path, error })?;
        Ok(Arc::new(Self { queue, file }))
    }

    /// Opens the file again, which another program may have renamed. Blocks.
    ///
    /// # Errors
    /// Why that cannot be done. The file of before is written on.
    pub(crate) fn reopen(&self) -> Result<(), AuditError> {
        self.file.reopen()
    }

    /// The server has started, or stops.
    pub(crate) fn server(&self, event: &str) {
        let version = env!("CARGO_PKG_VERSION");
        self.push(event, json!({ "by": "server", "result": "ok", "version": version }));
    }

    /// A client was not let in. `others` of the same network and with the same code were not let in
    /// since the line before, and have none of their own.
    pub(crate) fn login_refused(&self, peer: SocketAddr, code: &str, others: u64) {
        let others = Some(others).filter(|others| *others > 0);
        let fields = json!({
            "by": "client", "result": code, "address": peer.to_string(), "others": others,
        });
        self.push("login", fields);
    }

    /// Logins were refused that have no line of their own.
    pub(crate) fn logins_refused(&self, code: &str, network: Option<&str>, others: u64) {
        let fields = json!({
            "by": "client", "result": code, "network": network, "others": others,
        });
        self.push("login", fields);
    }

    /// How many lines could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Waits until all is written, or for a second. The server's own log says what is missing then.
    pub(crate) fn finish(&self) {
        let missing = self.queue.wait_until_written(LAST_LINES);
        if missing > 0 {
            tracing::error!(missing, "the last lines of the audit log could not be written");
        }
    }

    fn push(&self, event: &str, fields: Value) {
        self.queue.push(line::line(event, fields).as_bytes());
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl AuditObserver for AuditLog {
    /// What the engine does by itself.
    fn observe(&self, record: AuditRecord) {
        let (event, mut fields) = line::of_record(record);
        fields["by"] = json!("server");
        self.push(event, fields);
    }
}

/// A client that is logged in, and the audit log of what it does.
#[derive(Debug)]
pub(crate) struct AuditedClient {
    log: Arc<AuditLog>,
    user: User,
    peer: SocketAddr,
    /// What its token says. It may show another one.
    identity: Mutex<Identity>,
}

impl AuditedClient {
    pub(crate) fn new(
        log: Arc<AuditLog>,
        user: User,
        peer: SocketAddr,
        identity: Identity,
    ) -> Self {
        Self { log, user, peer, identity: Mutex::new(identity) }
    }

    /// The client has logged in.
    pub(crate) fn logged_in(&self) {
        self.push("login", json!({ "result": "ok" }));
    }

    /// The client has exchanged a secret for its token, and has logged in.
    pub(crate) fn joined(&self) {
        self.push("join", json!({ "result": "ok" }));
    }

    /// The client has shown another token, which counts from now on.
    pub(crate) fn renewed(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
        self.push("reauth", json!({ "result": "ok" }));
    }

    /// The client has shown another token, which is not good.
    pub(crate) fn not_renewed(&self, code: &str) {
        self.push("reauth", json!({ "result": code }));
    }

    /// The client may be here no longer: its token has ended or was revoked, or its user was
    /// removed.
    pub(crate) fn access_ended(&self, code: &str, reason: &str) {
        self.push("access_end", json!({ "result": code, "reason": reason }));
    }

    fn push(&self, event: &str, mut fields: Value) {
        let identity = *self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        fields["by"] = json!("client");
        fields["user_id"] = json!(self.user.user_id);
        fields["user"] = json!(self.user.name);
        fields["address"] = json!(self.peer.to_string());
        fields["token"] = json!(identity.recorded_id().map(|id| id.to_string()));
        fields["key"] = json!(identity.key.to_string());
        self.log.push(event, fields);
    }
}

impl AuditObserver for AuditedClient {
    fn observe(&self, record: AuditRecord) {
        let (event, fields) = line::of_record(record);
        self.push(event, fields);
    }
}
