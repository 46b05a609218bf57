//! A server under `strace`, and what it was seen to ask of the system.

use crate::interrupt;
use crate::program;
use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// For the last lines to be written, once the server has ended.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Where it writes what it sees.
#[derive(Debug)]
pub(crate) struct Strace {
    log: PathBuf,
}

/// One call: its name, and everything behind the bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a str,
}

impl Strace {
    /// One that writes into that file.
    ///
    /// # Errors
    /// Where it is not there; fit for a person.
    pub(crate) fn into(log: &Path) -> Result<Self, String> {
        program::find("strace").map(|_| Self { log: log.to_owned() })
    }

    /// The same command, watched. It stays the child of the process that starts it: the one that
    /// watches is in a process group of its own, and outlives it by its last lines.
    pub(crate) fn under(&self, command: &Command) -> Command {
        let mut under = Command::new("strace");
        under.args(["-DD", "-f", "-y", "-q", "-s", "0", "-o"]).arg(&self.log);
        under.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => under.env(name, value),
                None => under.env_remove(name),
            };
        }
        under
    }

    /// How long the log is now.
    pub(crate) fn mark(&self) -> Result<u64> {
        Ok(self.log.metadata().context("strace has written nothing")?.len())
    }

    /// Waits until all of a process that has ended is written down.
    pub(crate) fn ended(&self, id: u32) -> Result<()> {
        let began = Instant::now();
        let last = format!("{id} +++ ");
        loop {
            interrupt::check()?;
            let from = self.mark()?.saturating_sub(4096);
            let mut tail = Vec::new();
            let mut log = std::fs::File::open(&self.log)?;
            log.seek(SeekFrom::Start(from))?;
            log.read_to_end(&mut tail)?;
            let tail = String::from_utf8_lossy(&tail);
            if tail.lines().any(|line| squeezed(line).starts_with(&last)) {
                return Ok(());
            }
            ensure!(began.elapsed() < ENDS_WITHIN, "strace does not come to its end");
            sleep(LOOK);
        }
    }

    /// Every call since that mark, in the order in which they began.
    pub(crate) fn calls(&self, since: u64, mut each: impl FnMut(Call)) -> Result<()> {
        let mut log = std::fs::File::open(&self.log)?;
        log.seek(SeekFrom::Start(since))?;
        let mut log = BufReader::new(log);
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line)? > 0 {
            if let Some(call) = call_of(&String::from_utf8_lossy(&line)) {
                each(call);
            }
            line.clear();
        }
        Ok(())
    }
}

/// `1234  fdatasync(5</a/b>) = 0`, or its beginning where another call came between.
/// What comes back later (`<... fdatasync resumed>`), signals and ends are no calls.
fn call_of(line: &str) -> Option<Call<'_>> {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let (name, arguments) = call.split_once('(')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some(Call { name, arguments })
}

/// `strace` fills numbers up with spaces.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_everything_else() {
        let call = call_of("77    fdatasync(5</a/catalog.db-wal>) = 0").unwrap();
        assert_eq!(call, Call { name: "fdatasync", arguments: "5</a/catalog.db-wal>) = 0" });
        assert_eq!(call_of("7 futex(0x7f, FUTEX_WAIT <unfinished ...>").unwrap().name, "futex");
        assert_eq!(call_of("7 <... fdatasync resumed>) = 0"), None);
        assert_eq!(call_of("7 --- SIGTERM {si_signo=SIGTERM (x)} ---"), None);
        assert_eq!(call_of("7 +++ exited with 0 +++"), None);
    }
}
