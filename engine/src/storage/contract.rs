//! What every implementation of [`Storage`](super::Storage) is held to: a body for each
//! behaviour, which runs on a disk and in memory. [`broken`] has implementations that break the
//! contract in one point each, and shows that a body fails for each of them.

mod broken;
mod deleting;
mod discarding;
mod folders;
mod latching;
mod power_cut;
mod publishing;
mod reading;
mod relocating;
mod replacing;
mod restarting;
mod space;
mod whole;

use super::{
    DataFolder, DiskStorage, FolderLock, Loss, MemoryStorage, Put, Spot, Staging, Storage,
    StorageError,
};
use std::io::Read as _;
use std::sync::Arc;
use tempfile::TempDir;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Name, NodeId, Offset, UserId};

/// A store that can be left as a killed process leaves it.
pub(super) trait Subject: Sized {
    fn storage(&self) -> &dyn Storage;

    /// What the next process opens after this one was killed.
    fn after_kill(self) -> Self;
}

pub(super) struct Disk {
    storage: DiskStorage,
    lock: FolderLock,
    folder: TempDir,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap())
    }

    fn over(folder: TempDir) -> Self {
        let lock = DataFolder::open(folder.path()).unwrap().lock().unwrap();
        Self { storage: DiskStorage::new(&lock, 0), lock, folder }
    }
}

impl Subject for Disk {
    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn after_kill(self) -> Self {
        let Self { storage, lock, folder } = self;
        drop((storage, lock));
        Self::over(folder)
    }
}

pub(super) struct Memory(MemoryStorage);

/// More than the tests put into a store.
const CAPACITY_BYTES: u64 = 1 << 30;

impl Memory {
    pub(super) fn new() -> Self {
        Self(MemoryStorage::new(CAPACITY_BYTES))
    }
}

impl Subject for Memory {
    fn storage(&self) -> &dyn Storage {
        &self.0
    }

    fn after_kill(self) -> Self {
        Self(self.0.after_kill())
    }
}

/// Makes a test of each of these bodies for every implementation.
macro_rules! on_every_store {
    ($($body:ident),+ $(,)?) => {
        mod disk {
            $(#[test]
            fn $body() {
                super::$body(crate::storage::contract::Disk::new());
            })+
        }
        mod memory {
            $(#[test]
            fn $body() {
                super::$body(crate::storage::contract::Memory::new());
            })+
        }
    };
}
use on_every_store;

fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).unwrap()
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

fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

/// For stores that copy nothing to publish it: only a copy is compared with the hash.
fn any_hash() -> FileHash {
    towline_types::file_hash::hash_file(FileSize::MIN, [])
}

fn loss<T>(answer: Result<T, StorageError>) -> Option<Loss> {
    match answer {
        Err(StorageError::Lost(loss)) => Some(loss),
        _ => None,
    }
}

/// The staging area of an upload with these bytes, durable without its name.
fn upload(storage: &dyn Storage, number: u64, bytes: &[u8]) -> Arc<dyn Staging> {
    let staging = storage.create(id(number), size(bytes.len() as u64)).unwrap();
    staging.write_all_at(bytes, Offset::ZERO).unwrap();
    staging.sync_data().unwrap();
    staging
}

fn put(storage: &dyn Storage, number: u64, place: &str) -> Result<(), StorageError> {
    let goes_on = &mut |_| panic!("nothing is copied here");
    let put = storage.publish(id(number), user(), &path(place), any_hash(), goes_on);
    put.map(|put| assert_eq!(put, Put::InPlace))
}

fn node(number: u64) -> NodeId {
    NodeId::try_from(number).unwrap()
}

fn living(place: &str) -> Spot {
    Spot::Living(path(place))
}

/// Publishes new bytes there.
fn put_bytes(storage: &dyn Storage, number: u64, place: &str, bytes: &[u8]) {
    upload(storage, number, bytes);
    put(storage, number, place).unwrap();
}

fn replace(
    storage: &dyn Storage,
    (number, old): (u64, u64),
    place: &str,
    bytes: &[u8],
) -> Result<(), StorageError> {
    upload(storage, number, bytes);
    let goes_on = &mut |_| panic!("nothing is copied here");
    let put = storage.replace(id(number), user(), &path(place), id(old), any_hash(), goes_on);
    put.map(|put| assert_eq!(put, Put::InPlace))
}

/// The bytes of what lies in a spot, or that far below it; `None` where there is none.
fn read_spot(storage: &dyn Storage, spot: &Spot, below: &[&str]) -> Option<Vec<u8>> {
    let below: Vec<_> = below.iter().map(|name| Name::new(*name).unwrap()).collect();
    let published = storage.open_spot(user(), spot, &below).unwrap()?;
    let mut bytes = Vec::new();
    published.into_reader(Offset::ZERO..Offset::MAX).read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// The bytes of a document; `None` where there is none.
fn read(storage: &dyn Storage, place: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let all = Offset::ZERO..offset(1 << 40);
    let mut reader = storage.read(user(), &path(place), all).unwrap()?;
    reader.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}
