//! From each file to its row.
//!
//! A row comes before its file, so a file whose row cannot be found after the file
//! was seen is of no document; unless the file has gone itself in the meantime. Only what came whole
//! has a file first, under a name that says so.

use super::documents::unreadable;
use super::{Done, Finding, Verification, VerifyError, Wrong, done_or_refused};
use crate::storage::{DataFolderScan, FoundFile, FoundPlace, StagedEntry, Stray};
use std::sync::Arc;
use towline_state::catalog::{Catalog, CatalogError};
use towline_types::DocumentId;
use towline_upload::Phase;

/// How often a row is looked for. A file may be moved away and come back between the look at the rows
/// and the look at the disk; that it does so each time is another matter.
const LOOKS: usize = 8;

impl Verification<'_> {
    /// Everything that no row knows.
    pub(super) fn strays(&mut self) -> Result<(), VerifyError> {
        let scan = Arc::clone(&self.scan);
        scan.each_file(|found| self.found_file(&scan, found))?;
        scan.each_staged(|entry| self.staged(&scan, entry))
    }

    /// A file where documents lie, or what was removed or replaced. One without a row is left where
    /// it is, also by a repair: after the loss of a catalog these are all the documents there are,
    /// and the catalog's copy, put back, will look for them exactly there. Nothing serves
    /// them, and nothing is ever written over them (P2).
    fn found_file(&mut self, scan: &DataFolderScan, found: FoundFile) -> Result<(), VerifyError> {
        let FoundFile { path, place, closed } = found;
        let wrong = match (&closed, place) {
            (Some(error), _) => unreadable(error),
            (None, None) => Wrong::NoDocument,
            (None, Some(place)) => {
                for _ in 0..LOOKS {
                    if self.is_known_file(&place)? || !scan.is_there(&path) {
                        return Ok(());
                    }
                }
                Wrong::NoDocument
            }
        };
        if !scan.is_there(&path) {
            return Ok(());
        }
        self.found(Finding { path: Some(path), subject: None, wrong, done: Done::Nothing })
    }

    /// Whether a file has a row, or is just being moved. The intention of a move is there before
    /// the rename, and is deleted together with the change of the rows. So where it is gone, the
    /// second look sees the change.
    fn is_known_file(&self, place: &FoundPlace) -> Result<bool, VerifyError> {
        Ok(self.has_row(place)? || self.is_moving(place.owner())? || self.has_row(place)?)
    }

    fn has_row(&self, place: &FoundPlace) -> Result<bool, VerifyError> {
        let row = match place {
            FoundPlace::Document(user, path) => {
                self.catalog.document_at(*user, path).wait()?.is_some()
            }
            // A replacement that was given up may have left a second name of a current version.
            FoundPlace::Version(user, id) => match self.catalog.document(*id).wait() {
                Ok(row) => {
                    row.is_some_and(|row| row.user_id == *user && row.phase == Phase::Completed)
                }
                Err(CatalogError::BadRow { .. }) => true,
                Err(error) => return Err(error.into()),
            },
            FoundPlace::Quarantined(user, id) => match self.catalog.document(*id).wait() {
                Ok(row) => {
                    row.is_some_and(|row| row.user_id == *user && row.availability.is_quarantined())
                }
                Err(CatalogError::BadRow { .. }) => true,
                Err(error) => return Err(error.into()),
            },
            FoundPlace::Removed(user, root, below) => {
                match self.catalog.in_trash(*user, *root, below).wait() {
                    Ok(row) => row.is_some(),
                    Err(CatalogError::BadRow { .. }) => true,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(row)
    }

    /// Something among the staging files. What a finished row has left there is no
    /// finding, nor is what came whole and has no row yet: the next start takes it away.
    fn staged(&mut self, scan: &DataFolderScan, entry: StagedEntry) -> Result<(), VerifyError> {
        if let Some(upload) = entry.upload
            && (upload.is_whole || is_known(&self.catalog, upload.id)?)
        {
            return Ok(());
        }
        let path = scan.staged_path(&entry.name);
        if !scan.is_there(&path) {
            return Ok(());
        }
        let done = match &self.repair {
            Some(repair) => done_or_refused(repair.out_of_the_way(&Stray { name: entry.name }))?,
            None => Done::Nothing,
        };
        let wrong = Wrong::NoUpload;
        self.found(Finding { path: Some(path), subject: None, wrong, done })
    }
}

fn is_known(catalog: &Catalog, id: DocumentId) -> Result<bool, VerifyError> {
    match catalog.document(id).wait() {
        Ok(row) => Ok(row.is_some()),
        // It was named when the rows were gone through.
        Err(CatalogError::BadRow { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
