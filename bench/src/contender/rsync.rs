//! rsync to a daemon, whole files: there is nothing at the other end to compare with.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::server::{Server, Sign, free_port};
use crate::workload::Workload;
use crate::workspace::RunDir;
use anyhow::Result;
use std::path::Path;
use std::process::Command;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Rsync {
    /// As it comes.
    Plain,
    /// With `--fsync`.
    Fsync,
}

impl Contender for Rsync {
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
            Self::Plain => "`rsync -W` (`-rW` for a folder) to a daemon",
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
        let into = run_dir.folder("received")?;
        let (server, url) = daemon(run_dir, &into, Access::Write)?;
        let mut rsync = Command::new("rsync");
        rsync.arg(match run_dir.workload {
            Workload::File { .. } => "-W",
            Workload::Folder { .. } => "-rW",
        });
        if let Self::Fsync = self {
            rsync.arg("--fsync");
        }
        rsync.arg(run_dir.workload.path()).arg(url);
        Ok(Box::new(move || {
            let (wall, client) = measure::run(rsync, &run_dir.at("client.log"), run_dir.limit)?;
            server.be_alone()?;
            let server = Some(server.stop()?);
            let path = into.join(run_dir.load_name());
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

/// What clients of a server may do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    Read,
    Write,
}

/// A daemon for that folder, and the folder's address at it.
pub(super) fn daemon(run_dir: &RunDir, folder: &Path, access: Access) -> Result<(Server, String)> {
    let port = free_port()?;
    let text = config(folder, &run_dir.at("rsyncd.log"), access);
    let config = run_dir.file("rsyncd.conf", &text)?;
    let mut daemon = Command::new("rsync");
    daemon.args(["--daemon", "--no-detach", "--address=127.0.0.1"]);
    daemon.arg(format!("--port={port}")).arg("--config").arg(config);
    let server = Server::start(daemon, &run_dir.at("server.log"), Sign::Opens(port))?;
    Ok((server, format!("rsync://127.0.0.1:{port}/bench/")))
}

fn config(folder: &Path, log: &Path, access: Access) -> String {
    // As root it would become nobody, who may not write here.
    let user = if rustix::process::getuid().is_root() { "uid = root\ngid = root\n" } else { "" };
    let read_only = match access {
        Access::Read => "yes",
        Access::Write => "no",
    };
    format!(
        "use chroot = no\n{user}reverse lookup = no\nlog file = {}\n[bench]\npath = {}\n\
         read only = {read_only}\n",
        log.display(),
        folder.display()
    )
}
