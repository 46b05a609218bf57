//! The state file, and the connection to the catalog from which it is written.

use tokio::sync::Notify;
use towline_state::catalog::{Catalog, CatalogError, Document};
use towline_state::state_file::{StateFile, StateFileError};
use towline_types::DocumentId;
use towline_upload::Phase;

/// See the module's description.
pub(crate) struct StateFileCopy {
    pub(super) file: StateFile,
    /// The same catalog over a connection and a thread of its own: no login and no
    /// upload waits while rows are read for the copy.
    looking: Catalog,
    changed: Notify,
}

/// Why the copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateCopyError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The writing was cut off, because the stop writes the file once more.
    #[error("the server stops")]
    Stopping,
}

/// Rows that are in memory at a time.
const PAGE: usize = 256;

impl StateFileCopy {
    /// The copy in that file; `looking` is a connection that only reads the catalog.
    pub(crate) fn new(file: StateFile, looking: Catalog) -> Self {
        Self { file, looking, changed: Notify::new() }
    }

    /// Lets go of the catalog. Nothing is written after that.
    pub(crate) fn close(&self) -> Result<(), CatalogError> {
        self.looking.close().wait()
    }

    /// Calls `show` for every upload that waits for bytes, in the order of the numbers. A row
    /// that cannot be read is left out. Blocks.
    pub(super) fn each_uploading<E: From<CatalogError>>(
        &self,
        mut show: impl FnMut(Document) -> Result<(), E>,
    ) -> Result<(), E> {
        let ids: Vec<DocumentId> = self.looking.uploading_ids().wait()?;
        for page in ids.chunks(PAGE) {
            // The catalog is asked for all rows of a page before the first answer is waited for.
            let rows: Vec<_> = page.iter().map(|id| self.looking.document(*id)).collect();
            for row in rows {
                match row.wait() {
                    // An upload that is being published by now waits for no more bytes.
                    Ok(Some(row)) if row.phase == Phase::Uploading => show(row)?,
                    Ok(_) | Err(CatalogError::BadRow { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The catalog says something new.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Waits until the catalog says something new. Cancel-safe.
    pub(super) async fn until_changed(&self) {
        self.changed.notified().await;
    }
}
