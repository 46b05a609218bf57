//! rsync from a daemon, whole files.

use super::source;
use crate::contender::rsync::{Access, daemon};
use crate::contender::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::workload::Workload;
use crate::workspace::RunDir;
use anyhow::Result;
use std::process::Command;

#[derive(Debug, Clone, Copy)]
pub(crate) enum RsyncGet {
    /// As it comes.
    Plain,
    /// With `--fsync`.
    Fsync,
}

impl Contender for RsyncGet {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain => "rsync",
            Self::Fsync => "rsync --fsync",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Plain => Class::Memory,
            Self::Fsync => Class::Disk,
        }
    }

    fn manner(&self) -> &'static str {
        match self {
            Self::Plain => "`rsync -W` (`-rW` for a folder) from a daemon",
            Self::Fsync => "the same with `--fsync`",
        }
    }

    fn version(&self) -> Option<String> {
        program::version("rsync", "--version")
    }

    fn available(&self) -> Result<(), String> {
        program::find("rsync").map(|_| ())
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let (server, url) = daemon(run_dir, source(run_dir), Access::Read)?;
        let into = run_dir.folder("fetched")?;
        let name = run_dir.load_name();
        let mut rsync = Command::new("rsync");
        rsync.arg(match run_dir.workload {
            Workload::File { .. } => "-W",
            Workload::Folder { .. } => "-rW",
        });
        if let Self::Fsync = self {
            rsync.arg("--fsync");
        }
        rsync.arg(format!("{url}{}", name.to_string_lossy())).arg(&into);
        Ok(Box::new(move || {
            let (wall, client) = measure::run(rsync, &run_dir.at("client.log"), run_dir.limit)?;
            server.be_alone()?;
            let server = Some(server.stop()?);
            Ok(Arrival { sample: Sample { wall, client, server }, path: into.join(name) })
        }))
    }
}
