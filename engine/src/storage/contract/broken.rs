//! Negative controls: stores that break the contract in one point, and the body that fails for
//! each. A body that passes whatever the store does would show nothing.

use super::power_cut::CutOff;
use super::{CAPACITY_BYTES, Subject, deleting, discarding, folders, latching, power_cut};
use super::{publishing, reading, relocating, replacing, restarting, space, whole};
use crate::storage::{
    Deleted, Entry, GoesOn, Judge, Latch, Loss, MemoryStorage, Publishable, Published, Put, Spot,
    Staged, Staging, Storage, StorageError, Synced, TreeStorage, Verdict,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, Name, NodeId, Offset, UserId};

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
    /// A folder is made only when a document comes into it.
    MakesNoFolders,
    /// A version that is replaced is not kept.
    DropsVersions,
    /// A power cut takes the last move or replacement back.
    ForgetsMoves,
    /// What is moved goes over what has the new name.
    MovesOver,
    /// Of a folder only the name is moved.
    LeavesContents,
    /// A move that was made already is refused.
    MovesOnce,
    /// A file is deleted whatever the caller says of it.
    DeletesStrangers,
    /// What is deleted stays.
    KeepsDeleted,
}

struct Broken {
    storage: BrokenStorage,
}

struct BrokenStorage {
    inner: MemoryStorage,
    fault: Fault,
    latch: Latch,
    /// The store before the last move or replacement.
    before_move: Mutex<Option<MemoryStorage>>,
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
        let (latch, before_move) = (Latch::default(), Mutex::default());
        Self { storage: BrokenStorage { inner, fault, latch, before_move } }
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
        let BrokenStorage { inner, fault, before_move, .. } = self.storage;
        let before_move = before_move.into_inner().unwrap();
        let left = match (fault, before_move) {
            (Fault::ForgetsNames, _) => MemoryStorage::new(CAPACITY_BYTES),
            (Fault::ForgetsMoves, Some(before)) => before.after_power_cut(),
            _ => inner.after_power_cut(),
        };
        Self::over(left, fault)
    }
}

impl BrokenStorage {
    fn remember(&self) {
        *self.before_move.lock().unwrap() = Some(self.inner.after_kill());
    }

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

impl TreeStorage for BrokenStorage {
    fn make_folder(&self, user: UserId, folder: &DocumentPath) -> Result<(), StorageError> {
        match self.fault {
            Fault::MakesNoFolders => self.inner.check_folder(user, folder),
            _ => self.inner.make_folder(user, folder),
        }
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
        self.remember();
        let put = self.inner.replace(id, user, path, old, blake3, goes_on)?;
        if self.fault == Fault::DropsVersions {
            self.inner.delete_versions(user, &[old])?;
        }
        Ok(put)
    }

    fn relocate(&self, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError> {
        self.remember();
        let is_any = |spot| self.inner.is_there(user, spot).map(|found| found.is_some());
        match self.fault {
            Fault::MovesOver if is_any(from)? && is_any(to)? && from != to => {
                let over = Spot::Trash(NodeId::MAX);
                self.inner.relocate(user, to, &over)?;
                self.inner.relocate(user, from, to)?;
                self.inner.delete_trash(user, NodeId::MAX, &mut |_| Verdict::Delete).map(drop)
            }
            Fault::LeavesContents if self.inner.is_there(user, from)? == Some(Entry::Folder) => {
                let Spot::Living(to) = to else { return self.inner.relocate(user, from, to) };
                self.inner.make_folder(user, to)
            }
            Fault::MovesOnce if !is_any(from)? => Err(StorageError::Lost(Loss::Missing)),
            _ => self.inner.relocate(user, from, to),
        }
    }

    fn is_there(&self, user: UserId, spot: &Spot) -> Result<Option<Entry>, StorageError> {
        self.inner.is_there(user, spot)
    }

    fn open_spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<Published>, StorageError> {
        self.inner.open_spot(user, spot, below)
    }

    fn delete_trash(
        &self,
        user: UserId,
        node: NodeId,
        judge: Judge<'_>,
    ) -> Result<Deleted, StorageError> {
        match self.fault {
            Fault::KeepsDeleted => Ok(Deleted::All),
            Fault::DeletesStrangers => self.inner.delete_trash(user, node, &mut |below| {
                judge(below);
                Verdict::Delete
            }),
            _ => self.inner.delete_trash(user, node, judge),
        }
    }

    fn delete_versions(&self, user: UserId, versions: &[DocumentId]) -> Result<(), StorageError> {
        match self.fault {
            Fault::KeepsDeleted => Ok(()),
            _ => self.inner.delete_versions(user, versions),
        }
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
    (folders::a_folder_is_made_and_found, Fault::MakesNoFolders),
    (replacing::a_replaced_version_is_kept_and_the_name_has_the_new_bytes, Fault::DropsVersions),
    (relocating::a_folder_moves_with_all_that_is_in_it, Fault::LeavesContents),
    (relocating::nothing_is_moved_over_what_is_there, Fault::MovesOver),
    (relocating::a_move_is_made_once_however_often_it_is_called, Fault::MovesOnce),
    (relocating::what_was_removed_is_restored, Fault::LeavesContents),
    (power_cut::what_was_moved_stays_moved, Fault::ForgetsMoves),
    (power_cut::what_was_replaced_stays_replaced, Fault::ForgetsMoves),
    (deleting::what_the_caller_knows_is_deleted_and_nothing_else, Fault::DeletesStrangers),
    (deleting::what_is_deleted_is_gone_also_where_it_is_deleted_again, Fault::KeepsDeleted),
    (deleting::versions_are_deleted_one_by_one, Fault::KeepsDeleted),
    (latching::a_closed_store_moves_and_deletes_nothing, Fault::IgnoresLatch),
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
