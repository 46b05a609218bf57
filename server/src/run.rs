//! A server from start to stop.

use crate::audit::{AuditError, AuditLog};
use crate::door::{Door, Doors, Monitor};
use crate::http::{HttpDoor, HttpMonitor};
use crate::http_config::HttpAt;
use crate::login_log::LoginLog;
use crate::places::Places;
use crate::shared::Shared;
use crate::status::StatusSocket;
use crate::tls::{TlsError, TlsIdentity};
use crate::token::{KeyError, ProviderKeysError, Tokens};
use crate::token_use::TokenUse;
use crate::{Config, listener, operators_files};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_engine::strict_modes::LooseRights;
use towline_engine::{AuditObserver, Engine, OpenError, ShutdownError};
use towline_types::Fingerprint;

/// Why a server did not start, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Other users of the machine may change, or read, files that the operator has named.
    #[error(transparent)]
    Rights(#[from] LooseRights),
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key in it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keys of an identity provider cannot be used.
    #[error(transparent)]
    ProviderKeys(#[from] ProviderKeysError),
    /// The key or the certificate for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What is known at the end could not be written down.
    #[error(transparent)]
    ShutDown(#[from] ShutdownError),
    /// The lock file was removed: a second server could have begun to work beside this one.
    #[error(
        "the lock file {} was removed, so the server has stopped: it must be alone in its data \
         folder. What is durable is kept; start it again",
        path.display()
    )]
    LockRemoved {
        /// The lock file.
        path: PathBuf,
    },
    /// A part of the server has panicked.
    #[error("a part of the server has panicked")]
    Panicked,
}

/// A server that has put everything in order and can take connections.
pub struct Server {
    shared: Arc<Shared>,
    http: HttpPlace,
    monitor: Option<(TcpListener, Box<dyn Monitor>)>,
}

/// Where clients of HTTP are served.
enum HttpPlace {
    /// Nowhere.
    Closed,
    /// At the port of the TCP door.
    SamePort(Arc<dyn Door>),
    /// At a port of their own, and there alone.
    OwnPort(TcpListener, Arc<dyn Door>),
}

impl HttpPlace {
    /// The same as clients are told it; `None` where there is no HTTP, or no port that is known.
    fn at(&self) -> Option<HttpAt> {
        match self {
            Self::Closed => None,
            Self::SamePort(_) => Some(HttpAt::SamePort),
            Self::OwnPort(listener, _) => {
                listener.local_addr().ok().map(|address| HttpAt::OwnPort(address.port()))
            }
        }
    }
}

/// Reads the server's certificate and the keys of tokens again while the server runs, and opens its
/// audit log again.
#[derive(Clone)]
pub struct Reloader(Arc<Shared>);

/// What was read again. What could not be read stays as it was before.
#[derive(Debug)]
pub struct Reloaded {
    /// The fingerprint by which clients recognise the server.
    pub certificate: Result<Fingerprint, TlsError>,
    /// The number of keys of the server's own that tokens are checked with.
    pub token_keys: Result<usize, KeyError>,
    /// The number of keys of the identity provider that tokens are checked with; absent where there
    /// is no provider.
    pub provider_keys: Option<Result<usize, ProviderKeysError>>,
    /// Whether the audit log was opened again; absent where there is none.
    pub audit_log: Option<Result<(), AuditError>>,
}

impl Reloader {
    /// New connections get the certificate that is in the files now. Tokens are checked with the
    /// keys that are there now; those of open connections are checked again within
    /// [`Timings::recheck`](crate::Timings::recheck). Blocks.
    #[must_use]
    pub fn reload(&self) -> Reloaded {
        let Shared { tls, tokens, audit, .. } = &*self.0;
        let certificate = tls.reload().map(|()| tls.fingerprint());
        let (token_keys, provider_keys) = (tokens.reload(), tokens.reload_provider());
        let audit_log = audit.as_ref().map(|audit| audit.reopen());
        Reloaded { certificate, token_keys, provider_keys, audit_log }
    }
}

/// Serves on the listener until `shutdown` is ready, then stops in order: no more
/// connections, every upload paused and durable, the state file written.
///
/// # Errors
/// Where the server cannot start. Once it serves, only a failure to write down
/// what it knows at the end is an error.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    Server::open(config).await?.serve(listener, shutdown).await
}

impl Server {
    /// Opens the data folder and puts in order what an earlier run left.
    ///
    /// # Errors
    /// Where that cannot be done, or another server has the folder.
    pub async fn open(config: Config) -> Result<Self, RunError> {
        let runtime = Handle::current();
        let opening = tokio::task::spawn_blocking(move || open(config, &runtime));
        let shared = Arc::new(opening.await.map_err(|_| RunError::Panicked)??);
        Ok(Self { shared, http: HttpPlace::Closed, monitor: None })
    }

    /// The same server, which serves clients that speak HTTP as well. Without this they are told that
    /// the port has no such door. A program that never calls this has no HTTP in it.
    #[must_use]
    pub fn with_http(self) -> Self {
        Self { http: HttpPlace::SamePort(Arc::new(HttpDoor::default())), ..self }
    }

