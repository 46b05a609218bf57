//! The real `towlined` as a process, which a test can kill at any moment, stop, and start again
//! over the folder that it left.

use crate::PATIENCE;
use crate::raw_client::RawClient;
use crate::site::{Site, TestUser};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A program that `cargo` built beside the running test or program.
///
/// # Panics
/// Where it does not exist.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("what runs is a file");
    // target/debug/proof → target/debug/NAME; of a test: target/debug/deps/behaviour-0123
    let path = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    path.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name} was not built"))
}

/// `towlined`, without arguments yet. It has the test's environment, except for the variables that
/// would act as arguments.
#[must_use]
pub fn towlined() -> Command {
    command("towlined-under-test")
}

/// `towline`, without arguments yet.
#[must_use]
pub fn towline() -> Command {
    command("towline-under-test")
}

fn command(name: &str) -> Command {
    bare(Command::new(program(name)))
}

/// A command without the variables that would act as arguments, and without the configuration of
/// the person who runs the tests; it is killed when the test ends.
fn bare(mut command: Command) -> Command {
    command
        .env("XDG_CONFIG_HOME", no_configuration())
        .env_remove("TOWLINE_SERVER")
        .env_remove("TOWLINE_TOKEN")
        .env_remove("TOWLINE_DATA_DIR")
        .env_remove("RUST_LOG")
        .env_remove("TOWLINE_FAILPOINTS");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A folder that does not exist. A test of the configuration sets another one.
///
/// # Panics
/// Where a test has written there, because others would read it.
fn no_configuration() -> PathBuf {
    let folder = std::env::temp_dir().join("towline-tests-have-no-configuration");
    let is_there = folder.exists();
    assert!(!is_there, "{} is there: remove it, and see which test makes it", folder.display());
    folder
}

/// Runs a command to its end.
///
/// # Panics
/// Where the command does not end in time.
pub async fn output(command: &mut Command) -> Output {
    let ran = timeout(PATIENCE, command.output()).await;
    ran.expect("the command ends in time").expect("the command can be run")
}

/// What a command printed on standard output.
///
/// # Panics
/// Where the command failed.
pub async fn stdout(command: &mut Command) -> String {
    let output = output(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {}: {said}", command.as_std(), output.status);
    String::from_utf8(output.stdout).expect("standard output is text")
}

/// How to start a `towlined`.
#[derive(Debug, Clone)]
pub struct Launch {
    data_dir: PathBuf,
    listen: String,
    arguments: Vec<String>,
    surroundings: Vec<(String, String)>,
    under: Vec<OsString>,
}

/// A server that ended before it listened.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: Option<ExitStatus>,
    /// The lines that it printed before.
    pub said: Vec<String>,
}

impl Ended {
    /// Whether it was killed by `kill -9`.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.status.is_some_and(|status| status.signal() == Some(9))
    }
}

impl Launch {
    /// A start over this data folder, on a free port.
    #[must_use]
    pub fn over(site: &Site) -> Self {
        Self::over_path(site.path())
    }

