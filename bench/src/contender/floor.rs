//! The floor program, whose ends are processes as those of the others are.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::server::{Server, Sign};
use crate::workspace::RunDir;
use anyhow::Result;

/// When it lets the bytes go to the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FloorProgram {
    /// When the system likes.
    Plain,
    /// At the end.
    Sync,
    /// As it goes, and at the end.
    Paced,
}

impl Contender for FloorProgram {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain => "floor",
            Self::Sync => "floor+sync",
            Self::Paced => "floor+paced",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Plain => Class::Memory,
            Self::Sync | Self::Paced => Class::Disk,
        }
    }

    fn manner(&self) -> &'static str {
        match self {
            Self::Plain => "raw TCP, BLAKE3 on both ends, a thread each, buffers of 1 MiB",
            Self::Sync => "the same, and `fdatasync` at the end",
            Self::Paced => "the same, write-back started every 8 MiB; folder synced too",
        }
    }

    fn available(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let path = run_dir.at("received");
        let mut receiver = program::own("floor")?;
        receiver.arg("receive").arg(&path).args(match self {
            Self::Plain => None,
            Self::Sync => Some("--sync"),
            Self::Paced => Some("--paced"),
        });
        let server = Server::start(receiver, &run_dir.at("server.log"), Sign::Says)?;
        let mut sender = program::own("floor")?;
        sender.arg("send").arg(run_dir.workload.path()).arg(server.address().to_string());
        Ok(Box::new(move || {
            let (wall, client) = measure::run(sender, &run_dir.at("client.log"), run_dir.limit)?;
            let server = Some(server.stop()?);
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}
