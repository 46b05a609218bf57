//! Where and when it was measured.

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use std::fmt;
use std::time::SystemTime;

/// What the figures depend on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `2026-05-01`.
    pub(crate) date: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory: ByteSize,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// The most that this program itself had; no child of it is said to have less.
    pub(crate) own_peak: ByteSize,
}

impl Machine {
    /// This one, at the end of a run.
    pub(crate) fn this(file_system: &str) -> Result<Self> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let system = rustix::system::uname();
        Ok(Self {
            date: now.chars().take(10).collect(),
            cores: std::thread::available_parallelism().context("cannot count the cores")?.get(),
            processor: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| system.machine().to_string_lossy().into_owned()),
            memory: kibibytes("/proc/meminfo", "MemTotal"),
            kernel: format!(
                "{} {}",
                system.sysname().to_string_lossy(),
                system.release().to_string_lossy()
            ),
            file_system: file_system.to_owned(),
            own_peak: kibibytes("/proc/self/status", "VmHWM"),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, memory, kernel, file_system, .. } = self;
        write!(f, "{cores} cores ({processor}), {memory:.0} of memory, {kernel}, {file_system}")
    }
}

/// What a line `NAME : VALUE` says.
fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

/// `VALUE`, a number of kB; 0 where the system does not say.
fn kibibytes(file: &str, name: &str) -> ByteSize {
    let value = field(file, name).and_then(|value| value.strip_suffix("kB")?.trim().parse().ok());
    ByteSize::kib(value.unwrap_or(0))
}
