//! Uploads one file.

use super::Client;
use super::work::{Work, Worked};
use crate::document::Document;
use crate::events::{Listener, Receipt};
use crate::failure::Failure;
use crate::item::Sent;
use crate::small_file_batch::item::PriorAttempt;
use crate::transfer::options::PutOptions;
use tokio_util::sync::CancellationToken;

impl Client {
    /// Uploads a file, and continues the upload that an earlier run has begun. A lost connection
    /// is replaced, as often as [`retries`](Self::retries) allows. Returns when the server has
    /// confirmed that it has the same bytes as the local file.
    ///
    /// `cancel` pauses: the client ends the connection in order, and writes to the list of
    /// unfinished uploads how far the upload is.
    ///
    /// # Errors
    /// See [`Failure`]; an upload that can be continued has
    /// [`Exit::Resumable`](crate::Exit::Resumable).
    ///
    /// # Cancel safety
    /// A call that is dropped loses no byte that the server has: the next call continues the
    /// upload. It does not write how far the upload is; `cancel` does.
    pub async fn put(
        &mut self,
        document: &Document,
        options: &PutOptions,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Result<Receipt, Failure> {
        let mut work = Work::new(PriorAttempt::Nothing, self.retries);
        match self.work_on(&mut work, document, options, false, cancel, listener).await {
            Worked::Ended(ended) => match *ended {
                Ok(Sent::File(receipt)) => Ok(receipt),
                Ok(Sent::Made { .. } | Sent::LeftOut(_)) => Err(Failure::Interrupted(None)),
                Err(failure) => Err(failure),
            },
            // A file is put off only where other files wait, and this file is alone.
            Worked::Later(_) => Err(Failure::Interrupted(None)),
        }
    }
}
