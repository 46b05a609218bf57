//! Runs a command and says what it took: by the wall clock from its start to its end,
//! and by the system's own accounts (`wait4`) for it and the children it waited for.
//!
//! A child begins with the peak memory of the process that started it, so this program itself
//! must stay small: it never holds more than one buffer of what is sent.

use crate::interrupt;
use crate::sample::Cost;
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4 as _;

/// Between two checks for a signal that ends the program.
const LOOK: Duration = Duration::from_millis(100);

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) wall: Duration,
    pub(crate) cost: Cost,
}

/// A process of ours. Dropped, it is killed, and all that it has started and that is
/// still in its group.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    began: Instant,
    child: Child,
    /// Names this process for ever, where a number may be given again.
    handle: OwnedFd,
    log: PathBuf,
    is_reaped: bool,
}

/// Runs a command to its good end; all that it says goes into the file `log`.
///
/// # Errors
/// Where it fails, or has not ended in time and was killed.
pub(crate) fn run(command: Command, log: &Path, limit: Duration) -> Result<(Duration, Cost)> {
    let process = Process::start(command, log)?;
    let name = process.name.clone();
    let ended = process.end_within(limit)?;
    if !ended.status.success() {
        bail!("{name} failed ({}): {}", ended.status, last_words(log));
    }
    Ok((ended.wall, ended.cost))
}

impl Process {
    /// Starts it, with no input; all that it says goes into the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // A group of its own: Ctrl-C is for us to pass on, and a kill reaches all of it.
        command.process_group(0);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        let handle = pidfd_open(pid_of(&child)?, PidfdFlags::empty())
            .context("the system gives no handle on a process; Linux 5.3 or later is needed")?;
        Ok(Self { name, began, child, handle, log: log.to_owned(), is_reaped: false })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        match pidfd_send_signal(&self.handle, Signal::TERM) {
            // It has ended by itself.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot stop {}", self.name)),
        }
    }

    /// Whether it ends within that time; zero only looks.
    pub(crate) fn ends_within(&self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt::check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = Timespec::try_from(left.min(LOOK))?;
            match poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&slice)) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot wait for {}", self.name));
                }
            }
        }
    }

    /// Waits for its end, and kills it where that does not come in time.
    pub(crate) fn end_within(mut self, limit: Duration) -> Result<Ended> {
        if !self.ends_within(limit)? {
            let said = last_words(&self.log);
            let limit = humantime::format_duration(limit);
            bail!("{} had not ended after {limit} and was killed: {said}", self.name);
        }
        let wall = self.began.elapsed();
        self.reap().map(|(status, cost)| Ended { status, wall, cost })
    }

    fn reap(&mut self) -> Result<(ExitStatus, Cost)> {
        // Its number is still its own until it is waited for, and so is its group's.
        let _ = kill_process_group(pid_of(&self.child)?, Signal::KILL);
        let used = self.child.wait4().with_context(|| format!("cannot wait for {}", self.name))?;
        self.is_reaped = true;
        let cpu = used.rusage.utime + used.rusage.stime;
        Ok((used.status, Cost { cpu, peak_bytes: used.rusage.maxrss }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.reap();
        }
    }
}

fn pid_of(child: &Child) -> Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| anyhow!("the system has given an impossible process number"))
}

/// The end of what a program has said, on one line.
pub(crate) fn last_words(log: &Path) -> String {
    let said = std::fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    if last.is_empty() { "it said nothing".to_owned() } else { last.join("; ") }
}
