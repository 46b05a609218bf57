//! Negative controls: stores that break the contract in one point, and the body that fails for
//! each. A body that passes whatever the store does would show nothing.

mod tree;

use super::power_cut::CutOff;
use super::{CAPACITY_BYTES, Subject, deleting, discarding, folders, latching, power_cut};
use super::{publishing, reading, relocating, replacing, restarting, space, whole};
use crate::storage::{
    FileLook, GoesOn, Latch, MemoryStorage, Publishable, Published, Put, ReadAt, Staged, Staging,
    Storage, StorageError,
};
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
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
    /// Bytes are written after those that are there, wherever they belong.
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
    /// A deletion that is to stop goes on.
    NeverStops,
    /// A folder is made over a file, as far as the caller hears.
    MakesFoldersOverFiles,
    /// A document that was opened is whatever has its name when it is read.
    ReadsByName,
    /// What came whole replaces nothing.
    ReplacesWithoutWhole,
    /// A name that is free is not replaced.
    WantsAnOldVersion,
    /// A folder is replaced as well.
    ReplacesFolders,
    /// The old version goes before the new one is looked for.
    KeepsOldFirst,
    /// A file that was moved has its old name too.
    KeepsOldNames,
    /// Documents that come to the old path of a folder go where the folder is now.
    RemembersPaths,
    /// A folder is moved into itself, as far as the caller hears.
    MovesIntoItself,
    /// Of many moves one is not made.
    MissesTheFourthMove,
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
    /// The last move within the folder of a user.
    moved: Mutex<Option<(String, String)>>,
    moves: AtomicU64,
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
        let (latch, before_move, moved) = (Latch::default(), Mutex::default(), Mutex::default());
        let moves = AtomicU64::new(0);
        Self { storage: BrokenStorage { inner, fault, latch, before_move, moved, moves } }
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
        let path = &self.remembered(path);
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
        if self.fault == Fault::ReadsByName
            && let Some(found) = found
        {
            let content = ByName(self.inner.clone(), user, path.clone());
            return Ok(Some(Published::new(found.filesize, found.stamp, Box::new(content))));
        }
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

/// A document that is looked for anew whenever it is read.
#[derive(Debug)]
struct ByName(MemoryStorage, UserId, DocumentPath);

impl ReadAt for ByName {
    fn read_at(&self, buffer: &mut [u8], at: Offset) -> Result<usize, StorageError> {
        let Self(storage, user, path) = self;
        let mut reader = storage.read(*user, path, at..Offset::MAX)?.unwrap();
        Ok(reader.read(buffer).unwrap())
    }

    fn look(&self) -> Result<FileLook, StorageError> {
        let Self(storage, user, path) = self;
        storage.published(*user, path)?.unwrap().look()
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

    fn sync(&self) -> Result<(), StorageError> {
        if self.fault == Fault::SyncsNothing {
            return Ok(());
        }
        self.inner.sync()
    }

    fn length_bytes(&self) -> Result<u64, StorageError> {
        self.inner.length_bytes()
    }

    fn truncate(&self, end: Offset) -> Result<(), StorageError> {
        self.inner.truncate(end)
    }

    fn require_room(&self, filesize: FileSize) -> Result<(), StorageError> {
        self.inner.require_room(filesize)
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
    (folders::a_folder_is_not_made_over_a_file, Fault::MakesFoldersOverFiles),
    (replacing::a_version_that_is_read_goes_on_to_be_read, Fault::ReadsByName),
    (replacing::what_came_whole_replaces_as_well, Fault::ReplacesWithoutWhole),
    (replacing::where_nothing_has_the_name_the_new_bytes_get_it, Fault::WantsAnOldVersion),
    (replacing::a_folder_is_not_replaced, Fault::ReplacesFolders),
    (replacing::what_is_not_staged_replaces_nothing, Fault::KeepsOldFirst),
    (relocating::a_file_moves_and_its_name_is_free, Fault::KeepsOldNames),
    (relocating::documents_that_come_after_a_move_land_where_they_belong, Fault::RemembersPaths),
    (relocating::a_folder_is_not_moved_into_itself, Fault::MovesIntoItself),
    (relocating::moves_at_the_same_time_lose_nothing, Fault::MissesTheFourthMove),
    (deleting::a_deletion_that_was_stopped_goes_on, Fault::NeverStops),
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
