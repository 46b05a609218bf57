//! The file of a document, open, for a program that has the engine in its own process.

use super::Account;
use crate::reading;
use crate::rejection::{Rejection, RejectionKind};
use std::fs::File;
use std::sync::Arc;
use towline_types::DocumentId;

/// The file of a completed document, open for reading. Nothing may be written to it: it is the
/// document's own. It may be given a further name elsewhere on its file system.
#[derive(Debug)]
pub struct OpenFile {
    /// The file.
    pub file: File,
    /// Its stamp is the one that the catalog knows, so its bytes are those that were uploaded. Else
    /// another program may have written to it, and its bytes have to be compared with the hash.
    pub is_known: bool,
}

impl Account {
    /// Opens the file of a completed document. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `Internal` where the store has no files.
    pub async fn open_file(&self, id: DocumentId) -> Result<OpenFile, Rejection> {
        let (shared, user) = (Arc::clone(&self.shared), self.user);
        let opening =
            self.shared.tracker.spawn_blocking(move || reading::open_file(&shared, user, id));
        let failed = |why| Rejection::new(RejectionKind::Internal, why);
        let opened = opening.await.map_err(|_| failed("the file could not be opened"))?;
        let opened = opened.map_err(|error| error.rejection())?;
        let (file, is_known) = opened.ok_or_else(|| failed("the store has no files"))?;
        Ok(OpenFile { file, is_known })
    }
}
