//! Folders, moves, removed things and replaced versions: what a store does with names that have
//! been given already.
//!
//! # Which promise each step keeps
//!
//! In all of these, a name becomes durable in its new place before the old place forgets it: a
//! power cut leaves both names or one of them, never none (P1).
//!
//! **[`replace`](TreeStorage::replace)** gives the name of a document to newer bytes.
//!
//! 1. The new bytes are durable and the row says `publishing` (the caller; P1, P2).
//! 2. The old file gets a second name, `.versions/<user>/<document_id>`, by a link. Where that
//!    name leads to this very file already, an earlier call was cut off after this step (P4).
//!    Where it leads to another file, the file in the document's place is not the version that is
//!    being replaced: it is set aside, neither written over nor deleted.
//! 3. The folder of the versions is synced, and those above it: from here on the old bytes stay,
//!    whatever happens to the name (P1).
//! 4. The new file is renamed over the name, in one step: a reader finds the whole old file or the
//!    whole new one (P2).
//! 5. The folder of the name is synced, and those above it (P3). The caller records the version.
//!
//! A crash before step 4 leaves the staging area, and the call is repeated. A crash after it leaves
//! the new file under the name and no staging area: the name is synced again and recorded (P4). On a
//! file system without links step 2 is a rename, and a crash may leave the name free; the
//! repeated call then publishes under a free name.
//!
//! **[`relocate`](TreeStorage::relocate)** moves a file, or a folder with all that is in it.
//!
//! 1. The caller has recorded what is to move where.
//! 2. The folders above the new name are there and durable before anything moves: nothing durable
//!    is put below a name that a power cut takes (P1).
//! 3. What the process remembers of folders by their paths is forgotten, for the old path, the
//!    new path, and all below them: a later document below one of them makes its folders anew or
//!    syncs them (P3). It is forgotten once more after the rename, for what other threads
//!    remembered in between.
//! 4. One rename to a name that nothing has (P2: nothing is written over), of one entry, however
//!    much is in the folder. A folder that has the name is removed first, where nothing but folders
//!    is in it: no row knows them, or the caller would not have chosen the name. A crash may have
//!    left them, or a person made them.
//! 5. The folder with the new name is synced, and then that of the old name. Only then is the move
//!    told (P3).
//!
//! A crash between leaves the thing under the old name or under the new one. The repeated call
//! moves it, or finds it moved and syncs both folders again (P4).
//!
//! **Putting into the quarantine** is a relocation to `.quarantine/<user>/<document_id>`, giving free
//! is one back.
//!
//! **Removing** is a relocation to `.trash/<user>/<node_id>`, restoring is one back.
//!
//! **[`delete_trash`](TreeStorage::delete_trash)** and
//! **[`delete_versions`](TreeStorage::delete_versions)** are the only calls that delete what was
//! published. The caller has decided so, file by file: a file of which the caller knows nothing is
//! another program's, and is set aside. On return the folder that held the name is synced, so that
//! the rows may go: no power cut brings back bytes that no row knows. A crash between leaves a part,
//! and the repeated call deletes the rest (P4).
//!
//! # What the caller promises in return
//!
//! No folder above a document is moved from the moment at which the document's path is read in the
//! catalog until its name is durable ([`Storage::publish`](super::Storage::publish),
//! [`NewName::sync_name`](super::NewName::sync_name), [`TreeStorage::replace`]): else the path that
//! the caller holds would make the old folder anew.

use super::{GoesOn, Published, Put, StorageError};
use std::path::PathBuf;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Name, NodeId, UserId};

/// Where a file or a folder of a user lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// In the user's own folder, under the path that the user sees. A folder's own name is the
    /// last one of the path.
    Living(DocumentPath),
    /// Among what was removed.
    Trash(NodeId),
    /// That many names below something that was removed; at least one.
    BelowTrash {
        /// What was removed.
        root: NodeId,
        /// The names.
        below: Vec<Name>,
    },
    /// Among the versions that were replaced.
    Version(DocumentId),
    /// Among what a scanner has found something in.
    Quarantine(DocumentId),
}

