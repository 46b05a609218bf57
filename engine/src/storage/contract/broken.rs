//! Negative controls: stores that break the contract in one point, and the body that fails for
//! each. A body that passes whatever the store does would show nothing.

use super::power_cut::CutOff;
use super::{CAPACITY_BYTES, Subject, discarding, latching, power_cut, publishing, reading};
use super::{restarting, space, whole};
use crate::storage::{
    GoesOn, Latch, MemoryStorage, Publishable, Published, Put, Staged, Staging, Storage,
    StorageError, Synced,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Offset, UserId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// A sync succeeds, and has done nothing.
    SyncsNothing,
    /// A published name is not durable.
    ForgetsNames,
    /// A name that is taken is given again, as far as the caller hears.
    GivesTakenNames,
    /// Bytes are written behind those that are there, wherever they belong.
    AppendsAlways,
    /// A document ends a byte early.
    CutsDocuments,
    /// What is discarded stays.
    KeepsDiscarded,
    /// The latch stops nothing.
    IgnoresLatch,
    /// A listing is empty.
    ListsNothing,
    /// What came whole is listed as if something were promised of it.
    HidesWhole,
    /// There is always room.
    ReservesNothing,
    /// Other bytes under the same id are taken for the old ones.
    BelievesEverything,
}

struct Broken {
    storage: BrokenStorage,
}

struct BrokenStorage {
    inner: MemoryStorage,
    fault: Fault,
    latch: Latch,
}

struct BrokenStaging {
    inner: Arc<dyn Staging>,
    fault: Fault,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self::over(MemoryStorage::new(CAPACITY_BYTES), fault)
    }

    fn over(inner: MemoryStorage, fault: Fault) -> Self {
        Self { storage: BrokenStorage { inner, fault, latch: Latch::default() } }
    }
}

impl Subject for Broken {
    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn after_kill(self) -> Self {
        Self::over(self.storage.inner.after_kill(), self.storage.fault)
    }
}

impl CutOff for Broken {
    fn after_power_cut(self) -> Self {
        let BrokenStorage { inner, fault, .. } = self.storage;
        let left = if fault == Fault::ForgetsNames {
            MemoryStorage::new(CAPACITY_BYTES)
        } else {
            inner.after_power_cut()
        };
        Self::over(left, fault)
    }
}

impl BrokenStorage {
    fn staging(&self, inner: Arc<dyn Staging>) -> Arc<dyn Staging> {
        Arc::new(BrokenStaging { inner, fault: self.fault })
    }
}

impl Storage for BrokenStorage {
    fn create(&self, id: DocumentId, filesize: FileSize) -> Result<Arc<dyn Staging>, StorageError> {
        let filesize = if self.fault == Fault::ReservesNothing { FileSize::MIN } else { filesize };
        Ok(self.staging(self.inner.create(id, filesize)?))
    }

    fn create_whole(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError> {
        self.inner.create_whole(id, bytes)
    }

    fn open(&self, id: DocumentId) -> Result<Arc<dyn Staging>, StorageError> {
        Ok(self.staging(self.inner.open(id)?))
    }

    fn publish(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        match self.inner.publish(id, user, path, blake3, goes_on) {
            Err(StorageError::Exists) if self.fault == Fault::GivesTakenNames => Ok(Put::InPlace),
            answer => answer,
        }
    }

    fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Published>, StorageError> {
        let found = self.inner.published(user, path)?;
        if self.fault == Fault::CutsDocuments
            && let Some(found) = found
        {
            let mut bytes = vec![0; usize::try_from(found.filesize.get()).unwrap()];
            found.read_exact_at(&mut bytes, Offset::ZERO)?;
            bytes.pop();
            let id = DocumentId::MIN;
            let cut = MemoryStorage::new(CAPACITY_BYTES);
            cut.create_whole(id, &bytes)?;
            cut.publish(id, user, path, super::any_hash(), &mut |_| true)?;
            return cut.published(user, path);
        }
        Ok(found)
    }

    fn sync_published(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        self.inner.sync_published(user, path)
    }

    fn discard(&self, id: DocumentId) -> Result<(), StorageError> {
        if self.fault == Fault::KeepsDiscarded { Ok(()) } else { self.inner.discard(id) }
    }

    fn discard_whole(&self, id: DocumentId) -> Result<(), StorageError> {
        self.inner.discard_whole(id)
    }

    fn staged(&self) -> Result<Vec<Staged>, StorageError> {
        let mut staged = self.inner.staged()?;
        match self.fault {
            Fault::ListsNothing => staged.clear(),
            Fault::HidesWhole => staged.iter_mut().for_each(|entry| entry.is_whole = false),
            _ => {}
        }
        Ok(staged)
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.inner.free_bytes()
    }

    fn latch(&self) -> &Latch {
        if self.fault == Fault::IgnoresLatch { &self.latch } else { self.inner.latch() }
    }

    fn check_folder(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        self.inner.check_folder(user, path)
    }
}

impl Publishable for BrokenStaging {
    fn file_number(&self) -> u64 {
        self.inner.file_number()
    }

