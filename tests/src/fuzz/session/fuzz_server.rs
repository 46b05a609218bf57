//! The server that all sessions of a process share, and its users.

use crate::raw_client::{RawClient, ZERO, upload};
use crate::server::TestServer;
use crate::site::{Site, TestUser};
use crate::test_file::TestFile;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use towline_types::FileSize;

/// The longest file: three blocks and seven bytes.
pub(super) const FILESIZE_MAX: u64 = (3 << 20) + 7;

/// Each session has a user of its own, so that an input that fails also fails alone. When each user
/// has had a session, a new server with a new folder replaces this one, before the users can have
/// filled the folder.
const PEOPLE: usize = 64;

const THREADS: &str = "towline-fuzz";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// See the module's description.
pub(super) struct FuzzServer {
    // This field is dropped before the runtime, which the server needs to stop.
    server: Option<TestServer>,
    runtime: Arc<Runtime>,
    users: Vec<TestUser>,
    sessions: usize,
    /// The largest numbers of a document and of a node so far.
    last_document: u64,
    last_node: u64,
}

impl FuzzServer {
    pub(super) fn new() -> Self {
        listen_for_panics();
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name(THREADS).enable_all().build();
        let runtime = Arc::new(runtime.expect("a runtime"));
        {
            // The `main` of a Rust program ignores SIGPIPE, and libFuzzer's does not: a server that
            // writes to a session that was cut would end the fuzzer. The handler stays.
            let _in_runtime = runtime.enter();
            let _never_awaited = signal(SignalKind::pipe()).expect("a handler for SIGPIPE");
        }
        let users = Vec::new();
        Self { server: None, runtime, users, sessions: 0, last_document: 0, last_node: 0 }
    }

    pub(super) fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.runtime)
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    /// The user of the present session.
    pub(super) fn user(&self) -> &TestUser {
        self.users.last().expect("somebody has a turn")
    }

    pub(super) fn next_person(&mut self) {
        self.sessions += 1;
        self.users.pop();
        if self.users.is_empty() {
            self.renew();
        }
    }

    pub(super) fn last_document(&self) -> u64 {
        self.last_document
    }

    pub(super) fn last_node(&self) -> u64 {
        self.last_node
    }

    pub(super) fn saw(&mut self, document: u64, node: u64) {
        self.last_document = self.last_document.max(document);
        self.last_node = self.last_node.max(node);
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub(super) fn site(&self) -> &Site {
        &self.server().site
    }

    fn server(&self) -> &TestServer {
        self.server.as_ref().expect("the server runs")
    }

    /// A client that does everything as the protocol asks.
    pub(super) async fn honest_session(&mut self) {
        let server = self.server();
        let file = TestFile { bytes: vec![7; 1000] };
        let name = format!("{}.bin", self.sessions);
        let mut client = RawClient::login(server.address(), &server.user.token).await;
        let granted = client.upload(upload(&name, &file)).await;
        client.chunks(ZERO, &file, 0..file.size()).await;
        let success = client.complete(ZERO).await;
        assert_eq!((success.filename.as_str(), success.blake3), (name.as_str(), file.hash()));
        server.site.assert_published(&server.user, &name, &file);
        let node = success.node_id.expect("this server has a tree");
        self.saw(granted.document_id.get(), node.get());
    }

    fn renew(&mut self) {
        let runtime = self.runtime();
        runtime.block_on(async {
            if let Some(mut server) = self.server.take() {
                server.stop().await;
            }
            let folder = tempfile::Builder::new()
                .prefix("towline-fuzz-")
                .tempdir_in(crate::fuzz::fast_folder())
                .expect("a temporary folder");
            let site = Site::within(folder);
            self.users = site.add_users((0..PEOPLE).map(|number| format!("user-{number}"))).await;
            let server = TestServer::start_at(site, |config| {
                config.engine.max_filesize =
                    FileSize::try_from(FILESIZE_MAX).expect("a legal size");
                config.engine.limits.unfinished_per_user = 6;
                config.engine.limits.buffers = 16;
                config.engine.limits.buffers_per_session = 3;
                config.engine.limits.paused_kept_open = 16;
                config.engine.timings.checkpoint = Duration::from_millis(20);
                config.engine.timings.report = Duration::from_millis(1);
            });
            self.server = Some(server.await);
            (self.last_document, self.last_node) = (0, 0);
        });
    }
}

impl Drop for FuzzServer {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take()
            && !thread::panicking()
        {
            self.runtime.block_on(server.stop());
        }
    }
}

/// Tokio catches the panic of a task, so a panic hook counts panics. Panics in threads that are not
/// the server's do not count.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if matches!(thread::current().name(), Some(THREADS | "catalog")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
}

pub(super) fn assert_no_panic() {
    assert_eq!(PANICS.swap(0, Ordering::SeqCst), 0, "something behind the door has panicked");
}
