//! Towline itself: `towlined` over a new data folder, and one `towline put`.

use super::{Arrival, Class, Contender, Go};
use crate::measure;
use crate::program;
use crate::sample::Sample;
use crate::towlined::{self, Towlined};
use crate::workspace::RunDir;
use anyhow::Result;

/// When it says SUCCESS.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Towline {
    /// When file, entry and row survive a power cut.
    Durable,
    /// The same, over TLS.
    Encrypted,
    /// Before.
    Relaxed,
}

impl Contender for Towline {
    fn name(&self) -> &'static str {
        match self {
            Self::Durable => "towline durable",
            Self::Encrypted => "towline over TLS",
            Self::Relaxed => "towline relaxed",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Durable | Self::Encrypted => Class::Disk,
            Self::Relaxed => Class::Memory,
        }
    }

    fn manner(&self) -> &'static str {
        match self {
            Self::Durable => "`towlined` as it comes, `towline put --quiet`",
            Self::Encrypted => "durable, with `towline put --tls`; it includes the first contact",
            Self::Relaxed => "durable, but `towlined --durability relaxed`",
        }
    }

    fn available(&self) -> Result<(), String> {
        match self {
            Self::Durable | Self::Encrypted => Ok(()),
            Self::Relaxed => match knows_durability() {
                Ok(true) => Ok(()),
                Ok(false) => Err("this towlined has no --durability".to_owned()),
                Err(error) => Err(format!("towlined --help does not run: {error:#}")),
            },
        }
    }

    fn ready<'a>(&'a self, run_dir: &'a RunDir) -> Result<Go<'a>> {
        let mut towlined = towlined::command(run_dir.path())?;
        if let Self::Relaxed = self {
            towlined.args(["--durability", "relaxed"]);
        }
        let server = Towlined::start_as(towlined, run_dir.path())?;
        let mut towline = server.put(run_dir.workload.path(), server.address())?;
        if let Self::Encrypted = self {
            server.encrypt(&mut towline);
        }
        Ok(Box::new(move || {
            let (wall, client) = measure::run(towline, &run_dir.at("client.log"), run_dir.limit)?;
            let path = server.document(run_dir.load_name());
            let server = Some(server.stop()?);
            Ok(Arrival { sample: Sample { wall, client, server }, path })
        }))
    }
}

fn knows_durability() -> Result<bool> {
    let help = program::own("towlined")?.arg("--help").output()?;
    Ok(String::from_utf8_lossy(&help.stdout).contains("--durability"))
}
