//! The folder of all staging files.

use super::Staged;
use super::StorageError;
use super::directory::{Directory, is_plain_file};
use super::file::length_bytes;
use super::group_sync::{GroupSync, Ticket};
use super::latch::Latch;
use super::paths;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// One thing that lies among the staging files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedEntry {
    /// Its name there.
    pub name: OsString,
    /// The upload's file that it is; `None` where it is a stray.
    pub upload: Option<Staged>,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct StagingFolder {
    pub(super) directory: Arc<Directory>,
    pub(super) names: GroupSync,
}

impl StagingFolder {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory, names: GroupSync::default() }
    }

    /// Makes the name with that ticket durable, and all before it.
    pub(super) fn sync_name(&self, ticket: Ticket, latch: &Latch) -> Result<(), StorageError> {
        self.names.sync_names(ticket, &self.directory, latch)
    }

    /// What has that name; nothing where it was published or discarded meanwhile.
    pub(super) fn look_at(&self, name: &OsStr) -> Result<Option<StagedEntry>, Errno> {
        let stat = match self.directory.stat(name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let whole = paths::whole_owner(name);
        let id = whole.or_else(|| paths::staging_owner(name)).filter(|_| is_plain_file(&stat));
        let (is_whole, length_bytes) = (id == whole, length_bytes(&stat));
        let upload = id.map(|id| Staged { id, is_whole, length_bytes });
        Ok(Some(StagedEntry { name: name.to_owned(), upload }))
    }

    /// What `wanted` makes of each thing in the folder, but for what was set aside.
    pub(super) fn all<T>(
        &self,
        wanted: impl Fn(StagedEntry) -> Option<T>,
    ) -> Result<Vec<T>, StorageError> {
        let io = |errno| StorageError::new("list the staging files", errno);
        let names = self.directory.names().map_err(io)?;
        names
            .iter()
            .filter(|name| !paths::is_no_uploads(name))
            .filter_map(|name| self.look_at(name).transpose())
            .filter_map(|entry| entry.map(&wanted).transpose())
            .map(|entry| entry.map_err(io))
            .collect()
    }

    /// Makes every name in the folder durable.
    pub(super) fn sync(&self, latch: &Latch) -> Result<(), StorageError> {
        self.sync_name(self.names.ticket(), latch)
    }
}
