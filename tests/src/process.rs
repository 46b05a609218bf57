//! The real `towlined`, as a process: to be killed in the middle of anything, to
//! be told to stop, and to be started again over what it left.

use crate::PATIENCE;
use crate::site::Site;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A program that `cargo` built beside the running test or program.
///
/// # Panics
/// Where it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("what runs is a file");
    // target/debug/proof → target/debug/NAME; of a test: target/debug/deps/behaviour-0123
    let path = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    path.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name} was not built"))
}

/// `towlined`, ready for arguments. Its surroundings are the test's, without
/// what could stand in for arguments.
#[must_use]
pub fn towlined() -> Command {
    command("towlined-under-test")
}

/// `towline`, ready for arguments.
#[must_use]
pub fn towline() -> Command {
    command("towline-under-test")
}

fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.env_remove("TOWLINE_SERVER").env_remove("TOWLINE_TOKEN").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
///
/// # Panics
/// Where it does not end in time.
pub async fn output(command: &mut Command) -> Output {
    let ran = timeout(PATIENCE, command.output()).await;
    ran.expect("the command ends in time").expect("the command can be run")
}

/// What a command printed on standard output.
///
/// # Panics
/// Where it failed.
pub async fn stdout(command: &mut Command) -> String {
    let output = output(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {}: {said}", command.as_std(), output.status);
    String::from_utf8(output.stdout).expect("standard output is text")
}

/// A running `towlined`. Dropped, it is killed.
#[derive(Debug)]
pub struct ServerProcess {
    address: SocketAddr,
    data_dir: PathBuf,
    arguments: Vec<String>,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl ServerProcess {
    /// Starts one over a data folder, on a free port.
    pub async fn start(site: &Site) -> Self {
        Self::start_with(site, &[]).await
    }

    /// The same with further arguments.
    pub async fn start_with(site: &Site, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let any = "127.0.0.1:0".parse().expect("an address");
        Self::spawn(site.path().to_owned(), arguments, any).await
    }

    async fn spawn(data_dir: PathBuf, arguments: Vec<String>, listen: SocketAddr) -> Self {
        let mut command = towlined();
        command.arg("--data-dir").arg(&data_dir).arg("--listen").arg(listen.to_string());
        command.args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("towlined can be run");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (announce, mut announced) = mpsc::unbounded_channel();
        listen_to(child.stdout.take().expect("a pipe"), Arc::clone(&said), Some(announce));
        listen_to(child.stderr.take().expect("a pipe"), Arc::clone(&said), None);
        let Ok(Some(address)) = timeout(PATIENCE, announced.recv()).await else {
            let ended = child.try_wait();
            panic!("towlined does not listen ({ended:?}); it said {:#?}", said.lock());
        };
        Self { address, data_dir, arguments, child, said }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has printed so far, on either stream.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.said.lock().expect("no panic under this lock").clone()
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// Where it has ended already.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it has ended already.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("towlined still runs");
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("a process of ours");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let Ok(status) = ended else { panic!("towlined does not end; it said {:#?}", self.said()) };
        status.expect("a child can be waited for")
    }

    /// Starts another one on the same port over the same folder, after the end
    /// of this one.
    ///
    /// # Panics
    /// Where this one still runs, or the other does not start.
    pub async fn start_again(&mut self) {
        assert!(matches!(self.child.try_wait(), Ok(Some(_))), "towlined still runs");
        let (data_dir, arguments) = (self.data_dir.clone(), self.arguments.clone());
        *self = Self::spawn(data_dir, arguments, self.address).await;
    }

    /// `kill -9` and start again.
    pub async fn kill_and_start_again(&mut self) {
        self.kill().await;
        self.start_again().await;
    }
}

/// Keeps every line, and announces the address in `listening on ADDRESS`.
fn listen_to(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    said: Arc<Mutex<Vec<String>>>,
    announce: Option<mpsc::UnboundedSender<SocketAddr>>,
) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let address = line.strip_prefix("listening on ").and_then(|rest| rest.parse().ok());
            if let (Some(announce), Some(address)) = (&announce, address) {
                let _ = announce.send(address);
            }
            said.lock().expect("no panic under this lock").push(line);
        }
    });
}
