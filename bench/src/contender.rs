//! Who is measured. Each peer has a file of its own below.

mod cp;
mod floor;
mod get;
mod nginx;
mod rsync;
mod scp;
mod sftp;
mod towline;
mod tus;

pub(crate) use cp::Cp;
pub(crate) use floor::FloorProgram;
pub(crate) use get::{CurlGet, RsyncGet, ScpGet, TowlineGet};
pub(crate) use nginx::Nginx;
pub(crate) use rsync::Rsync;
pub(crate) use scp::Scp;
pub(crate) use sftp::Sftp;
pub(crate) use towline::Towline;
pub(crate) use tus::Tus;

use crate::sample::Sample;
use crate::workspace::RunDir;
use anyhow::Result;
use std::path::PathBuf;

/// Where the bytes are when a contender says that it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// In the page cache: a power cut takes them.
    Memory,
    /// On the disk, synced.
    Disk,
}

impl Class {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "in memory",
            Self::Disk => "on disk",
        }
    }
}

/// Something that can bring a workload from one place to another.
pub(crate) trait Contender {
    /// Short, and its own.
    fn name(&self) -> &'static str;

    fn class(&self) -> Class;

    /// How it is run, in a line.
    fn manner(&self) -> &'static str;

    /// Which programs it is made of; nothing where it is ours.
    fn version(&self) -> Option<String> {
        None
    }

    /// Whether it can be measured here.
    ///
    /// # Errors
    /// Where not: why, for a person.
    fn available(&self) -> Result<(), String>;

    /// Starts what it needs, up to where its client could begin.
    ///
    /// # Errors
    /// Where any of that fails; nothing of it runs then.
    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>>;
}

/// Sends the workload of the run folder once, and stops all that was started. Where any of that fails,
/// or where it is dropped, nothing of it runs any more.
pub(crate) type Go<'a> = Box<dyn FnOnce() -> Result<Arrival> + 'a>;

/// A workload that has arrived, as the contender reports.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) sample: Sample,
    /// Where it lies.
    pub(crate) path: PathBuf,
}
