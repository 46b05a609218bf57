//! Holds what lies on disk against what the catalog promises, byte for byte.
//!
//! Two ways through: from each row to its bytes ([`documents`], [`uploads`]), and
//! from each file to its row ([`strays`]). A server may be at work meanwhile, so
//! whatever looks wrong is looked at again together with its row before it counts.
//! What is found is shown one by one; rows come in pages and files one after the
//! other, so that memory does not grow with their number.
//!
//! Without [`repair`] no file is changed, and no lock is taken. The catalog only learns which
//! files the server must not believe in unread.

mod bytes;
mod documents;
mod finding;
mod repair;
mod strays;
mod uploads;

pub use finding::{Content, Done, Finding, Seen, Subject, Wrong};

use crate::identity::{self, IdentityError};
use crate::storage::{DataFolder, DataFolderScan, FolderError, StorageError};
use crate::{Clock, log};
use bytes::Reader;
use documents::Lies;
use repair::Repair;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_state::catalog::{Catalog, CatalogError, Document, Kept};
use towline_types::{DocumentId, UserId};
use towline_upload::Phase;

/// Why a verification did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The data folder is not the whole store.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The catalog in it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The storage in it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was found cannot be shown, so the rest is not looked at.
    #[error("cannot write to standard output")]
    Show(#[source] io::Error),
}

/// What was gone through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Documents whose bytes were read.
    pub documents: u64,
    /// Unfinished uploads whose bytes were read.
    pub uploads: u64,
    /// Bytes that were read and hashed.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// What was found.
    pub findings: u64,
    /// Those about which a repair can do something.
    pub repairable: u64,
    /// Those about which a repair has done something.
    pub repaired: u64,
}

/// Where findings go, one by one.
type Show<'a> = &'a mut dyn FnMut(&Finding) -> io::Result<()>;

/// The number of rows that are in memory at a time.
const PAGE: u32 = 256;

/// How many times a row is looked at that has changed each time, or whose file was moved each time.
/// After that many looks it is not judged: a server is at work on it.
const LOOKS: usize = 16;

/// What is done about findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are told; no file is changed.
    Look,
    /// The folder is taken for this process alone, and what can be mended without losing anything
    /// is mended.
    Repair,
}

/// Goes through a data folder. Blocks.
///
/// # Errors
/// The folder is no data folder, another program has it ([`Mode::Repair`]), its catalog cannot be
/// opened or read, or `show` failed. A finding is no error.
pub fn verify(data_dir: &Path, mode: Mode, show: Show<'_>) -> Result<Summary, VerifyError> {
    let began = Instant::now();
    identity::require(data_dir)?;
    let folder = DataFolder::find(data_dir)?;
    let (catalog, repair) = if mode == Mode::Repair {
        let lock = folder.lock()?;
        let catalog = open(folder.catalog_path())?;
        (catalog.clone(), Some(Repair::new(lock, catalog, Clock::system())))
    } else {
        (Catalog::open_to_look(folder.catalog_path())?, None)
    };
    let scan = Arc::new(DataFolderScan::of(&folder));
    let summary = Summary::default();
    let reader = Reader::default();
    let catalog_path = folder.catalog_path();
    let mut verification =
        Verification { catalog, catalog_path, scan, repair, show, summary, reader };
    verification.rows()?;
    verification.strays()?;
    let Verification { catalog, repair, mut summary, .. } = verification;
    catalog.close().wait()?;
    // The lock goes last.
    drop(repair);
    summary.took = began.elapsed();
    Ok(summary)
}

/// A repair makes no catalog: by an empty one, no file would belong to a document.
fn open(path: PathBuf) -> Result<Catalog, CatalogError> {
    if path.try_exists().is_ok_and(|exists| exists) {
        Catalog::open(path)
    } else {
        Err(CatalogError::NotThere { path })
    }
}

struct Verification<'a> {
    catalog: Catalog,
    catalog_path: PathBuf,
    scan: Arc<DataFolderScan>,
    repair: Option<Repair>,
    show: Show<'a>,
    summary: Summary,
    reader: Reader,
}

