//! One command in the state file.

use super::{KnownServer, unix_seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use towline_types::{Name, OnConflict, StoreId, Timestamp};

/// A `put` that has not come to its end: what was named, so that a later run can find all of
/// its files again, also those that were not begun. As soon as the one file of a `put` has an
/// upload, the entry of that upload stands for the command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEntry {
    /// The paths that were named, absolute.
    pub paths: Vec<PathBuf>,
    /// The folder on the server, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<Name>,
    /// The server, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The identity of the server's store, which outlives its address. Absent until the
    /// server was reached, and for older servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<StoreId>,
    /// What to do where a name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_conflict: Option<OnConflict>,
    /// The payload of a full chunk that was asked for, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u32>,
    /// Names that no server takes are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_refused: bool,
    /// What of the folders is left out, in the order in which it decides: `+GLOB` is sent,
    /// `-GLOB` is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Symbolic links in folders stand for what they lead to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy_links: bool,
    /// All files are sent again, also those that the server has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Which files the command has sent so far, where it sends all files again: a later run does
    /// not send these once more. The client decides which text stands for a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_again: Vec<String>,
    /// The file that the token was read from, absolute. Never the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// When the command began.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "unix_seconds")]
    pub start_time: Option<Timestamp>,
    /// How many files the command has.
    #[serde(default)]
    pub files: u64,
    /// How many of them are on the server, as last noted.
    #[serde(default)]
    pub done: u64,
    /// Fields that this Towline does not know; they are kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl JobEntry {
    /// Whether the two are the same command: the same paths to the same place of the same
    /// server. The identities of the two stores decide where both are known, else the
    /// addresses.
    #[must_use]
    pub fn is_same_command(&self, other: &Self) -> bool {
        let is_same_server = match (self.server_id, other.server_id) {
            (Some(one), Some(other)) => one == other,
            _ => self.server == other.server,
        };
        self.names_the_same(other) && is_same_server
    }

    /// Whether the two have the same paths and the same folder on the server, whichever
    /// server that is.
    #[must_use]
    pub fn names_the_same(&self, other: &Self) -> bool {
        self.paths == other.paths && self.folder == other.folder
    }

    /// Where the command was to go; nothing where the entry names no server.
    #[must_use]
    pub fn known_server(&self) -> Option<KnownServer> {
        Some(KnownServer::new(self.server.clone()?, self.server_id))
    }
}
