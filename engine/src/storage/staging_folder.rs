//! The folder of all staging files.

use super::Staged;
use super::StorageError;
use super::directory::{Directory, is_plain_file};
use super::file::length_bytes;
use super::latch::Latch;
use super::paths;
use super::turns::{Ticket, Turns};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::sync::Arc;

/// See the module's description.
#[derive(Debug)]
pub(super) struct StagingFolder {
    pub(super) directory: Arc<Directory>,
    pub(super) names: Turns,
}

impl StagingFolder {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory, names: Turns::default() }
    }

    /// Makes the name with that ticket durable, and all before it.
    pub(super) fn sync_name(&self, ticket: Ticket, latch: &Latch) -> Result<(), StorageError> {
        self.names.sync_names(ticket, &self.directory, latch)
    }

    /// What has that name; nothing where it was published or discarded meanwhile.
    pub(super) fn look_at(&self, name: &OsStr) -> Result<Option<Staged>, Errno> {
        let stat = match self.directory.stat(name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let whole = paths::whole_owner(name);
        let id = whole.or_else(|| paths::staging_owner(name)).filter(|_| is_plain_file(&stat));
        let (name, is_whole) = (name.to_owned(), id.is_some() && id == whole);
        Ok(Some(Staged { name, id, is_whole, length_bytes: length_bytes(&stat) }))
    }

    /// Makes every name in the folder durable.
    pub(super) fn sync(&self, latch: &Latch) -> Result<(), StorageError> {
        self.sync_name(self.names.ticket(), latch)
    }
}
