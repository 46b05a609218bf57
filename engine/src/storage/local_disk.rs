//! What there is only where documents lie in a folder: other programs can put things there and
//! take things away, and a disk may be missing.

use super::{Spot, StorageError};
use std::ffi::OsString;
use std::path::PathBuf;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, Name, UserId};

/// A store that is a folder of a file system. Whatever is set aside is neither deleted nor
/// written over (P1), and its path is told as seen from the data folder.
pub trait LocalDisk: Send + Sync {
    /// What lies among the staging areas and is none, in no order. What was set aside is not
    /// listed.
    ///
    /// # Errors
    /// Where the listing fails.
    fn strays(&self) -> Result<Vec<Stray>, StorageError>;

    /// Moves a stray out of the way.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where nothing has that name.
    fn set_stray_aside(&self, stray: &Stray) -> Result<PathBuf, StorageError>;

    /// Moves the staging area of an upload out of the way; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be moved.
    fn set_upload_aside(&self, id: DocumentId) -> Result<Option<PathBuf>, StorageError>;

    /// Moves the file of a document that is not what was uploaded out of its place (P2). On
    /// `Ok` both names are durable: the old one is free, and the new one there.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is no plain file in that place.
    fn set_damaged_aside(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<PathBuf, StorageError>;

    /// The same for a file that was removed or replaced: the one in that spot, or under these names
    /// below it.
    ///
    /// # Errors
    /// [`StorageError::Lost`] where there is no plain file in that place.
    fn set_damaged_kept_aside(
        &self,
        id: DocumentId,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<PathBuf, StorageError>;

    /// Whether a file that is not in its place may be on a disk that is not mounted, or be
    /// hidden below one. `known` is what it was known by when it was last there. Else it was
    /// removed.
    ///
    /// # Errors
    /// Where the system does not say.
    fn may_be_unmounted(
        &self,
        user: UserId,
        path: &DocumentPath,
        known: Option<FileStamp>,
    ) -> Result<bool, StorageError>;

    /// A disk belongs at one of the folders of that document: the user's own, or the one to
    /// which `depth` of its folders lead. Nothing is published there from now on where that
    /// folder is empty and no disk is mounted at it (P3).
    fn note_mount_point(&self, user: UserId, path: &DocumentPath, depth: u16);

    /// The highest number of a user who has a folder; `None` where there is no such folder.
    ///
    /// # Errors
    /// Where the listing fails.
    fn highest_user(&self) -> Result<Option<UserId>, StorageError>;
}

/// Something that lies among the staging areas, and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its name there.
    pub name: OsString,
}
