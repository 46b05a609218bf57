//! `towline get`.

use crate::contender::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::sample::Sample;
use crate::towlined::Towlined;
use crate::workspace::RunDir;
use anyhow::Result;

/// When it says that the file is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TowlineGet {
    /// When the file and its entry survive a power cut.
    Synced,
    /// The same, over TLS.
    Encrypted,
    /// Before.
    Unsynced,
}

impl Contender for TowlineGet {
    fn name(&self) -> &'static str {
        match self {
            Self::Synced => "towline get",
            Self::Encrypted => "towline get over TLS",
            Self::Unsynced => "towline get --no-sync",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Synced | Self::Encrypted => Class::Disk,
            Self::Unsynced => Class::Memory,
        }
    }

    fn manner(&self) -> &'static str {
        match self {
            Self::Synced => "`towline get --quiet`: each MiB checked as it comes, then synced",
            Self::Encrypted => "synced, with `--tls`; it includes the first contact",
            Self::Unsynced => "`towline get --quiet --no-sync`",
        }
    }

    fn available(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        // Another server than the one that is measured: to receive the file costs it something.
        let server = Towlined::start(run_dir.path())?;
        let put = server.put(run_dir.workload.path(), server.address())?;
        measure::run(put, &run_dir.at("put.log"), run_dir.limit)?;
        server.stop()?;
        let server = Towlined::start(run_dir.path())?;
        let path = run_dir.at("fetched");
        let mut towline = server.get(run_dir.load_name(), &path)?;
        match self {
            Self::Synced => {}
            Self::Encrypted => server.encrypt(&mut towline),
            Self::Unsynced => {
                towline.arg("--no-sync");
            }
        }
        Ok(Box::new(move || {
            let (wall, client) = measure::run(towline, &run_dir.at("client.log"), run_dir.limit)?;
            let server = Some(server.stop()?);
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}
