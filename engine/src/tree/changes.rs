//! What has changed in a user's tree: answers from the change log, and waiting for changes.

use super::notifier::ChangeListener;
use super::request::{DeltaRequest, PAGE_CHANGES_MAX, Since};
use crate::error::Error;
use crate::rejection::Rejection;
use crate::shared::Shared;
use std::sync::Arc;
use towline_state::catalog::{Cursor, Delta};
use towline_types::{ChangeId, UserId};

/// What has changed since then, without waiting. Blocks.
pub(crate) fn delta(shared: &Shared, user: UserId, request: &DeltaRequest) -> Result<Delta, Error> {
    let limit = request.limit.clamp(1, PAGE_CHANGES_MAX);
    let since = match &request.since {
        Since::Nothing => None,
        Since::Cursor(cursor) => Some(*cursor),
        Since::Now => {
            let head = shared.catalog.log_head(user).wait()?;
            let next = Cursor::at(user, &head);
            return Ok(Delta { changes: Vec::new(), next, has_more: false, latest: head.last });
        }
    };
    Ok(shared.catalog.delta(user, since, limit).wait()?)
}

/// Waits for changes of a user's tree.
///
/// Changes that come together are told as one: what counts is the number of the last one.
pub struct ChangeWatch {
    pub(super) shared: Arc<Shared>,
    user: UserId,
    listener: ChangeListener,
    /// Something may have changed since the log was last asked.
    is_due: bool,
    /// The last change that was told.
    told: Option<ChangeId>,
}

/// Watches the changes of a user from now on.
pub(crate) fn watch(shared: Arc<Shared>, user: UserId) -> ChangeWatch {
    // Before the first look at the log, so that no change falls in between.
    let listener = shared.notifier.listen(user);
    ChangeWatch { shared, user, listener, is_due: true, told: None }
}

impl ChangeWatch {
    /// The number of the last change: at once for the first time, and from then on when there is a
    /// later one. None where the engine is to end. Cancel-safe: a change that was not returned is
    /// returned by the next call.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn next(&mut self) -> Result<Option<ChangeId>, Rejection> {
        let stopping = self.shared.stopping.clone();
        loop {
            if !self.is_due {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return Ok(None),
                    () = self.listener.changed() => self.is_due = true,
                }
            }
            let head = self.shared.catalog.log_head(self.user).await;
            let last = head.map_err(|error| Error::from(error).rejection())?.last;
            self.is_due = false;
            if self.told.replace(last) != Some(last) {
                return Ok(Some(last));
            }
        }
    }
}
