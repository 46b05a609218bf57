//! What a server is told before it starts.

use crate::Clock;
use std::path::PathBuf;
use std::time::Duration;
use towline_types::FileSize;

/// What `SUCCESS` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The document survives a power cut.
    #[default]
    Durable,
    /// The document has its name; a power cut within the next seconds may take it.
    Relaxed,
}

/// Everything that can be set. [`Config::new`] gives the values that the command
/// line gives.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds documents, catalog and keys.
    pub data_dir: PathBuf,
    /// The largest file that is taken; [`FileSize::MAX`] where there is no limit.
    pub max_filesize: FileSize,
    /// Bytes of the disk that uploads never claim: the catalog needs room to say no.
    pub reserve_bytes: u64,
    /// What `SUCCESS` means.
    pub durability: Durability,
    /// How long an upload waits for its next byte before it is given up.
    pub patience: Duration,
    /// What is bounded in number.
    pub limits: Limits,
    /// What is bounded in time.
    pub timings: Timings,
    /// Takes the folders of the data folder as they are, whatever their markers say: for a
    /// store of which a part is lost for good.
    pub adopt_folders: bool,
    /// Makes no new store: where there is none in the data folder, the server does not start.
    /// A folder below which no disk is mounted looks like one for a first start.
    pub require_store: bool,
    /// The wall clock.
    pub clock: Clock,
}

/// What is bounded in number (P6).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Unfinished uploads of one user.
    pub unfinished_per_user: u32,
    /// Buffers of 1 MiB for payload, over all connections.
    pub buffers: usize,
    /// Buffers that one connection may have waiting for the disk.
    pub buffers_per_connection: usize,
    /// Paused uploads whose files stay open, so that they go on without a read.
    pub paused_kept_open: usize,
}

/// What is bounded in time.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// From the connection to a whole `hello`.
    pub login: Duration,
    /// From the first byte of a frame to its last.
    pub frame: Duration,
    /// Without any byte from the client.
    pub silence: Duration,
    /// Without the client reading a single byte of what is said to it.
    pub unread: Duration,
    /// From a byte received to the checkpoint that makes it durable, at the most. An
    /// upload that is whole waits as long for its `complete` first.
    pub checkpoint: Duration,
    /// How long a look at whether a user may be logged in holds. The next begins when two
    /// thirds of it have passed; where none says yes by then, the connection is closed.
    pub recheck: Duration,
    /// Between two reports of progress.
    pub report: Duration,
    /// For everything under way, from the signal to stop.
    pub stop: Duration,
}

impl Config {
    /// The defaults, over that data folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            max_filesize: FileSize::MAX,
            reserve_bytes: 64 << 20,
            durability: Durability::default(),
            patience: Duration::from_secs(7 * 86_400),
            limits: Limits::default(),
            timings: Timings::default(),
            adopt_folders: false,
            require_store: false,
            clock: Clock::system(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            unfinished_per_user: 10_000,
            buffers: 96,
            buffers_per_connection: 8,
            paused_kept_open: 256,
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(10),
            frame: Duration::from_secs(60),
            silence: Duration::from_secs(300),
            unread: Duration::from_secs(60),
            checkpoint: Duration::from_secs(1),
            recheck: Duration::from_secs(30),
            report: Duration::from_millis(200),
            stop: Duration::from_secs(5),
        }
    }
}
