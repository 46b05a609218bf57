//! A server in the process of the test: it starts fast, the test can change every setting, and the
//! test moves its clock. For a server that is killed see [`process`](crate::process).

use crate::PATIENCE;
use crate::raw_client::RawClient;
use crate::site::{Site, TestUser};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use towline_engine::Clock;
use towline_server::{Config, Reloaded, Reloader, RunError, Server};
use towline_types::Timestamp;

/// A clock that runs like the system's clock and that a test can move forward.
#[derive(Debug, Clone, Default)]
pub struct TestClock(Arc<Ahead>);

/// How far the clock is ahead of the system's, in milliseconds.
#[derive(Debug, Default)]
struct Ahead {
    wall: AtomicI64,
    steady: AtomicU64,
}

impl TestClock {
    /// Moves the time forward, both of the wall clock and of the clock that cannot be set.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("a jump of less than the age of the world");
        self.0.steady.fetch_add(ms, Ordering::SeqCst);
        self.set(ms.cast_signed());
    }

    /// Moves only the wall clock forward, by that number of milliseconds.
    pub fn set(&self, by_ms: i64) {
        self.0.wall.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// The same clock for the settings of a server.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let system = Clock::system();
        let (wall, steady) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let now = move || {
            let now = towline_state::clock::now().get();
            let shown = now.saturating_add_signed(wall.wall.load(Ordering::SeqCst));
            Timestamp::try_from(shown).expect("a moment after 1970")
        };
        let passed =
            move || system.steady() + Duration::from_millis(steady.steady.load(Ordering::SeqCst));
        Clock::with_steady(now, passed)
    }

    /// The present time of this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }
}

type Tweak = Box<dyn Fn(&mut Config) + Send + Sync>;
type Bind = Box<dyn Fn() -> std::net::TcpListener + Send + Sync>;

/// A server over a data folder of its own, with one user.
pub struct TestServer {
    /// Its data folder.
    pub site: Site,
    /// Its user.
    pub user: TestUser,
    /// Its clock.
    pub clock: TestClock,
    tweak: Tweak,
    bind: Bind,
    has_http: bool,
    running: Option<Running>,
}

struct Running {
    address: SocketAddr,
    reloader: Reloader,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl TestServer {
    /// A server with the settings that the command line has.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server with other settings, which apply to each restart, too.
    pub async fn start_with(tweak: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let bind = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Self::start_on(move || bind().expect("a free port"), tweak).await
    }

    /// The same on a socket that `bind` makes at each start.
    pub async fn start_on(
        bind: impl Fn() -> std::net::TcpListener + Send + Sync + 'static,
        tweak: impl Fn(&mut Config) + Send + Sync + 'static,
    ) -> Self {
        Self::over(Site::new(), bind, tweak, false).await
    }

    /// A server with the HTTP door and other settings.
    pub async fn start_with_http(tweak: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let bind = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Self::over(Site::new(), move || bind().expect("a free port"), tweak, true).await
    }

    /// The same over a data folder that exists already; the user is added to it.
    pub async fn start_at(site: Site, tweak: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let bind = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Self::over(site, move || bind().expect("a free port"), tweak, false).await
    }

    async fn over(
        site: Site,
        bind: impl Fn() -> std::net::TcpListener + Send + Sync + 'static,
        tweak: impl Fn(&mut Config) + Send + Sync + 'static,
        has_http: bool,
    ) -> Self {
        let user = site.add_user("ada").await;
        let clock = TestClock::default();
        let (tweak, bind) = (Box::new(tweak), Box::new(bind));
        let mut server = Self { site, user, clock, tweak, bind, has_http, running: None };
        server.start_again().await;
        server
    }

    /// The address that the server listens on.
    ///
    /// # Panics
    /// Where the server is stopped.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("the server runs").address
    }

    /// A connection of the server's user, logged in.
    pub async fn client(&self) -> RawClient {
        RawClient::login(self.address(), &self.user.token).await
    }

    /// Has the server read its certificate and its keys again, as SIGHUP does.
    ///
    /// # Panics
    /// Where the server is stopped.
    #[must_use]
    pub fn reload(&self) -> Reloaded {
        self.running.as_ref().expect("the server runs").reloader.reload()
    }

    /// Stops the server in good order, as SIGTERM does.
    ///
    /// # Panics
    /// Where that does not end in time, or fails.
    pub async fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.cancel();
        let ended = timeout(PATIENCE, running.task).await.expect("the server stops in time");
        ended.expect("the server does not panic").expect("the server stops well");
    }

    /// Starts the server over the same data folder, on a new port.
    ///
    /// # Panics
    /// Where the server does not start.
    pub async fn start_again(&mut self) {
        self.try_start().await.expect("the server starts");
    }

    /// The same for a start that may fail.
    ///
    /// # Errors
    /// The reason why the server does not start.
    ///
    /// # Panics
    /// Where the server runs already.
    pub async fn try_start(&mut self) -> Result<(), RunError> {
        assert!(self.running.is_none(), "the server runs already");
        let server = Server::open(self.config()).await?;
        let server = if self.has_http { server.with_http() } else { server };
        let listener = (self.bind)();
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (stop, reloader) = (CancellationToken::new(), server.reloader());
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(server.serve(listener, shutdown));
        self.running = Some(Running { address, reloader, stop, task });
        Ok(())
    }

    /// Stops the server in good order and starts it again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// The settings for a start.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::new(self.site.path());
        config.engine.clock = self.clock.clock();
        (self.tweak)(&mut config);
        config
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}
