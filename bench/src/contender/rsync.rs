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
        let port = free_port()?;
        let config = run_dir.file("rsyncd.conf", &config(&into, &run_dir.at("rsyncd.log")))?;
        let mut daemon = Command::new("rsync");
        daemon.args(["--daemon", "--no-detach", "--address=127.0.0.1"]);
        daemon.arg(format!("--port={port}")).arg("--config").arg(config);
        let server = Server::start(daemon, &run_dir.at("server.log"), Sign::Opens(port))?;
        let mut rsync = Command::new("rsync");
        rsync.arg(match run_dir.workload {
            Workload::File { .. } => "-W",
            Workload::Folder { .. } => "-rW",
        });
        if let Self::Fsync = self {
            rsync.arg("--fsync");
        }
        rsync.arg(run_dir.workload.path()).arg(format!("rsync://127.0.0.1:{port}/bench/"));
        Ok(Box::new(move || {
            let (wall, client) = measure::run(rsync, &run_dir.at("client.log"), run_dir.limit)?;
            server.be_alone()?;
            let server = Some(server.stop()?);
            let path = into.join(run_dir.load_name());
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

fn config(into: &Path, log: &Path) -> String {
    // As root it would become nobody, who may not write here.
    let user = if rustix::process::getuid().is_root() { "uid = root\ngid = root\n" } else { "" };
    format!(
        "use chroot = no\n{user}reverse lookup = no\nlog file = {}\n[bench]\npath = {}\nread only = no\n",
        log.display(),
        into.display()
    )
}
