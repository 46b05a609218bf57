//! Puts right what was found, as far as nothing can be lost by it.
//!
//! Nothing is deleted and nothing overwritten, and each step may be cut off by a
//! crash: the next repair finds what is left to do (P4).

use super::documents::Lies;
use super::{Done, VerifyError, Wrong};
use crate::presence::missing_because;
use crate::storage::{DiskStorage, FolderLock, LocalDisk as _, StorageError, Stray};
use crate::{Clock, failpoint};
use std::ops::Range;
use towline_state::catalog::{Catalog, Document};
use towline_types::BlockIndex;
use towline_upload::Phase;

/// See the module's description. The lock keeps servers out as long as it lives.
#[derive(Debug)]
pub(super) struct Repair {
    storage: DiskStorage,
    catalog: Catalog,
    clock: Clock,
    _lock: FolderLock,
}

impl Repair {
    pub(super) fn new(lock: FolderLock, catalog: Catalog, clock: Clock) -> Self {
        Self { storage: DiskStorage::new(&lock, 0), catalog, clock, _lock: lock }
    }

    /// Puts right what is wrong with the bytes of a row.
    pub(super) fn row(&self, row: &Document, wrong: &Wrong) -> Result<Done, VerifyError> {
        match wrong {
            Wrong::Damaged { .. } => self.damaged(row),
            Wrong::Missing { deserted: false, .. } => self.missing(row),
            Wrong::UploadDamaged { blocks } => self.withdraw(row, blocks),
            _ => Ok(Done::Nothing),
        }
    }

    /// The file first, the row second (P3: a row changes only after what it says is
    /// true on disk). Cut off in between, the document is one whose file is missing.
    fn damaged(&self, row: &Document) -> Result<Done, VerifyError> {
        let (id, owner) = (row.document_id, row.user_id);
        // P2: the name in the final folder is absent again, where it cannot be whole.
        let aside = match Lies::of(row) {
            None => return Ok(Done::Nothing),
            Some(Lies::InPlace(path)) => self.storage.set_damaged_aside(id, owner, path),
            Some(Lies::Kept(spot, below)) => {
                self.storage.set_damaged_kept_aside(id, owner, &spot, below)
            }
        };
        let aside = match aside {
            Ok(aside) => aside,
            Err(StorageError::Lost(_)) => return self.missing(row),
            Err(error) => return Err(error.into()),
        };
        failpoint::reach("repair.set_aside");
        self.give_up(row, "was damaged on the server's disk")?;
        Ok(Done::SetAside(aside))
    }

    fn missing(&self, row: &Document) -> Result<Done, VerifyError> {
        self.give_up(row, "was lost from the server's disk")?;
        Ok(Done::Failed)
    }

    /// The row says so from here on: `SUCCESS` is not said again for bytes that are
    /// not there (P5), a search for the content does not find them, and the owner is
    /// free to send the file again.
    fn give_up(&self, row: &Document, what: &str) -> Result<(), VerifyError> {
        let reason = missing_because(row, what);
        let (id, now) = (row.document_id, self.clock.now());
        match row.phase {
            Phase::Completed => self.catalog.lose(id, reason, now).wait()?,
            _ => self.catalog.finish(id, Phase::Failed, reason, now).wait()?,
        }
        Ok(())
    }

    /// Takes the promise of damaged blocks back, so that their owner is asked for
    /// them again, and for them alone. Their bytes stay until others come: from here
    /// on nothing vouches for them (P5).
    fn withdraw(&self, row: &Document, blocks: &[Range<u64>]) -> Result<Done, VerifyError> {
        let id = row.document_id;
        let mut durable = row.durable_offset.get();
        if row.phase == Phase::Publishing {
            self.catalog.return_to_uploading(id, self.clock.now()).wait()?;
            failpoint::reach("repair.returned");
            // Bytes without a block in the catalog may be the damaged ones: what was
            // promised of the open block is taken back, and what lies beyond is cut
            // off by the next start.
            durable = BlockIndex::at(durable).start();
        }
        if let Some(first) = blocks.first().and_then(|range| BlockIndex::new(range.start)) {
            durable = durable.min(first.start());
        }
        self.catalog.withdraw_blocks(id, blocks.to_vec(), durable).wait()?;
        Ok(Done::Withdrawn)
    }

    /// As every start does: the name belongs to a document to come.
    pub(super) fn out_of_the_way(&self, stray: &Stray) -> Result<Done, VerifyError> {
        Ok(Done::OutOfTheWay(self.storage.set_stray_aside(stray)?))
    }
}
