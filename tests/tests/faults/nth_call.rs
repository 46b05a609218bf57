//! The n-th system call of a kind fails, for every n, until a whole scenario passes without the
//! fault: so each call of the server fails in one run, and afterwards every promise is still kept.
//!
//! `strace` counts the calls of each thread separately. So the faults select calls by their files,
//! and n grows until no thread makes that many calls. The quick form takes the first few numbers;
//! `TOWLINE_LONG=1` takes all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use towline_tests::is_long;
use towline_tests::process::{Ended, Launch, ServerProcess};
use towline_tests::scenario::{AllowedLoss, Scenario};
use towline_tests::site::{Site, TestUser};
use towline_tests::strace::Strace;
use towline_tests::volume;

/// A kind of system call that fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The system calls, as `strace` names them.
    calls: &'static str,
    /// The result that the calls get, in the syntax of `strace`.
    answer: &'static str,
    aim: Aim,
    allowed_loss: AllowedLoss,
}

/// Which files the calls are about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// Calls about any file, or about none.
    All,
    /// The staging files themselves.
    Bytes,
    /// Names in and under `uploads/`.
    Names,
    /// SQLite's files.
    Catalog,
}

pub(crate) const fn fault(calls: &'static str, answer: &'static str, aim: Aim) -> Fault {
    Fault { calls, answer, aim, allowed_loss: AllowedLoss::None }
}

pub(crate) const fn failed_sync(calls: &'static str, answer: &'static str) -> Fault {
    Fault { calls, answer, aim: Aim::Bytes, allowed_loss: AllowedLoss::FailedSync }
}

impl Fault {
    /// Whether the fault hits a sync of something that is promised. The state file is a copy, so
    /// its sync concerns no promise.
    fn is_of_a_sync(self) -> bool {
        self.calls.contains("sync") && !matches!(self.aim, Aim::All)
    }
}

pub(crate) const EIO: &str = "error=EIO";
pub(crate) const ENOSPC: &str = "error=ENOSPC";
pub(crate) const EINTR: &str = "error=EINTR";

pub(crate) const BYTES: &[Fault] = &[
    fault("pwrite64", EIO, Aim::Bytes),
    fault("pwrite64", ENOSPC, Aim::Bytes),
    fault("pwrite64", EINTR, Aim::Bytes),
    fault("pwrite64", "retval=0", Aim::Bytes),
    failed_sync("fdatasync", EIO),
    failed_sync("fdatasync", ENOSPC),
    fault("fallocate", EIO, Aim::Bytes),
    fault("fallocate", ENOSPC, Aim::Bytes),
    fault("fallocate", EINTR, Aim::Bytes),
    fault("fallocate", "error=EOPNOTSUPP", Aim::Bytes),
    fault("ftruncate", EIO, Aim::Bytes),
    fault("ftruncate", EINTR, Aim::Bytes),
];

pub(crate) const NAMES: &[Fault] = &[
    fault("fsync", EIO, Aim::Names),
    fault("fsync", ENOSPC, Aim::Names),
    fault("openat,openat2", EIO, Aim::Names),
    fault("openat,openat2", EINTR, Aim::Names),
    fault("openat,openat2", "error=EMFILE", Aim::Names),
    fault("mkdirat", EIO, Aim::Names),
    fault("mkdirat", ENOSPC, Aim::Names),
    fault("renameat2", EIO, Aim::Names),
    fault("renameat2", ENOSPC, Aim::Names),
    fault("unlinkat", EIO, Aim::Names),
    fault("newfstatat", EIO, Aim::Names),
];

pub(crate) const CATALOG: &[Fault] = &[
    fault("pwrite64", EIO, Aim::Catalog),
    fault("pwrite64", ENOSPC, Aim::Catalog),
    fault("pwrite64", EINTR, Aim::Catalog),
    fault("fsync,fdatasync", EIO, Aim::Catalog),
    fault("fsync,fdatasync", ENOSPC, Aim::Catalog),
    fault("ftruncate", EIO, Aim::Catalog),
    fault("ftruncate", EINTR, Aim::Catalog),
    fault("openat", EIO, Aim::Catalog),
    fault("pread64", EIO, Aim::Catalog),
];

/// Everything else that the server does: state file, keys, lock, folders.
pub(crate) const REST: &[Fault] = &[
    fault("fsync", EIO, Aim::All),
    fault("rename,renameat,renameat2", EIO, Aim::All),
    fault("rename,renameat,renameat2", ENOSPC, Aim::All),
    fault("fallocate", EIO, Aim::All),
    fault("mkdir,mkdirat", ENOSPC, Aim::All),
    fault("unlink,unlinkat", EIO, Aim::All),
    fault("openat,openat2", "error=ENFILE", Aim::All),
];

/// The numbers n of the quick form. They become less dense, because the first calls of a server are
/// the many calls of its start.
const QUICK: [u32; 7] = [1, 2, 3, 5, 8, 13, 21];

