//! What has changed in a user's tree: answers from the change log, and waiting for changes.

use super::notifier::ChangeListener;
use super::pieces::LOOKED_UP_AT_A_TIME;
use super::request::{DeltaRequest, PAGE_CHANGES_MAX, Since};
use crate::error::Error;
use crate::rejection::Rejection;
use crate::shared::Shared;
use std::sync::Arc;
use towline_state::catalog::{Cursor, Delta, PAGE_TEXT_BYTES};
use towline_types::{ChangeId, UserId};

/// For a snapshot, at most this many times the pieces are looked up that would fill the answer if
/// nothing was in the trash. What lies in the trash is passed over, so an answer may be empty.
const SNAPSHOT_PIECES: u32 = 8;

/// What has changed since then, without waiting. Blocks.
pub(crate) fn delta(shared: &Shared, user: UserId, request: &DeltaRequest) -> Result<Delta, Error> {
    let limit = request.limit.clamp(1, PAGE_CHANGES_MAX);
    let mut since = match &request.since {
        Since::Nothing => None,
        Since::Cursor(cursor) => Some(*cursor),
        Since::Now => {
            let head = shared.catalog.log_head(user).wait()?;
            let next = Cursor::at(user, &head);
            return Ok(Delta { changes: Vec::new(), next, has_more: false, latest: head.last });
        }
    };
    // One answer has changes of the snapshot, or of the log after it, and not of both.
    let is_snapshot = since.is_none_or(|since| since.is_snapshot());
    let mut pieces = limit.div_ceil(LOOKED_UP_AT_A_TIME) * SNAPSHOT_PIECES;
    let (mut changes, mut left, mut text_bytes) = (Vec::new(), limit, 0);
    loop {
        let wanted = left.min(LOOKED_UP_AT_A_TIME);
        let more = shared.catalog.delta(user, since, wanted).wait()?;
        left = left.saturating_sub(u32::try_from(more.changes.len()).unwrap_or(left));
        text_bytes += more.changes.iter().map(|change| change.node.text_bytes()).sum::<usize>();
        pieces -= 1;
        changes.extend(more.changes);
        let is_enough = left == 0 || text_bytes >= PAGE_TEXT_BYTES || pieces == 0;
        if is_enough || !more.has_more || more.next.is_snapshot() != is_snapshot {
            return Ok(Delta { changes, ..more });
        }
        since = Some(more.next);
    }
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
