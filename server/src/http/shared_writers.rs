//! Requests that write to the same upload at the same time.
//!
//! Each of them has a writer of its own in the engine. The first one takes the upload over, from
//! whomever it has it, and the others join the lease that the first one got. An entry is there as
//! long as a request for its upload is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use towline_engine::{Account, Begun, Rejection, RejectionKind, ResumeRequest, SendingMode};
use towline_types::{DocumentId, Generation};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct SharedWriters(Arc<Mutex<HashMap<DocumentId, Arc<Entry>>>>);

/// The requests that write to one upload.
#[derive(Debug, Default)]
struct Entry {
    /// The lease that the requests share; held while one of them opens the upload.
    lease: AsyncMutex<Option<Generation>>,
    /// Cancelled when all of these requests are to end.
    end: CancellationToken,
    /// One of them has ended.
    left: Arc<Notify>,
}

/// How long a request waits until those end that it takes the place of.
const END_MAX: Duration = Duration::from_secs(2);

/// What becomes of the requests that write to the upload already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They go on beside this one.
    GoOn,
    /// They end: one of them holds bytes that this one sends again, so its client has given it up.
    End,
}

/// The part of one request in the writers of an upload. To be kept as long as it writes.
#[derive(Debug)]
pub(super) struct Share {
    entries: Arc<Mutex<HashMap<DocumentId, Arc<Entry>>>>,
    id: DocumentId,
    /// Absent once the share is dropped.
    entry: Option<Arc<Entry>>,
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
        others: Others,
    ) -> Result<(Share, Begun), Rejection> {
        if others == Others::End {
            self.end(id).await;
        }
        let (share, entry) = self.enter(id);
        let mut lease = entry.lease.lock().await;
        if let Some(generation) = *lease {
            match account.join(id, generation).await {
                Err(rejection) if is_over(&rejection) => {}
                joined => {
                    return joined.map(|begun| (share, begun));
                }
            }
        }
        let begun = account.resume(ResumeRequest::of(id, SendingMode::RANGES)).await?;
        if let Begun::Uploading(upload) = &begun {
            *lease = upload.lease();
        }
        Ok((share, begun))
    }

    /// Ends the requests that write to an upload. They take back what nobody vouches for, and make
    /// the rest durable; one that does not end in time is taken over from.
    async fn end(&self, id: DocumentId) {
        let entry = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let Some(entry) = entry else { return };
        entry.end.cancel();
        let ended = async {
            loop {
                let left = entry.left.notified();
                if Arc::strong_count(&entry) == 1 {
                    return;
                }
                left.await;
            }
        };
        let _ = timeout(END_MAX, ended).await;
    }

    fn enter(&self, id: DocumentId) -> (Share, Arc<Entry>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::clone(entries.entry(id).or_default());
        let share = Share { entries: Arc::clone(&self.0), id, entry: Some(Arc::clone(&entry)) };
        (share, entry)
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

impl Share {
    /// Cancelled when the request is to end: another one sends its bytes again.
    pub(super) fn end(&self) -> CancellationToken {
        self.entry.as_ref().map(|entry| entry.end.clone()).unwrap_or_default()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let left = Arc::clone(&entry.left);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Given back while the map is locked: so the last one sees that it is the last.
        let is_listed = entries.get(&self.id).is_some_and(|listed| Arc::ptr_eq(listed, &entry));
        drop(entry);
        if is_listed && entries.get(&self.id).is_some_and(|one| Arc::strong_count(one) == 1) {
            entries.remove(&self.id);
        }
        drop(entries);
        left.notify_waiters();
    }
}