fn numbers() -> Box<dyn Iterator<Item = u32> + Send> {
    if is_long() {
        return Box::new(1..);
    }
    Box::new(QUICK.into_iter())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_bytes_fails() {
    each::<Scenario>(BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_names_fails() {
    each::<Scenario>(NAMES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_the_catalog_fails() {
    each::<Scenario>(CATALOG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nth_call_on_anything_else_fails() {
    each::<Scenario>(REST).await;
}

/// Uploads in two halves, and the checks behind them.
pub(crate) trait Steps {
    fn of(user: &TestUser) -> Self;
    async fn set_out(&mut self, address: SocketAddr);
    async fn go_on(&mut self, address: SocketAddr);
    async fn arrive(&mut self, address: SocketAddr, site: &Site, allowed_loss: AllowedLoss);
    async fn assert_closed(&self, address: SocketAddr, hit: &[String]);
    fn assert_only_whole_files(&self, site: &Site);
    fn errors(&self) -> Vec<String>;
}

impl Steps for Scenario {
    fn of(user: &TestUser) -> Self {
        Self::new(user)
    }

    async fn set_out(&mut self, address: SocketAddr) {
        self.set_out(address).await;
    }

    async fn go_on(&mut self, address: SocketAddr) {
        self.go_on(address).await;
    }

    async fn arrive(&mut self, address: SocketAddr, site: &Site, allowed_loss: AllowedLoss) {
        self.arrive(address, site, allowed_loss).await;
    }

    async fn assert_closed(&self, address: SocketAddr, hit: &[String]) {
        self.assert_closed(address, hit).await;
    }

    fn assert_only_whole_files(&self, site: &Site) {
        self.assert_only_whole_files(site);
    }

    fn errors(&self) -> Vec<String> {
        self.errors()
    }
}

/// Every fault at every n, with these uploads.
pub(crate) async fn each<S: Steps>(faults: &[Fault]) {
    if !volume::has("strace") {
        return;
    }
    let mut idle = Vec::new();
    for fault in faults {
        let mut times = 0;
        for n in numbers() {
            if !Trial::new(*fault, n).await.run::<S>().await {
                break;
            }
            times += 1;
        }
        if times == 0 {
            idle.push(*fault);
        }
    }
    assert!(idle.is_empty(), "nobody makes these calls: {idle:#?}");
}

/// One scenario with one fault.
struct Trial {
    fault: Fault,
    n: u32,
    site: Site,
    user: TestUser,
}

impl Trial {
    async fn new(fault: Fault, n: u32) -> Self {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        Self { fault, n, site, user }
    }

    /// Runs the first half of the scenario with the fault; kills the server, so that the next start
    /// finds unfinished work; runs that start and the second half with the fault again; and then
    /// the end without the fault. Returns whether the fault happened.
    async fn run<S: Steps>(self) -> bool {
        let mut scenario = S::of(&self.user);
        let first = self.start().await;
        if let Some(server) = &first {
            scenario.set_out(server.address()).await;
        }
        let mut fired = self.end(first, &scenario).await;
        scenario.assert_only_whole_files(&self.site);
        let dies = self.launch().failpoints("publish.verified=kill").start().await;
        scenario.go_on(dies.address()).await;
        dies.assert_calm();
        dies.gone().await;
        let second = self.start().await;
        if let Some(server) = &second {
            scenario.go_on(server.address()).await;
        }
        fired |= self.end(second, &scenario).await;
        let Fault { calls, answer, aim, allowed_loss } = self.fault;
        let n = self.n;
        println!("{aim:?}: {calls} {answer} @{n}: fired {fired}, {:?}", scenario.errors());
        let server = self.launch().start().await;
        scenario.arrive(server.address(), &self.site, allowed_loss).await;
        self.assert_calm(&server.said());
        server.gone().await;
        fired
    }

    fn launch(&self) -> Launch {
        Launch::without_reserve(&self.site)
    }

    /// Starts the server with the fault. Where the fault ends the server, the log must give the
    /// reason.
    async fn start(&self) -> Option<ServerProcess> {
        match self.launch().under(&self.strace().words()).try_start().await {
            Ok(server) => Some(server),
            Err(Ended { status, said }) => {
                assert_eq!(status.and_then(|status| status.code()), Some(1), "{said:#?}");
                self.assert_calm(&said);
                let why = said.iter().find(|line| line.starts_with("towlined: "));
                println!("  does not start: {}", why.expect("it says why it ends"));
                None
            }
        }
    }

    /// Kills the server. Returns whether the fault happened.
    async fn end(&self, server: Option<ServerProcess>, scenario: &impl Steps) -> bool {
        let strace = self.strace();
        if let Some(mut server) = server {
            if self.fault.is_of_a_sync() && strace.has_fired() && !server.has_ended() {
                scenario.assert_closed(server.address(), &strace.hit()).await;
            }
            self.assert_calm(&server.said());
            server.gone().await;
        }
        strace.has_fired()
    }

    /// A system call that fails must lead to an answer, never to a panic.
    fn assert_calm(&self, said: &[String]) {
        let panicked = said.iter().any(|line| line.contains("panicked"));
        assert!(!panicked, "{:?} @{}: {said:#?}", self.fault, self.n);
    }

    fn strace(&self) -> Strace {
        let Fault { calls, answer, aim, .. } = self.fault;
        let log = self.site.outside().join("strace.log");
        Strace::inject(&log, calls, answer).when(self.n).about(self.paths(aim))
    }

    fn paths(&self, aim: Aim) -> Vec<PathBuf> {
        let uploads = self.site.uploads();
        let documents = self.site.documents(&self.user);
        let catalog = self.site.catalog_path();
        let beside = |end: &str| PathBuf::from(format!("{}{end}", catalog.display()));
        match aim {
            Aim::All => Vec::new(),
            // In a new data folder the document numbers begin at 1.
            Aim::Bytes => {
                (1..=3).map(|id| self.site.staging_folder().join(format!("{id}.tmp"))).collect()
            }
            Aim::Names => {
                let within = |path: &str| documents.join(Path::new(path));
                vec![
                    self.site.staging_folder(),
                    within("new"),
                    within("new/deep"),
                    documents.clone(),
                    uploads,
                ]
            }
            Aim::Catalog => vec![beside("-wal"), beside("-shm"), catalog],
        }
    }
}
