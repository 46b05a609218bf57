//! A server for one sitting: one user, files that a person takes out of the store as they arrive, and
//! lines with which others join. `towline receive` is around it.

use super::join::usual_addresses;
use super::listen::ListenAddress;
use crate::listening::Listening;
use crate::shared::Shared;
use crate::tcp::upload_state;
use crate::token::{new_invitation, secret_hash};
use crate::{Config, RunError, Server};
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use towline_engine::{Account, DeltaRequest, Origin, PAGE_CHANGES_MAX, Since, WAIT_MAX};
use towline_protocol::JoinLine;
use towline_protocol::reply::UploadState;
use towline_state::catalog::{NodeRef, Op, User};
use towline_types::{DocumentId, JoinHash, NodeKind, UserId};

/// The name of the user of a sitting.
const USER: &str = "sender";

/// How long a line is good, if no one uses it.
pub const LINE_TTL: Duration = Duration::from_secs(24 * 3600);

/// How long a sender can go on with what was interrupted: as long as an upload waits for its next byte.
const TOKEN_TTL: Duration = Duration::from_secs(7 * 86_400);

/// The most uploads that are shown.
const UPLOADS_MAX: u32 = 1000;

/// See the module's description.
pub struct Sitting {
    server: Server,
    listener: TcpListener,
    listen: SocketAddr,
    user: User,
    data_dir: PathBuf,
}

/// A file that is whole, under the name that its sender gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedFile {
    /// The names of its folders and its own name, as the sender chose them. None of them has a slash
    /// or a control character, or is `.` or `..`.
    pub names: Vec<String>,
    /// Where it is now.
    pub path: PathBuf,
    /// Its size in bytes.
    pub filesize: u64,
}

impl Sitting {
    /// Opens the data folder, or makes it, and binds the port: the typed one, else the one that this
    /// data folder had before, so that senders find it again, else a free one.
    ///
    /// # Errors
    /// Where the folder cannot be used, or another server has it, or no port can be bound.
    pub async fn open(data_dir: &Path, listen: Option<&ListenAddress>) -> anyhow::Result<Self> {
        let before = Listening::of(data_dir).map(|before| before.listen.port());
        let listener = match listen {
            Some(typed) => typed.bind()?,
            None => bind(before)?,
        };
        let listener = TcpListener::from_std(listener)?;
        let listen = listener.local_addr()?;
        let mut config = Config::new(data_dir);
        // The folder is for its owner alone, wherever the person has it.
        config.engine.strict_modes = false;
        let server = Server::open(config).await?;
        let engine = &server.shared().engine;
        let user = match engine.standing(UserId::MIN.into(), None).await? {
            Some(standing) => standing.user,
            None => engine.add_user(USER).await?,
        };
        let data_dir = data_dir.to_owned();
        let listening = Listening { listen, key: server.fingerprint(), audit_log: None };
        let place = data_dir.clone();
        tokio::task::spawn_blocking(move || listening.record_in(&place)).await?;
        Ok(Self { server, listener, listen, user, data_dir })
    }

    /// What arrives, to be asked while the server serves.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        let shared = Arc::clone(self.server.shared());
        let account = shared.engine.account(self.user.user_id, Origin::new(self.listen));
        Arrivals {
            key: self.server.fingerprint(),
            listen: self.listen,
            user: self.user.clone(),
            uploads: self.data_dir.join("uploads").join(self.user.user_id.to_string()),
            shared,
            account,
            since: Since::Nothing,
        }
    }

    /// Serves until `shutdown` is ready, then stops in order: what is under way is paused and durable.
    ///
    /// # Errors
    /// Where what is known at the end cannot be written down.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        self.server.serve(self.listener, shutdown).await
    }
}

fn bind(before: Option<u16>) -> anyhow::Result<std::net::TcpListener> {
    let everywhere = |port: u16| format!("*:{port}").parse::<ListenAddress>();
    if let Some(port) = before
        && let Ok(listener) = everywhere(port)?.bind()
    {
        return Ok(listener);
    }
    everywhere(0)?.bind()
}

/// What arrives in a sitting.
pub struct Arrivals {
    shared: Arc<Shared>,
    account: Account,
    user: User,
    listen: SocketAddr,
    key: towline_types::Fingerprint,
    uploads: PathBuf,
    since: Since,
}

/// A line, and whether it can still be used.
pub struct Line {
    /// The line, with its secret.
    pub line: JoinLine,
    secret: JoinHash,
}

impl Arrivals {
    /// A new line: good for one login, for [`LINE_TTL`].
    ///
    /// # Errors
    /// Where this machine has no address, or the line cannot be recorded.
    pub async fn new_line(&self) -> anyhow::Result<Line> {
        let host = self.listen.ip().to_string();
        let addresses = usual_addresses(Some(&host), self.listen.port())
            .context("this machine has no address that others could use; is it in a network?")?;
        let engine = &self.shared.engine;
        let now = engine.clock().now();
        let (secret, row) = new_invitation(&self.user, LINE_TTL, TOKEN_TTL, now)?;
        engine.invite(row).await?;
        let line = JoinLine { addresses, fingerprint: self.key, secret };
        let secret = secret_hash(&line.secret);
        Ok(Line { line, secret })
    }

    /// Whether the line was used, or its time has passed. Cancel-safe.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn is_used(&self, line: &Line) -> anyhow::Result<bool> {
        Ok(self.shared.engine.invitation(line.secret).await?.is_none())
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.listen.to_string()
    }

    /// Whether a sender is connected.
    #[must_use]
    pub fn has_sender(&self) -> bool {
        self.shared.places.has_user(self.user.user_id)
    }

    /// The uploads that are not complete, those without a connection as well. Cancel-safe.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn unfinished(&self) -> anyhow::Result<Vec<(DocumentId, UploadState)>> {
        let page = self.account.uploads(None, UPLOADS_MAX).await?;
        Ok(page.uploads.iter().map(|one| (one.document_id, upload_state(one))).collect())
    }

    /// The files that became whole since the last call; at the first call all that there are. Waits
    /// for some where `waits`. Links and folders without files are not among them. Cancel-safe: what
    /// was not returned is returned by the next call.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn next(&mut self, waits: bool) -> anyhow::Result<Vec<ArrivedFile>> {
        let wait = if waits { WAIT_MAX } else { Duration::ZERO };
        let request = DeltaRequest { since: self.since.clone(), limit: PAGE_CHANGES_MAX, wait };
        let delta = self.account.delta(request).await?;
        let mut files = Vec::new();
        for change in &delta.changes {
            let is_file = change.node.kind == NodeKind::File && change.node.version.is_some();
            if !is_file || change.op == Op::Delete {
                continue;
            }
            // It may have been moved or removed since.
            let Ok(placed) = self.account.stat(NodeRef::Id(change.node.node_id)).await else {
                continue;
            };
            let (Some(path), Some(version)) = (placed.path, placed.node.version) else { continue };
            let names: Vec<String> = path.names().iter().map(ToString::to_string).collect();
            let path = names.iter().fold(self.uploads.clone(), |path, name| path.join(name));
            files.push(ArrivedFile { names, path, filesize: version.filesize.get() });
        }
        let has_more = delta.has_more;
        self.since = Since::Cursor(delta.next);
        if has_more && files.is_empty() && !waits {
            return Box::pin(self.next(false)).await;
        }
        Ok(files)
    }
}
