//! Where a server listens, which key it has and where its audit log is, recorded in its data folder
//! for commands that run beside the server: `towlined join` prints the first two in its line, and
//! what the operator does has a line in the third.

use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use towline_types::Fingerprint;

/// What the server that ran last has recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) listen: SocketAddr,
    pub(crate) key: Fingerprint,
    /// The whole path of the audit log, where there is one.
    pub(crate) audit_log: Option<PathBuf>,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Record {
    listen: SocketAddr,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit_log: Option<PathBuf>,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("state/listening.json")
}

impl Listening {
    /// Records it. Where that fails, `towlined join` needs `--address`; serving matters more. Blocks.
    pub(crate) fn record_in(&self, data_dir: &Path) {
        if let Err(error) = self.write(&path(data_dir)) {
            tracing::warn!(%error, "where the server listens could not be recorded for `join`");
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let Self { listen, key, audit_log } = self.clone();
        let record = Record { listen, key: key.to_string(), audit_log };
        let folder = path.parent().unwrap_or(path);
        let mut file = tempfile::Builder::new().prefix(".listening.").tempfile_in(folder)?;
        serde_json::to_writer(&mut file, &record)?;
        writeln!(file)?;
        // Nothing is promised of this file, so it is not synced: where it is lost, a start writes it.
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    /// What was recorded last; `None` where there is nothing that reads.
    pub(crate) fn of(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(path(data_dir)).ok()?;
        let Record { listen, key, audit_log } = serde_json::from_slice(&text).ok()?;
        Some(Self { listen, key: key.parse().ok()?, audit_log })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_reads_back_and_damage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        assert_eq!(Listening::of(folder.path()), None);
        let listening = Listening {
            listen: "[::]:8695".parse().unwrap(),
            key: Fingerprint::from_bytes([7; 32]),
            audit_log: Some("/var/log/audit".into()),
        };
        listening.record_in(folder.path());
        assert_eq!(Listening::of(folder.path()), Some(listening));
        std::fs::write(path(folder.path()), "{\"listen\":").unwrap();
        assert_eq!(Listening::of(folder.path()), None);
    }
}