/// What lies in a [`Spot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File {
        /// Its length.
        filesize: FileSize,
        /// What it is known by.
        stamp: FileStamp,
    },
    /// A folder.
    Folder,
}

/// Whether a file among what was removed is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the caller's, and is not wanted any more.
    Delete,
    /// The caller knows nothing of it.
    Keep,
    /// The deletion ends here for now, and is called again later.
    Stop,
}

/// How a [deletion](TreeStorage::delete_trash) ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// Nothing of it is left.
    All,
    /// Files that were to be kept were set aside, in the folders in which they were. Told is where,
    /// as seen from the data folder.
    Kept(PathBuf),
    /// It was to end, and a part is left.
    Stopped,
}

/// What a store does with names that have been given already. See the module's description.
///
/// On `Ok` what was done survives a power cut. Every method may be called again with the same
/// arguments after a crash has cut it off.
pub trait TreeStorage: Send + Sync {
    /// Makes a folder of a user, and those above it. That it is there is fine.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where a file has its name, [`StorageError::NotAFolder`] where a file
    /// has the name of one of the folders above, [`StorageError::Unsafe`] where a link does.
    fn make_folder(&self, user: UserId, folder: &DocumentPath) -> Result<(), StorageError>;

    /// Gives the name of the document `old` to the staging area `id`, and keeps the old file at
    /// [`Spot::Version`]. The bytes of the staging area are durable already. Where nothing has the name, this is
    /// [`Storage::publish`](super::Storage::publish). Where a store copies to publish, this copies
    /// as well, and the staging area is then the caller's to discard.
    ///
    /// # Errors
    /// As [`Storage::publish`](super::Storage::publish); [`StorageError::Exists`] where something
    /// other than a file has the name. The staging area is then untouched.
    fn replace(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        old: DocumentId,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError>;

    /// Moves a file, or a folder with all that is in it, to a free name. A folder of that name that
    /// holds nothing but folders is removed first: no row knows it, or the caller would not have
    /// chosen the name. The folders above the new name are made. What an earlier call has moved
    /// already is made durable again.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where something else has the new name,
    /// [`StorageError::Lost`] where there is nothing under both names,
    /// [`StorageError::NotAFolder`] where a file has the name of a folder above the new name,
    /// [`StorageError::Unsafe`] where it is neither a file nor a folder, and
    /// [`StorageError::Refused`] with [`Denial::IntoItself`](super::Denial::IntoItself) for a folder
    /// that is to go below itself, or with
    /// [`Denial::OtherFileSystem`](super::Denial::OtherFileSystem) where it would have to be copied.
    /// In each of these nothing has moved.
    fn relocate(&self, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError>;

    /// What lies in that spot; `None` where nothing does.
    ///
    /// # Errors
    /// [`StorageError::Unsafe`] where it is neither a file nor a folder, and as
    /// [`Storage::published`](super::Storage::published).
    fn is_there(&self, user: UserId, spot: &Spot) -> Result<Option<Entry>, StorageError>;

    /// Opens the file that lies in that spot, or that many folders and names below it; `None` where
    /// there is none.
    ///
    /// # Errors
    /// As [`Storage::published`](super::Storage::published).
    fn open_spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<Published>, StorageError>;

    /// Deletes what was removed as that node. `judge` is told the names that lead to each file
    /// from there, none for the node's own file, and says what becomes of it. Folders are deleted
    /// when nothing is left in them. What no document can be is kept without asking. That nothing
    /// is there is fine.
    ///
    /// # Errors
    /// Where something cannot be deleted.
    fn delete_trash(
        &self,
        user: UserId,
        node: NodeId,
        judge: Judge<'_>,
    ) -> Result<Deleted, StorageError>;

    /// Deletes versions that were replaced, and files of these numbers in the quarantine. That one is
    /// not there is fine.
    ///
    /// # Errors
    /// Where one cannot be deleted.
    fn delete_versions(&self, user: UserId, versions: &[DocumentId]) -> Result<(), StorageError>;
}

/// Says what becomes of a file among what was removed.
pub type Judge<'a> = &'a mut dyn FnMut(&[Name]) -> Verdict;
