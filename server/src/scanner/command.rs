//! A scanner that is a command: it gets the bytes of a document on its standard input, and says by
//! its exit code what it has found. 0 is nothing, 1 is something, whose name is the first line of its
//! standard output. Every other end is none: the document is scanned again later.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use towline_engine::scanning::{ScanBytes, ScanResult, Scanned, Scanner};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct CommandScanner {
    command: String,
}

/// How much of a document is given to the command at a time.
const PIECE_BYTES: usize = 128 << 10;

/// As much of what a command says is looked at.
const SAID_BYTES: usize = 4096;

/// The time between two looks at whether the time of a scan is over.
const LOOKS: Duration = Duration::from_millis(50);

/// How long the output of a command that has ended is waited for: a process that it has left behind
/// may keep that open.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

impl CommandScanner {
    /// The scanner that is this command, as a shell reads it.
    pub(crate) fn new(command: impl Into<String>) -> Self {
        Self { command: command.into() }
    }

    fn start(&self) -> io::Result<Child> {
        Command::new("/bin/sh")
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // So that it can be ended with all that it has started.
            .process_group(0)
            .spawn()
    }
}

impl Scanner for CommandScanner {
    fn name(&self) -> &str {
        &self.command
    }

    fn scan(&self, bytes: &mut ScanBytes<'_>) -> Scanned {
        let child = match self.start() {
            Ok(child) => child,
            Err(error) => {
                return ScanResult::retry(format!("the scanner cannot be started: {error}"))
                    .unsigned();
            }
        };
        let mut running = Running::of(child);
        let fed = running.feed(bytes);
        // At its own end a command that hangs is ended, with all that it has started.
        let status = running.wait(bytes);
        let result = match (status, fed) {
            (Ok(None), _) => ScanResult::retry("the scanner took too long"),
            (Err(error), _) | (_, Err(error)) => ScanResult::retry(error),
            (Ok(Some(status)), Ok(())) => running.result(status),
        };
        result.unsigned()
    }
}

/// A command that was started. Dropped, it ends.
struct Running {
    child: Child,
    said: Receiver<Vec<u8>>,
    has_ended: bool,
}

impl Running {
    fn of(mut child: Child) -> Self {
        let (sender, said) = mpsc::channel();
        if let Some(mut output) = child.stdout.take() {
            thread::spawn(move || {
                let mut beginning = Vec::new();
                let read = output.by_ref().take(SAID_BYTES as u64).read_to_end(&mut beginning);
                let _ = read.map(|_| sender.send(beginning));
                // Who says more must not wait for somebody who reads it.
                let _ = io::copy(&mut output, &mut io::sink());
            });
        }
        Self { child, said, has_ended: false }
    }

    fn group(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// Gives the bytes to the command, as long as it takes them. A command need not read all: it may
    /// know before.
    fn feed(&mut self, bytes: &mut ScanBytes<'_>) -> io::Result<()> {
        let Some(mut input) = self.child.stdin.take() else { return Ok(()) };
        let (done, is_done) = mpsc::channel::<()>();
        let (is_over, group) = (bytes.watch(), self.group());
        // The command has not been waited for, so its number is no other process's.
        let watch = thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(LOOKS) {
                if is_over() {
                    kill(group);
                    return;
                }
            }
        });
        let mut piece = vec![0; PIECE_BYTES];
        let fed = loop {
            match bytes.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => match input.write_all(&piece[..count]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break Ok(()),
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(error),
            }
        };
        drop(input);
        drop(done);
        let _ = watch.join();
        fed
    }

    /// Waits for the end of the command; nothing where it took too long, and was ended.
    fn wait(&mut self, bytes: &ScanBytes<'_>) -> io::Result<Option<ExitStatus>> {
        let mut rest = Duration::from_millis(1);
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.has_ended = true;
                return Ok(Some(status));
            }
            if bytes.is_over() {
                kill(self.group());
                self.child.wait()?;
                self.has_ended = true;
                return Ok(None);
            }
            thread::sleep(rest);
            rest = (rest * 2).min(LOOKS);
        }
    }

    fn result(&self, status: ExitStatus) -> ScanResult {
        match status.code() {
            Some(0) => ScanResult::Clean,
            Some(1) => {
                let said = self.said.recv_timeout(LAST_OUTPUT).unwrap_or_default();
                let said = String::from_utf8_lossy(&said);
                let name = said.lines().next().unwrap_or_default().trim();
                let threat = if name.is_empty() { "unnamed" } else { name };
                ScanResult::Infected { threat: threat.to_owned() }
            }
            _ => ScanResult::retry(format!("the scanner has ended with {status}")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            kill(self.group());
            let _ = self.child.wait();
        }
    }
}

fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}
