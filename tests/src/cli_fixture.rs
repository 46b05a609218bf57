//! What a user of the command line has: `towline`, a folder with files, a token and a state file.

use crate::PATIENCE;
use crate::process::towline;
use crate::site::{Site, TestUser};
use crate::test_file::TestFile;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use towline_state::state_file::{StateFile, UploadsState};

/// See the module's description.
#[derive(Debug)]
pub struct CliFixture {
    folder: PathBuf,
    token_file: PathBuf,
    /// The address of the server, or of a proxy in front of it.
    pub to: SocketAddr,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A run with `--json` that has not ended.
#[derive(Debug)]
pub struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl CliFixture {
    /// A fixture in a folder beside the data folder.
    ///
    /// # Panics
    /// Where the folder cannot be made.
    #[must_use]
    pub fn new(site: &Site, user: &TestUser, to: SocketAddr) -> Self {
        Self::at(site.outside().join("desk"), user, to)
    }

    /// A fixture in that folder, which may be on a volume of its own.
    ///
    /// # Panics
    /// Where the folder cannot be made.
    #[must_use]
    pub fn at(folder: PathBuf, user: &TestUser, to: SocketAddr) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let token_file = folder.join("token");
        std::fs::write(&token_file, &user.token).expect("a token file");
        let for_owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&token_file, for_owner).expect("a token file");
        Self { folder, token_file, to }
    }

    /// A path in the folder of the fixture.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file into the folder of the fixture.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, test_file: &TestFile) -> PathBuf {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        std::fs::write(&path, &test_file.bytes).expect("the file is written");
        path
    }

    /// The path of the client's state file.
    #[must_use]
    pub fn state_path(&self) -> PathBuf {
        self.path("uploads_state.json")
    }

    /// The content of the client's state file.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn state(&self) -> UploadsState {
        StateFile::at(self.state_path()).read().expect("the state file reads well")
    }

    /// `towline put FILE` with server, token and state file; a test can add arguments.
    #[must_use]
    pub fn put(&self, file: &Path) -> Command {
        let mut command = self.command("put");
        command.arg(file).arg("--to").arg(self.to.to_string());
        command.arg("--token-file").arg(&self.token_file);
        command
    }

    /// The same from another machine: with another state file.
    #[must_use]
    pub fn elsewhere(&self, file: &Path, state_file: &str) -> Command {
        let mut command = towline();
        command.arg("put").arg("--state-file").arg(self.path(state_file)).arg(file);
        command.arg("--to").arg(self.to.to_string()).arg("--token-file").arg(&self.token_file);
        command
    }

    /// A command of a person who has this state folder and names no state file.
    #[must_use]
    pub fn at_home(&self, name: &str, state_folder: &Path) -> Command {
        let mut command = towline();
        command.arg(name).env("XDG_STATE_HOME", state_folder);
        command
    }

    /// The server and the token, for a command that needs both.
    pub fn reach(&self, command: &mut Command) {
        command.arg("--to").arg(self.to.to_string()).arg("--token-file").arg(&self.token_file);
    }

    /// Another command of `towline`, with the state file of this fixture.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = towline();
        command.arg(name).arg("--state-file").arg(self.state_path());
        command
    }

    /// Starts a command with `--json`; its events can be read while it runs.
    ///
    /// # Panics
    ///
    /// Where the command cannot be run.
    #[must_use]
    pub fn start(&self, mut command: Command) -> Run {
        command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("towline can be run");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Run { child, lines }
    }
}

/// Runs a command to its end.
///
/// # Panics
/// Where the command does not end in time.
pub async fn run(mut command: Command) -> Outcome {
    let ran = timeout(PATIENCE, command.output()).await;
    let output = ran.expect("towline ends in time").expect("towline can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("towline prints text");
    Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Outcome {
    /// The events of a run with `--json`.
    ///
    /// # Panics
    /// Where a line of standard output is no event.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let event = |line| serde_json::from_str(line).expect("each line is an event");
        self.out.lines().map(event).collect()
    }

    /// The last event with that name.
    ///
    /// # Panics
    /// Where there is no such event.
    #[must_use]
    pub fn event(&self, name: &str) -> Value {
        let found = self.events().into_iter().rfind(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// Checks that the run has ended with exit code 0.
    ///
    /// # Panics
    ///
    /// Where it has not.
    pub fn assert_done(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Checks that the run has ended with this exit code.
    ///
    /// # Panics
    ///
    /// Where it has not.
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl Run {
    /// Waits for an event for which `wanted` is true.
    ///
    /// # Panics
    ///
    /// Where the run ends before such an event.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let search = async {
            while let Some(line) = self.lines.next_line().await.expect("a pipe") {
                let event: Value = serde_json::from_str(&line).expect("each line is an event");
                if wanted(&event) {
                    return event;
                }
            }
            panic!("towline ended before what was waited for");
        };
        timeout(PATIENCE, search).await.expect("it happens in time")
    }

    /// Sends the process a signal.
    ///
    /// # Panics
    /// Where the process has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(Pid::from_raw).expect("towline still runs");
        kill_process(id, signal).expect("a process of ours");
    }

    /// Waits until the run has ended.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub async fn end(self) -> Outcome {
        let Self { child, mut lines } = self;
        let rest = async {
            let mut out = String::new();
            while let Some(line) = lines.next_line().await.expect("a pipe") {
                out.push_str(&line);
                out.push('\n');
            }
            let output = child.wait_with_output().await.expect("towline can be waited for");
            let err = String::from_utf8(output.stderr).expect("towline prints text");
            Outcome { code: output.status.code(), out, err }
        };
        timeout(PATIENCE, rest).await.expect("towline ends in time")
    }
}
