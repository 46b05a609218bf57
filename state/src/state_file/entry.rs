//! One upload in the state file.

use super::unix_seconds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use towline_types::{FileSize, Name, Offset, StoreId, Timestamp, UserId};

/// What the state file says about one upload.
///
/// Times are written in whole seconds: what a [`Timestamp`] holds beyond that
/// does not survive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadEntry {
    /// The folders on the server, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<Name>,
    /// The name on the server.
    pub filename: Name,
    /// The length of the whole file.
    pub total_size: FileSize,
    /// How far the server has it, durably.
    pub offset: Offset,
    /// The payload of a full chunk, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u32>,
    /// Whose document it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// When the upload began.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "unix_seconds")]
    pub start_time: Option<Timestamp>,
    /// When the last byte came.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "unix_seconds")]
    pub last_chunk_time: Option<Timestamp>,
    /// Whether it is under way.
    pub status: EntryStatus,
    /// The local file, absolute. The client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The server, as `host:port`. The client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The identity of the server's store, which outlives its address. The client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<StoreId>,
    /// When the local file was last modified, to notice that it changed. The client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ns: Option<ModifiedNs>,
    /// Fields that this Towline does not know; they are kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl UploadEntry {
    /// An entry with what every entry has; the rest is for the caller to fill in.
    #[must_use]
    pub fn new(filename: Name, total_size: FileSize, offset: Offset, status: EntryStatus) -> Self {
        Self {
            folder: Vec::new(),
            filename,
            total_size,
            offset,
            chunk_size: None,
            user_id: None,
            start_time: None,
            last_chunk_time: None,
            status,
            path: None,
            server: None,
            server_id: None,
            modified_ns: None,
            other: Map::new(),
        }
    }
}

/// Whether the upload is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryStatus {
    /// A connection is sending, or was when the file was last written.
    Uploading,
    /// Nobody sends; it can be resumed.
    Paused,
}

/// When a file was last modified, in nanoseconds from 1970-01-01 UTC. Only good
/// for being compared: clocks and file systems differ in what they resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModifiedNs(i64);

impl ModifiedNs {
    /// That moment; nothing before the year 1678 or after 2262.
    #[must_use]
    pub fn new(modified: SystemTime) -> Option<Self> {
        match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).ok().map(Self),
            Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|ns| Self(-ns)),
        }
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<i64> for ModifiedNs {
    fn from(ns: i64) -> Self {
        Self(ns)
    }
}
