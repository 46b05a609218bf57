//! The configuration of an engine.

use crate::Clock;
use crate::audit::AuditObserver;
use crate::scanning::Scanning;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use towline_state::catalog::{Quota, Retention};
use towline_types::FileSize;

/// What a receipt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The document survives a power cut.
    #[default]
    Durable,
    /// The document has its name; a power cut within the next seconds may lose it.
    Relaxed,
}

/// Everything that can be set. [`EngineConfig::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The folder that holds documents, catalog and keys.
    pub data_dir: PathBuf,
    /// The largest file that is accepted; [`FileSize::MAX`] where there is no limit.
    pub max_filesize: FileSize,
    /// Bytes of the disk that uploads never claim: on a disk that is full otherwise the catalog
    /// needs them, to record that an upload is refused or ends.
    pub reserve_bytes: u64,
    /// What a receipt means.
    pub durability: Durability,
    /// How long an upload waits for its next byte before it is given up.
    pub expire_after: Duration,
    /// How long that is kept which is not what its user sees any more.
    pub keep: Keep,
    /// What is bounded in number.
    pub limits: EngineLimits,
    /// What is bounded in time.
    pub timings: EngineTimings,
    /// Accepts the folders of the data folder as they are, whatever their markers say: for a store
    /// that has lost a part for good.
    pub adopt_folders: bool,
    /// Makes no new store: where there is none in the data folder, the engine does not open.
    /// Without this, a folder on which a disk is not mounted looks like the folder of a first
    /// start.
    pub require_store: bool,
    /// Does not open a store that other users of the machine may change, or whose keys or tokens
    /// they may read. Without this, that is only logged as a warning.
    pub strict_modes: bool,
    /// How documents are scanned before they are given out; none: they are given out at once.
    pub scanning: Option<Scanning>,
    /// Hears what the engine does by itself: see [`AuditObserver`].
    pub audit: Option<Arc<dyn AuditObserver>>,
    /// The wall clock.
    pub clock: Clock,
}

/// How long that is kept which is not what its user sees any more.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// What was removed, from then on.
    pub trash: Duration,
    /// Versions of files that were replaced.
    pub versions: Retention,
    /// The change log: a client that was away for longer has to ask for everything anew.
    pub changes: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            trash: Duration::from_secs(30 * 86_400),
            versions: Retention::default(),
            changes: Duration::from_secs(90 * 86_400),
        }
    }
}

/// What is bounded in number (P6).
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Unfinished uploads of one user.
    pub unfinished_per_user: u32,
    /// How much a user may have who has no limits of the own.
    pub quota: Quota,
    /// Buffers of 1 MiB for payload, over all sessions.
    pub buffers: usize,
    /// Buffers that one session may have waiting for the disk.
    pub buffers_per_session: usize,
    /// Paused uploads whose files stay open, so that a resume need not read a block from disk.
    pub paused_kept_open: usize,
}

/// What is bounded in time.
#[derive(Debug, Clone, Copy)]
pub struct EngineTimings {
    /// The longest time from the receipt of a byte to the checkpoint that makes it durable. For as
    /// long, a checkpoint leaves out an upload whose last byte has just come: it waits for the
    /// `complete`, which syncs as well.
    pub checkpoint: Duration,
    /// The shortest pause between two passes of checkpoints. Uploads that move within this time
    /// share a sync and a transaction.
    pub checkpoint_rest: Duration,
    /// Between two reports of progress.
    pub report: Duration,
}

impl EngineConfig {
    /// The defaults, over that data folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            max_filesize: FileSize::MAX,
            reserve_bytes: 64 << 20,
            durability: Durability::default(),
            expire_after: Duration::from_secs(7 * 86_400),
            keep: Keep::default(),
            limits: EngineLimits::default(),
            timings: EngineTimings::default(),
            adopt_folders: false,
            require_store: false,
            strict_modes: true,
            scanning: None,
            audit: None,
            clock: Clock::system(),
        }
    }
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            unfinished_per_user: 10_000,
            quota: Quota::default(),
            buffers: 96,
            buffers_per_session: 8,
            paused_kept_open: 256,
        }
    }
}

impl Default for EngineTimings {
    fn default() -> Self {
        Self {
            checkpoint: Duration::from_secs(1),
            checkpoint_rest: Duration::from_millis(20),
            report: Duration::from_millis(200),
        }
    }
}
