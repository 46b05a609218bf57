//! What can be wrong with a state file.

use std::io;
use std::path::PathBuf;

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// The disk or the rights do not allow it.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The state file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content is torn or not of the schema.
    #[error("{} is damaged", path.display())]
    Corrupt {
        /// The state file.
        path: PathBuf,
        /// Where and why it does not read.
        source: serde_json::Error,
    },
    /// Another process held the lock until the wait for it was given up.
    #[error("another process holds {}", lock.display())]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// A later Towline wrote it; to read it half would be to lose the other half.
    #[error("{} has version {found}, and this Towline knows none above {known}", path.display())]
    NewerVersion {
        /// The state file.
        path: PathBuf,
        /// The version it has.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// A value has no form in JSON: a local path that is not Unicode.
    #[error("{} cannot express what it was given", path.display())]
    Unwritable {
        /// The state file.
        path: PathBuf,
        /// What cannot be expressed.
        source: serde_json::Error,
    },
}
