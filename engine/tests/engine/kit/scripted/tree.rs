//! Folders, moves, removed things and replaced versions.

use super::{Call, Scripted};
use towline_engine::storage::{
    Deleted, Entry, GoesOn, Judge, Published, Put, Spot, StorageError, TreeStorage,
};
use towline_types::{DocumentId, DocumentPath, FileHash, Name, NodeId, UserId};

impl TreeStorage for Scripted {
    fn make_folder(&self, user: UserId, folder: &DocumentPath) -> Result<(), StorageError> {
        self.script.around(Call::MakeFolder, || self.inner.make_folder(user, folder))
    }

    fn replace(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        old: DocumentId,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        let replace = || self.inner.replace(id, user, path, old, blake3, goes_on);
        self.script.around(Call::Replace, replace)
    }

    fn relocate(&self, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError> {
        self.script.around(Call::Relocate, || self.inner.relocate(user, from, to))
    }

    fn is_there(&self, user: UserId, spot: &Spot) -> Result<Option<Entry>, StorageError> {
        self.script.around(Call::IsThere, || self.inner.is_there(user, spot))
    }

    fn open_spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<Published>, StorageError> {
        self.script.around(Call::OpenSpot, || self.inner.open_spot(user, spot, below))
    }

    fn delete_trash(
        &self,
        user: UserId,
        node: NodeId,
        judge: Judge<'_>,
    ) -> Result<Deleted, StorageError> {
        self.script.around(Call::DeleteTrash, || self.inner.delete_trash(user, node, judge))
    }

    fn delete_versions(&self, user: UserId, versions: &[DocumentId]) -> Result<(), StorageError> {
        self.script.around(Call::DeleteVersions, || self.inner.delete_versions(user, versions))
    }
}
