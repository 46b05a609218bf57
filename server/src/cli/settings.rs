//! What was typed or stands in the configuration file, and what it means.

use crate::{Config, Durability};
use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use towline_protocol::FileSize;

/// Where nobody says otherwise.
const LISTEN: &str = "127.0.0.1:8695";
const DATA_DIR: &str = "./storage";

/// What can be said to a server on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// The folder for documents, catalog and keys [default: ./storage]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:8695]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The largest file that is taken [default: 500MB]
    #[arg(long, value_name = "SIZE")]
    pub max_file_size: Option<ByteSize>,
    /// What SUCCESS means: that the file survives a power cut, or only that it is in
    /// its place and will be durable within seconds [default: durable]
    #[arg(long, value_name = "MODE")]
    pub durability: Option<Durability>,
    /// A TOML file with the same names, and a few more; what is typed wins over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What may stand in the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<String>,
    max_file_size: Option<String>,
    durability: Option<Durability>,
    /// Disk space that uploads never claim.
    reserve: Option<String>,
    /// How long an upload waits for its next byte, "7d".
    expire_after: Option<String>,
    max_connections: Option<usize>,
    max_unfinished_per_user: Option<u32>,
}

/// What it all means.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: String,
    pub(super) config: Config,
}

impl ServeArgs {
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let file = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let data_dir = self.data_dir.clone().or(file.data_dir);
        let mut config = Config::new(data_dir.unwrap_or_else(|| DATA_DIR.into()));
        let max = match (self.max_file_size, &file.max_file_size) {
            (Some(size), _) => Some(size.as_u64()),
            (None, text) => text.as_deref().map(size).transpose()?,
        };
        if let Some(max) = max {
            config.max_filesize = FileSize::try_from(max)?;
        }
        if let Some(reserve) = &file.reserve {
            config.reserve_bytes = size(reserve)?;
        }
        config.durability = self.durability.or(file.durability).unwrap_or_default();
        if let Some(patience) = &file.expire_after {
            config.patience = humantime::parse_duration(patience)
                .with_context(|| format!("expire_after: '{patience}' is no time"))?;
        }
        config.limits.connections = file.max_connections.unwrap_or(config.limits.connections);
        if let Some(unfinished) = file.max_unfinished_per_user {
            config.limits.unfinished_per_user = unfinished;
        }
        let listen = self.listen.clone().or(file.listen).unwrap_or_else(|| LISTEN.to_owned());
        Ok(Settings { listen, config })
    }
}

/// The data folder, where nobody says otherwise.
pub(super) fn data_dir(typed: Option<&Path>) -> &Path {
    typed.unwrap_or(Path::new(DATA_DIR))
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not understood", path.display()))
}

fn size(text: &str) -> anyhow::Result<u64> {
    let size: ByteSize =
        text.parse().map_err(|_| anyhow::anyhow!("'{text}' is no size; write 500MB or 2GiB"))?;
    Ok(size.as_u64())
}
