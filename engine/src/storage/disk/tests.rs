//! What is true of a disk alone. The contract that every store keeps is tested in
//! `storage/contract/`.

mod deferred;
mod deleting;
mod links;
mod publishing;
mod relocating;
mod replacing;
mod set_aside;
mod space;
mod tampering;
mod whole;

use super::DiskStorage;
use crate::storage::directory::sync_log;
use crate::storage::{
    DataFolder, FolderLock, Loss, Put, Spot, Staging, Storage as _, StorageError,
};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, NodeId, Offset, UserId};

struct Disk {
    storage: DiskStorage,
    lock: FolderLock,
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let lock = DataFolder::open(folder.path()).unwrap().lock().unwrap();
        Self { storage: DiskStorage::new(&lock, 0), lock, folder }
    }

    /// As a killed process leaves it and the next one finds it.
    fn restarted(self) -> Self {
        let Self { storage, lock, folder } = self;
        drop((storage, lock));
        Self::in_folder(folder)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("uploads").join(path)
    }

    fn staging(&self, id: u64) -> PathBuf {
        self.at(".staging").join(format!("{id}.tmp"))
    }

    /// Which of these folders this thread has synced since the last call, in that order.
    fn synced<'a>(&self, folders: &[&'a str]) -> Vec<&'a str> {
        let paths: Vec<_> = folders.iter().map(|folder| self.at(folder)).collect();
        let named: Vec<_> =
            folders.iter().copied().zip(paths.iter().map(PathBuf::as_path)).collect();
        sync_log::take(&named)
    }

    /// Publishes new bytes there.
    fn put_bytes(&self, number: u64, at: &str, bytes: &[u8]) {
        self.upload(number, bytes);
        put(&self.storage, id(number), &path(at)).unwrap();
    }

    fn upload(&self, number: u64, bytes: &[u8]) -> Arc<dyn Staging> {
        let staging = self.storage.create(id(number), size(bytes.len() as u64)).unwrap();
        staging.write_all_at(bytes, Offset::ZERO).unwrap();
        staging.sync_data().unwrap();
        staging
    }
}

fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).unwrap()
}

/// Publishes on the usual file system, where nothing is copied.
fn put(storage: &DiskStorage, id: DocumentId, path: &DocumentPath) -> Result<(), StorageError> {
    let put = storage.publish(id, user(), path, any_hash(), &mut |_| false);
    put.map(|put| assert_eq!(put, Put::InPlace))
}

fn node(number: u64) -> NodeId {
    NodeId::try_from(number).unwrap()
}

fn living(text: &str) -> Spot {
    Spot::Living(path(text))
}

fn user() -> UserId {
    UserId::try_from(5).unwrap()
}

fn size(bytes: u64) -> FileSize {
    FileSize::try_from(bytes).unwrap()
}

fn offset(bytes: u64) -> Offset {
    Offset::try_from(bytes).unwrap()
}

fn any_hash() -> FileHash {
    // Looked at where the file has to be copied, and nowhere here.
    towline_types::file_hash::hash_file(FileSize::MIN, [])
}

fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

fn loss<T>(answer: Result<T, StorageError>) -> Option<Loss> {
    match answer {
        Err(StorageError::Lost(loss)) => Some(loss),
        _ => None,
    }
}