    fn stamp(&self) -> Option<FileStamp> {
        self.inner.stamp()
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.inner.sync_data()
    }
}

impl Staging for BrokenStaging {
    fn write_all_at(&self, bytes: &[u8], at: Offset) -> Result<(), StorageError> {
        let at = match self.fault {
            Fault::AppendsAlways => Offset::ZERO.plus(self.inner.length_bytes()?),
            _ => at,
        };
        self.inner.write_all_at(bytes, at)
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError> {
        self.inner.read_exact_at(buffer, at)
    }

    fn sync(&self) -> Result<Synced, StorageError> {
        if self.fault == Fault::SyncsNothing {
            return Ok(Synced::new(self.inner.file_number()));
        }
        self.inner.sync()
    }

    fn length_bytes(&self) -> Result<u64, StorageError> {
        self.inner.length_bytes()
    }

    fn truncate(&self, end: Offset) -> Result<(), StorageError> {
        self.inner.truncate(end)
    }

    fn reserve(&self, filesize: FileSize) -> Result<(), StorageError> {
        self.inner.reserve(filesize)
    }

    fn find_again(&self) -> Result<u64, StorageError> {
        if self.fault == Fault::BelievesEverything {
            return self.inner.length_bytes();
        }
        self.inner.find_again()
    }
}

type Body = fn(Broken);

/// A body, and the fault for which it fails.
const BODIES: &[(Body, Fault)] = &[
    (power_cut::synced_bytes_are_there, Fault::SyncsNothing),
    (power_cut::published_bytes_are_there, Fault::ForgetsNames),
    (
        publishing::a_name_that_is_taken_keeps_its_file_and_the_upload_its_bytes,
        Fault::GivesTakenNames,
    ),
    (publishing::of_publishes_to_one_name_one_succeeds, Fault::GivesTakenNames),
    (reading::what_is_written_in_any_order_is_read_and_published, Fault::AppendsAlways),
    (reading::a_range_of_a_document_is_read_and_nothing_beside_it, Fault::CutsDocuments),
    (reading::an_open_document_is_the_one_that_was_opened, Fault::CutsDocuments),
    (discarding::discarding_twice_is_fine, Fault::KeepsDiscarded),
    (discarding::other_bytes_under_the_same_id_are_noticed, Fault::BelievesEverything),
    (latching::a_closed_store_refuses_every_change_and_goes_on_reading, Fault::IgnoresLatch),
    (restarting::staging_areas_are_listed_after_a_restart, Fault::ListsNothing),
    (whole::what_came_whole_is_published_or_taken_up_or_discarded, Fault::HidesWhole),
    (
        space::what_does_not_fit_is_refused_with_what_is_missing_and_leaves_nothing,
        Fault::ReservesNothing,
    ),
];

#[test]
fn a_store_without_a_fault_passes_every_body() {
    for (body, _) in BODIES {
        body(Broken::new(Fault::Nothing));
    }
}

#[test]
fn every_fault_fails_the_body_that_is_about_it() {
    for (body, fault) in BODIES {
        let passed = catch_unwind(AssertUnwindSafe(|| body(Broken::new(*fault)))).is_ok();
        assert!(!passed, "a body passes with {fault:?}");
    }
}
