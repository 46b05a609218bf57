//! Putting one file.

use super::Client;
use super::work::{Work, Worked};
use crate::document::Document;
use crate::events::{Listener, Receipt};
use crate::failure::Failure;
use crate::small_file_batch::item::PriorAttempt;
use crate::transfer::options::PutOptions;
use tokio_util::sync::CancellationToken;

impl Client {
    /// Uploads a file, however often the connection is lost on the way, and
    /// goes on with what an earlier run has begun. Returns when the server has
    /// confirmed that it has these very bytes.
    ///
    /// `cancel` pauses: the server is told, and the list of uploads too.
    ///
    /// # Errors
    /// See [`Failure`]; what can be resumed has [`Exit::Resumable`](crate::Exit::Resumable).
    pub async fn put(
        &mut self,
        document: &Document,
        options: &PutOptions,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Result<Receipt, Failure> {
        let mut work = Work::new(PriorAttempt::Nothing, self.retries);
        match self.work_on(&mut work, document, options, false, cancel, listener).await {
            Worked::Ended(ended) => *ended,
            // Only a file behind which others wait is put off, and here is one file alone.
            Worked::Later(_) => Err(Failure::Interrupted(None)),
        }
    }
}
