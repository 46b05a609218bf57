//! What the system says of a process that runs.

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at a process's memory.
const LOOK: Duration = Duration::from_millis(10);

/// Its own memory: anonymous pages, without what it has mapped of files (`RssAnon`).
pub(crate) fn anonymous_bytes(id: u32) -> Result<u64> {
    kibibytes(id, "RssAnon")
}

/// The most resident memory so far, mapped files included (`VmHWM`).
pub(crate) fn peak_bytes(id: u32) -> Result<u64> {
    kibibytes(id, "VmHWM")
}

/// What it has read by system calls on files, from a disk or from the page cache
/// (`rchar`). What comes from sockets is not in it.
pub(crate) fn read_bytes(id: u32) -> Result<u64> {
    let field = field(&file(id, "io")?, "rchar").and_then(|value| value.parse().ok());
    field.context("the system does not say what a process has read")
}

/// User and system time of all its threads, those that have ended too.
pub(crate) fn cpu(id: u32) -> Result<Duration> {
    let stat = file(id, "stat")?;
    // The name may hold anything, a bracket too; behind the last the third field begins.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace());
    let ticks =
        fields.map(|fields| fields.skip(11).take(2).filter_map(|one| one.parse::<u64>().ok()));
    let ticks: u64 = ticks.context("the system does not say what a process has used")?.sum();
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// Looks at a process's memory until it is asked for the most.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    looking: Option<JoinHandle<u64>>,
}

impl Watch {
    pub(crate) fn over(id: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let looking = std::thread::spawn(move || {
            let mut most = 0;
            while !until.load(Ordering::Relaxed) {
                most = most.max(anonymous_bytes(id).unwrap_or(0));
                std::thread::sleep(LOOK);
            }
            most
        });
        Self { over, looking: Some(looking) }
    }

    /// The most anonymous memory that it had meanwhile.
    pub(crate) fn most(mut self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let looking = self.looking.take().and_then(|looking| looking.join().ok());
        looking.context("nobody has looked at the server's memory")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn kibibytes(id: u32, name: &str) -> Result<u64> {
    let value = field(&file(id, "status")?, name)
        .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(value.with_context(|| format!("the system does not say {name} of a process"))? << 10)
}

fn file(id: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{id}/{name}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// What a line `NAME: VALUE` says.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_has_memory_and_has_read() {
        let id = std::process::id();
        let watch = Watch::over(id);
        let before = read_bytes(id).unwrap();
        let own = anonymous_bytes(id).unwrap();
        assert!(own > 0 && own <= peak_bytes(id).unwrap());
        assert!(read_bytes(id).unwrap() > before, "`status` was read");
        cpu(id).unwrap();
        std::thread::sleep(2 * LOOK);
        assert!(watch.most().unwrap() > 0);
    }
}
