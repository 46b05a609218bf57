//! Requests that write to the same upload at the same time.
//!
//! Each of them has a writer of its own in the engine. The first one takes the upload over, from
//! whomever it has it, and the others join the lease that the first one got. An entry is there as
//! long as a request for its upload is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;
use towline_engine::{Account, Begun, Rejection, RejectionKind, ResumeRequest, SendingMode};
use towline_types::{DocumentId, Generation};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct SharedWriters(Arc<Mutex<HashMap<DocumentId, Arc<Entry>>>>);

#[derive(Debug, Default)]
struct Entry {
    /// The lease that the requests share; held while one of them opens the upload.
    lease: AsyncMutex<Option<Generation>>,
}

/// The part of one request in the writers of an upload. To be kept as long as it writes.
#[derive(Debug)]
pub(super) struct Share {
    entries: Arc<Mutex<HashMap<DocumentId, Arc<Entry>>>>,
    id: DocumentId,
    entry: Arc<Entry>,
}

impl SharedWriters {
    /// Opens an upload for one more request. Not cancel-safe: dropped, the upload may have been
    /// taken over, and is paused then.
    ///
    /// # Errors
    /// As [`Account::resume`].
    pub(super) async fn open(
        &self,
        account: &Account,
        id: DocumentId,
    ) -> Result<(Share, Begun), Rejection> {
        let share = self.enter(id);
        let mut lease = share.entry.lease.lock().await;
        if let Some(generation) = *lease {
            match account.join(id, generation).await {
                Err(rejection) if is_over(&rejection) => {}
                joined => {
                    drop(lease);
                    return joined.map(|begun| (share, begun));
                }
            }
        }
        let begun = account.resume(ResumeRequest::of(id, SendingMode::RANGES)).await?;
        if let Begun::Uploading(upload) = &begun {
            *lease = upload.lease();
        }
        drop(lease);
        Ok((share, begun))
    }

    fn enter(&self, id: DocumentId) -> Share {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::clone(entries.entry(id).or_default());
        Share { entries: Arc::clone(&self.0), id, entry }
    }
}

/// Whether another writer has taken the upload over since, or the last one has let go of it.
fn is_over(rejection: &Rejection) -> bool {
    matches!(
        rejection.kind,
        RejectionKind::Superseded
            | RejectionKind::NotShared
            | RejectionKind::NoActiveUpload
            | RejectionKind::WrongPhase { .. }
    )
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // One is the map's, and one is this one's.
        if Arc::strong_count(&self.entry) <= 2 {
            entries.remove(&self.id);
        }
    }
}