    /// A start over the folder at this path, or over no folder where the path does not exist.
    #[must_use]
    pub fn over_path(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string(),
            arguments: Vec::new(),
            surroundings: Vec::new(),
            under: Vec::new(),
        }
    }

    /// A start over this data folder with no space kept free: for volumes that are smaller than the
    /// space that a server usually keeps free.
    #[must_use]
    pub fn without_reserve(site: &Site) -> Self {
        Self::over(site).settings(&site.settings("reserve = '0B'"))
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Sets the address to listen on.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        self.listen_on(&address.to_string())
    }

    /// Sets the address to listen on, in the form that a person types.
    #[must_use]
    pub fn listen_on(mut self, typed: &str) -> Self {
        typed.clone_into(&mut self.listen);
        self
    }

    /// Adds a configuration file.
    ///
    /// # Panics
    /// Where its path is not UTF-8.
    #[must_use]
    pub fn settings(self, file: &Path) -> Self {
        self.arguments(&["--config", file.to_str().expect("a path of ours")])
    }

    /// Sets failpoints, in the syntax of `engine/src/failpoint.rs`.
    #[must_use]
    pub fn failpoints(self, plan: &str) -> Self {
        self.variable("TOWLINE_FAILPOINTS", plan)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.surroundings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the server under another program (`strace -D …`). The process that is started must
    /// become `towlined`, because it gets the signals.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(mut self, program: &[S]) -> Self {
        self.under = program.iter().map(|part| part.as_ref().to_owned()).collect();
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// Where the server does not listen in time.
    pub async fn start(&self) -> ServerProcess {
        self.try_start()
            .await
            .unwrap_or_else(|ended| panic!("towlined does not listen: {ended:#?}"))
    }

    /// Starts the server where it may end before it listens.
    ///
    /// # Errors
    /// The server ended.
    ///
    /// # Panics
    /// Where the server neither listens nor ends in time.
    pub async fn try_start(&self) -> Result<ServerProcess, Ended> {
        let mut child = self.command().spawn().expect("towlined can be run");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (announce, mut announced) = mpsc::unbounded_channel();
        let out = listen_to(child.stdout.take().expect("a pipe"), &said, Some(announce));
        let err = listen_to(child.stderr.take().expect("a pipe"), &said, None);
        match timeout(PATIENCE, announced.recv()).await {
            Ok(Some(address)) => {
                let launch = self.clone().listen(address);
                Ok(ServerProcess { address, launch, child, said })
            }
            Ok(None) => {
                let status = timeout(PATIENCE, child.wait()).await;
                let status = status.expect("without output it ends").ok();
                let _ = tokio::join!(out, err);
                let said = said.lock().expect("no panic under this lock").clone();
                Err(Ended { status, said })
            }
            Err(_) => panic!("towlined neither listens nor ends; it said {:#?}", said.lock()),
        }
    }

    /// Starts the server, kills it after that time at whatever point it has reached, and waits
    /// until it has ended.
    ///
    /// # Panics
    /// Where the server cannot be run.
    pub async fn start_and_kill(&self, after: Duration) {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("towlined can be run");
        tokio::time::sleep(after).await;
        child.kill().await.expect("a child can be killed");
    }

    fn command(&self) -> Command {
        let mut command = towlined();
        if let Some((program, arguments)) = self.under.split_first() {
            let inner = command.as_std().get_program().to_owned();
            command = bare(Command::new(program));
            command.args(arguments).arg(inner);
        }
        command.arg("--data-dir").arg(&self.data_dir);
        command.arg("--listen").arg(&self.listen).args(&self.arguments);
        command.envs(self.surroundings.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A running `towlined`. It is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    address: SocketAddr,
    /// How it was started, with the same port: for the next start.
    launch: Launch,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl ServerProcess {
    /// Starts a server over a data folder, on a free port.
    pub async fn start(site: &Site) -> Self {
        Launch::over(site).start().await
    }

    /// The same with further arguments.
    pub async fn start_with(site: &Site, arguments: &[&str]) -> Self {
        Launch::over(site).arguments(arguments).start().await
    }

    /// The address that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The lines that the server has printed so far, on both streams.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.said.lock().expect("no panic under this lock").clone()
    }

    /// The most memory that the server has used so far, in KiB: its largest resident set.
    ///
    /// # Panics
    /// Where the server has ended, or the system does not report the number.
    #[must_use]
    pub fn memory_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.and_then(|number| number.trim().parse().ok()).expect("the peak of its memory")
    }

    /// A connection of that user.
    pub async fn client(&self, user: &TestUser) -> RawClient {
        RawClient::login(self.address, &user.token).await
    }

    /// Checks that the server has not panicked. An error of the disk or of a client is no panic.
    ///
    /// # Panics
    /// Where the server has panicked.
    pub fn assert_calm(&self) {
        assert_calm(&self.said());
    }

    /// Waits until the server has printed a line that contains this text.
    ///
    /// # Panics
    /// Where it does not print one in time.
    pub async fn says(&self, text: &str) {
        self.says_in_one_line(&[text]).await;
    }

    /// Waits until the server has ended, or has printed a line that contains this text; returns
    /// whether it has ended.
    ///
    /// # Panics
    /// Where it does neither in time.
    pub async fn ends_before_it_says(&mut self, text: &str) -> bool {
        let began = Instant::now();
        loop {
            if self.has_ended() {
                return true;
            }
            if self.said().iter().any(|line| line.contains(text)) {
                return false;
            }
            assert!(began.elapsed() < PATIENCE, "it does not say {text:?}: {:#?}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the server has printed a line that contains all these texts, and returns it. A
    /// line of the log may come later than the answer that a client gets.
    ///
    /// # Panics
    /// Where it does not print one in time.
    pub async fn says_in_one_line(&self, texts: &[&str]) -> String {
        let began = Instant::now();
        let has_all = |line: &String| texts.iter().all(|text| line.contains(text));
        loop {
            if let Some(line) = self.said().into_iter().find(has_all) {
                return line;
            }
            assert!(began.elapsed() < PATIENCE, "it does not say {texts:?} but {:#?}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The process number of the server.
    ///
    /// # Panics
    /// Where the server has ended already.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("towlined still runs")
    }

    /// `kill -9`, and waits until the server has ended.
    ///
    /// # Panics
    /// Where the server has ended already.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Kills the server where it still runs, and returns all lines that it has printed.
    pub async fn gone(mut self) -> Vec<String> {
        let _ = self.child.start_kill();
        self.ended().await;
        self.said()
    }

    /// Whether the server was killed by a `kill -9` of another process. Where it still runs, it is
    /// killed now, and the answer is no.
    ///
    /// # Panics
    /// Where the server ended in another way, or panicked before.
    pub async fn was_killed(mut self) -> bool {
        let had_ended = self.has_ended();
        let _ = self.child.start_kill();
        let status = self.ended().await;
        self.assert_calm();
        assert_eq!(status.signal(), Some(9), "{status}; it said {:#?}", self.said());
        had_ended
    }

    /// Whether the server has ended.
    pub fn has_ended(&mut self) -> bool {
        self.status().is_some()
    }

    /// The exit status where the server has ended; nothing while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits at most this time for the server to end. Returns whether it ended.
    pub async fn ends_within(&mut self, time: Duration) -> bool {
        timeout(time, self.child.wait()).await.is_ok()
    }

    /// Stops all threads of the server where they are. A thread may finish the system call that it
    /// is in, but none begins another one.
    ///
    /// # Panics
    /// Where a thread does not stop in time.
    pub fn freeze(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(Signal::STOP);
        let threads = PathBuf::from(format!("/proc/{}/task", self.id()));
        let began = Instant::now();
        while !are_stopped(&threads) {
            assert!(began.elapsed() < PATIENCE, "towlined does not stop");
        }
    }

    /// Sends the server a signal.
    ///
    /// # Panics
    /// Where the server has ended already.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("a process of ours");
    }

    /// Waits until the server has ended without a kill by this test.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let Ok(status) = ended else { panic!("towlined does not end; it said {:#?}", self.said()) };
        status.expect("a child can be waited for")
    }

    /// After the end of this server, starts another one on the same port over the same folder.
    ///
    /// # Panics
    /// Where this server still runs, or the other one does not start.
    pub async fn start_again(&mut self) {
        assert!(matches!(self.child.try_wait(), Ok(Some(_))), "towlined still runs");
        *self = self.launch.clone().start().await;
    }

    /// `kill -9`, and start again.
    pub async fn kill_and_start_again(&mut self) {
        self.kill().await;
        self.start_again().await;
    }
}

/// Whether each of these threads is stopped, or is in a system call that cannot be interrupted:
/// such a thread stops at the end of the call.
fn are_stopped(threads: &Path) -> bool {
    let Ok(threads) = std::fs::read_dir(threads) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // "1234 (name) T …"; the name may contain any character.
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        matches!(state, None | Some('T' | 't' | 'D' | 'X' | 'Z'))
    })
}

/// Checks that no line reports a panic.
///
/// # Panics
/// Where a line reports a panic.
pub fn assert_calm(said: &[String]) {
    assert!(!said.iter().any(|line| line.contains("panicked")), "{said:#?}");
}

/// Keeps every line, and sends the address of `listening on ADDRESS`.
fn listen_to(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    said: &Arc<Mutex<Vec<String>>>,
    announce: Option<mpsc::UnboundedSender<SocketAddr>>,
) -> JoinHandle<()> {
    let said = Arc::clone(said);
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let address = line.strip_prefix("listening on ").and_then(|rest| rest.parse().ok());
            if let (Some(announce), Some(address)) = (&announce, address) {
                let _ = announce.send(address);
            }
            said.lock().expect("no panic under this lock").push(line);
        }
    })
}