    /// The same server, which serves clients that speak HTTP on a port of their own, and on that one
    /// alone.
    #[must_use]
    pub fn with_http_on(self, listener: TcpListener) -> Self {
        Self { http: HttpPlace::OwnPort(listener, Arc::new(HttpDoor::default())), ..self }
    }

    /// The same server, which tells programs that watch over it how it is: `GET /healthz`, `/readyz`
    /// and `/metrics`. Whoever reaches that port needs no token, so it belongs on loopback.
    #[must_use]
    pub fn with_monitor(self, listener: TcpListener) -> Self {
        Self { monitor: Some((listener, Box::new(HttpMonitor))), ..self }
    }

    /// The fingerprint by which clients recognise this server.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.shared.tls.fingerprint()
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads the certificate and the keys again while the server serves.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.shared))
    }

    /// Serves; see [`run`].
    ///
    /// # Errors
    /// Where what is known at the end cannot be written down.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let Self { shared, http, monitor } = self;
        if let Some(audit) = &shared.audit {
            audit.server("start");
        }
        let logins = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { shared.logins.run().await })
        };
        let status = tokio::spawn(answer_questions(Arc::clone(&shared)));
        if let Some(at) = http.at() {
            let _ = shared.http_at.set(at);
        }
        let mut listening = JoinSet::new();
        let doors = match http {
            HttpPlace::Closed => Doors::Frames,
            HttpPlace::SamePort(door) => Doors::Both(door),
            HttpPlace::OwnPort(own, door) => {
                listening.spawn(listener::run(own, Doors::Http(door), Arc::clone(&shared)));
                Doors::Frames
            }
        };
        listening.spawn(listener::run(listener, doors, Arc::clone(&shared)));
        if let Some((listener, monitor)) = monitor {
            listening.spawn(monitor.run(listener, Arc::clone(&shared)));
        }
        let is_alone = tokio::select! {
            () = shutdown => true,
            () = shared.engine.lock_removed() => false,
        };
        tracing::info!("stopping");
        // The engine stops first. So a client whose request ends with its connection is told that
        // the server stops.
        shared.engine.begin_shut_down();
        shared.stopping.cancel();
        let enough = Instant::now() + shared.timings.stop;
        // A listener that has panicked is over, too. Its panic is in the log; the uploads still have to
        // be paused in order.
        while listening.join_next().await.is_some() {}
        shared.connections.close();
        // Connections close their sessions, which pause their uploads. The engine says so in the log
        // where they do not end in time: it waits for what they have left.
        let _ = timeout_at(enough, shared.connections.wait()).await;
        logins.abort();
        status.abort();
        // Its task is over then, and the name of the socket is gone.
        let _ = status.await;
        let engine = shared.engine.clone();
        let path = engine.lock_path();
        let stopped = engine.shut_down(enough).await;
        if let Some(audit) = shared.audit.clone() {
            audit.server("stop");
            let _ = tokio::task::spawn_blocking(move || audit.finish()).await;
        }
        stopped?;
        if is_alone { Ok(()) } else { Err(RunError::LockRemoved { path }) }
    }
}

/// Says how the server is, to whom asks at its socket, until the task is dropped. Where there can
/// be no socket, `towlined status` does not work; serving matters more.
async fn answer_questions(shared: Arc<Shared>) {
    match StatusSocket::bind(&shared.engine.config().data_dir) {
        Ok(socket) => socket.run(shared).await,
        Err(error) => tracing::warn!(%error, "there is no socket for towlined status"),
    }
}

/// Opens everything and puts it in order. Blocks.
fn open(mut config: Config, runtime: &Handle) -> Result<Shared, RunError> {
    // A connection costs one, a paused upload another, and publishing a few more.
    let descriptors = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
    config.places.all = config.places.all.min(descriptors / 2);
    let limits = &mut config.engine.limits;
    limits.paused_kept_open = limits.paused_kept_open.min(descriptors / 8);
    let faults = operators_files::faults(&config);
    LooseRights::refuse(faults.clone(), config.engine.strict_modes)?;
    for fault in faults {
        tracing::warn!("{fault}");
    }
    let Config { mut engine, places, timings, tls, allow_plaintext, provider, audit, http, .. } =
        config;
    let audit = audit.map(|file| AuditLog::open(file, &engine.data_dir, engine.strict_modes));
    let audit = audit.transpose()?;
    engine.audit = audit.clone().map(|audit| audit as Arc<dyn AuditObserver>);
    let engine = Engine::open(engine, runtime)?;
    let tokens = Tokens::open(&engine.keys_path(), &engine.store(), engine.clock().clone())?;
    let tokens = match provider {
        Some(provider) => tokens.trusting(provider)?,
        None => tokens,
    };
    let tls = TlsIdentity::open(engine.keys_path(), tls)?;
    Ok(Shared {
        started: std::time::Instant::now(),
        timings,
        places: Places::new(places),
        engine,
        tokens,
        token_use: TokenUse::default(),
        tls,
        allow_plaintext,
        logins: LoginLog::new(audit.clone()),
        http,
        http_at: OnceLock::new(),
        audit,
        connections: TaskTracker::new(),
        stopping: CancellationToken::new(),
    })
}

/// One descriptor for each connection and each upload: the soft limit of 1,024
/// is for programs that use `select`. Says what the limit is now.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors stays as it is");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}