impl Verification<'_> {
    /// From each row to its bytes.
    fn rows(&mut self) -> Result<(), VerifyError> {
        let mut after = None;
        loop {
            let page = self.catalog.documents_after(after, PAGE).wait()?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                match row {
                    Ok(row) => {
                        after = Some(row.document_id);
                        self.row(row)?;
                    }
                    Err(error) => {
                        after = Some(self.unreadable(&error)?);
                    }
                }
            }
        }
    }

    /// One row. What is wrong must be wrong of the row as it is *after* the look:
    /// rows are changed only once what they say is true on disk, so a row that has
    /// not changed meanwhile was held against the bytes that it speaks of.
    ///
    /// A file that is not there may have been elsewhere for a moment, with a folder that is back since:
    /// its row says the same before and after. So it counts as missing only after a look during which
    /// nothing of its user was moved.
    fn row(&mut self, mut row: Document) -> Result<(), VerifyError> {
        match row.phase {
            Phase::Uploading => self.summary.uploads += 1,
            _ => self.summary.documents += 1,
        }
        let mut before = None;
        for _ in 0..LOOKS {
            let wrong = match self.wrong_with(&row) {
                Ok(Some(wrong)) => wrong,
                Ok(None) => return Ok(()),
                Err(VerifyError::Catalog(error)) => return self.unreadable(&error).map(drop),
                Err(VerifyError::Storage(error)) => {
                    let path = Lies::of(&row).map_or_else(
                        || self.scan.staging_path(row.document_id),
                        |lies| self.path_of(&row, &lies),
                    );
                    return self.found_of(&row, path, documents::unreadable(&error));
                }
                Err(error) => return Err(error),
            };
            let again = match self.catalog.document(row.document_id).wait() {
                Ok(Some(again)) => again,
                Ok(None) => return Ok(()),
                Err(error) => return self.unreadable(&error).map(drop),
            };
            let (path, wrong) = wrong;
            let user = row.user_id;
            let (same, is_missing) =
                (says_the_same(&row, &again), matches!(wrong, Wrong::Missing { .. }));
            if same && !(is_missing && self.was_moved(user, before.as_ref())?) {
                return self.found_of(&again, path, wrong);
            }
            before = Some(self.catalog.log_head(user).wait()?);
            row = again;
        }
        Ok(())
    }

    fn wrong_with(&mut self, row: &Document) -> Result<Option<(PathBuf, Wrong)>, VerifyError> {
        match row.phase {
            Phase::Uploading => self.upload(row),
            Phase::Publishing => self.publishing(row),
            Phase::Completed => self.document(row),
            Phase::Failed | Phase::Cancelled | Phase::Expired => Ok(None),
        }
    }

    /// A row that was edited by hand, and that does not read. Only a person can tell what it meant.
    /// Any other error of the catalog ends the verification.
    fn unreadable(&mut self, error: &CatalogError) -> Result<DocumentId, VerifyError> {
        let CatalogError::BadRow { id, owner, .. } = error else {
            return Err(error.clone().into());
        };
        let id = DocumentId::from_i64(*id).map_err(|_| error.clone())?;
        let subject = owner.map(|owner| self.subject(id, owner, Seen::File)).transpose()?;
        let wrong = Wrong::UnreadableRow(error.to_string());
        self.found(Finding { path: None, subject, wrong, done: Done::Nothing })?;
        Ok(id)
    }

    /// Something is wrong with the bytes of a row.
    fn found_of(&mut self, row: &Document, path: PathBuf, wrong: Wrong) -> Result<(), VerifyError> {
        let done = match &self.repair {
            Some(repair) => done_or_refused(repair.row(row, &wrong))?,
            None => self.doubt(row, &wrong),
        };
        if let Done::Refused(_) = done {
            self.doubt(row, &wrong);
        }
        let seen = match row.kept {
            Kept::InPlace => Seen::File,
            Kept::OldVersion => Seen::OlderVersion,
            Kept::InTrash { .. } => Seen::Removed,
        };
        let subject = Some(self.subject(row.document_id, row.user_id, seen)?);
        self.found(Finding { path: Some(path), subject, wrong, done })
    }

    /// A damaged file that looks unchanged is one that the server would say is uploaded,
    /// without a read: the catalog is told not to believe its stamp any more (P5). Nothing
    /// that was promised changes by this, so it needs no repair, and the server may run.
    fn doubt(&self, row: &Document, wrong: &Wrong) -> Done {
        let (Wrong::Damaged { .. } | Wrong::Unreadable(_), Some(stamp)) = (wrong, row.stamp) else {
            return Done::Nothing;
        };
        let found = row.file_path.as_ref().map(|path| self.scan.stamp(row.user_id, path));
        if !matches!(found, Some(Ok(Some(found))) if found.is_known_by(Some(stamp))) {
            return Done::Nothing;
        }
        let doubted = Catalog::open(&self.catalog_path).and_then(|catalog| {
            catalog.doubt_file(row.document_id, stamp).wait()?;
            catalog.close().wait()
        });
        match doubted {
            Ok(()) => Done::Doubted,
            Err(error) => {
                tracing::warn!(
                    document = %row.document_id, %error,
                    "that the file is damaged was not recorded; run this with --repair"
                );
                Done::Nothing
            }
        }
    }

    fn found(&mut self, finding: Finding) -> Result<(), VerifyError> {
        self.summary.findings += 1;
        self.summary.repairable += u64::from(finding.wrong.is_repairable());
        self.summary.repaired += u64::from(finding.done.is_repair());
        (self.show)(&finding).map_err(VerifyError::Show)
    }

    fn subject(
        &self,
        document_id: DocumentId,
        owner: UserId,
        seen: Seen,
    ) -> Result<Subject, VerifyError> {
        // A user whose row does not read keeps the number.
        let name = match self.catalog.user(owner).wait() {
            Ok(user) => user.map(|user| user.name),
            Err(CatalogError::BadRow { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Subject { document_id, owner, name, seen })
    }
}

/// What was done of a repair. What the disk refuses for one row or file says nothing about
/// the others; a catalog that records nothing more ends the repair.
fn done_or_refused(done: Result<Done, VerifyError>) -> Result<Done, VerifyError> {
    match done {
        Err(VerifyError::Storage(error)) => Ok(Done::Refused(log::chain(&error))),
        Err(VerifyError::Catalog(
            error @ (CatalogError::Refused(_) | CatalogError::BadRow { .. }),
        )) => Ok(Done::Refused(log::chain(&error))),
        done => done,
    }
}

/// Whether both speak of the same bytes in the same place.
fn says_the_same(row: &Document, again: &Document) -> bool {
    let speaks_of =
        |row: &Document| (row.phase, row.file_path.clone(), row.kept.clone(), row.blake3);
    speaks_of(row) == speaks_of(again)
}
