//! Which writers write to an upload: takeover, further writers, and a writer that lets go.

use super::ActiveUpload;
use super::reading_back::{hash_open_block, hash_unhashed};
use super::subscriber::{Subscriber, WriterId, torn};
use crate::error::Error;
use crate::event::GrantedBy;
use crate::failpoint;
use crate::may_block::MayBlock;
use std::time::{Duration, Instant};
use towline_state::catalog::Catalog;
use towline_types::{FileSize, Generation, Offset, Timestamp, UserId};
use towline_upload::{Phase, Refusal, ResumeClaim, Upload};

/// How long a takeover waits until the bytes are written that have arrived over the old connection.
const LAST_DATA: Duration = Duration::from_millis(250);

impl ActiveUpload {
    /// Takes the upload over for `writer`. The writer, and all writers that had the lease, are told
    /// while `inner` is locked, so that an event that revokes the new grant cannot be sent before
    /// the grant. Returns nothing if this `ActiveUpload` is retired: then the caller asks the
    /// registry for the newer one.
    pub(crate) fn resume(
        &self,
        claim: &ResumeClaim<'_>,
        writer: Subscriber,
        now: Timestamp,
        expire_after: Duration,
        catalog: &Catalog,
        may_block: MayBlock,
    ) -> Result<Option<WriterId>, Error> {
        let in_flights: Vec<_> =
            self.inner().writers.values().map(|writer| writer.in_flight.clone()).collect();
        let deadline = Instant::now() + LAST_DATA;
        for in_flight in in_flights {
            in_flight.wait(deadline.saturating_duration_since(Instant::now()));
        }
        // A file that has grown changes the row, so the row lock is needed.
        let row_guard = claim.grow.then(|| self.lock_row_unless_publishing(may_block));
        let _row_guard = row_guard.transpose()?;
        let mut inner = self.inner();
        if inner.retired {
            return Ok(None);
        }
        // A staging file that no longer has all bytes that were written is not continued.
        self.staging.check_holds(inner.reach)?;
        if inner.is_torn {
            let inner = &mut *inner;
            inner.hashers = hash_open_block(self.document_id, &*self.staging, &mut inner.upload)?;
            inner.is_torn = false;
            inner.forget_hashed_from(Offset::ZERO);
        }
        hash_unhashed(&*self.staging, &mut inner.upload)?;
        let before = inner.upload.progress().filesize();
        let lease = if claim.grow {
            let mut after = inner.upload.clone();
            let lease = after.resume(claim, now, expire_after)?;
            let has_grown = after.progress().filesize() != before;
            if has_grown {
                self.record_growth(before, &after, catalog)?;
            }
            // At once after the commit, for the reason given in [`Self::withdraw`].
            inner.adopt(after);
            if has_grown {
                failpoint::reach("resume.grown");
            }
            lease
        } else {
            inner.upload.resume(claim, now, expire_after)?
        };
        let open = inner.upload.progress().open_bytes().map(|(index, _)| index);
        inner.hashers.retain(|index, _| Some(*index) == open);
        inner.requests.clear();
        let received = inner.upload.progress().received();
        inner.forget_hashed_from(received);
        let superseded = Error::Refused(Refusal::Superseded).rejection();
        inner.dismiss(self.document_id, &superseded);
        let part = inner.grant(self.document_id, GrantedBy::Resume, lease, writer);
        Ok(Some(part))
    }

    /// Records that the file has become longer than it was when the upload began. `after` has the
    /// new length.
    ///
    /// First it is looked whether there is room, so that a full disk changes nothing. Then one transaction sets
    /// the size. It also takes back the promise of the last block of the shorter file, because that
    /// block does not end there any more. P1 allows that, because the client asked for it, as with
    /// a withdrawal. The bytes of all other blocks stay where they are and are not written again.
    /// If the server crashes before the commit, the upload has its old length; if it crashes after
    /// the commit it has the new one.
    fn record_growth(
        &self,
        before: FileSize,
        after: &Upload,
        catalog: &Catalog,
    ) -> Result<(), Error> {
        let progress = after.progress();
        self.staging.require_room(progress.filesize())?;
        failpoint::reach("resume.growing");
        let kept_blocks = progress.held().last().map_or(0, |(index, _)| index.get() + 1);
        catalog
            .grow(self.document_id, progress.filesize(), kept_blocks, progress.durable())
            .wait()
            .inspect_err(|_| {
                // Nothing is reserved behind the end that the file still has.
                let _ = self.staging.require_room(before);
            })?;
        Ok(())
    }

    /// Adds a writer to those that share the present lease, and tells it while `inner` is locked,
    /// as [`Self::resume`] does. The other writers go on.
    pub(crate) fn join(
        &self,
        user: UserId,
        generation: Generation,
        writer: Subscriber,
    ) -> Result<WriterId, Error> {
        let mut inner = self.inner();
        let lease = inner.upload.join(user, generation)?;
        Ok(inner.grant(self.document_id, GrantedBy::Join, lease, writer))
    }

    /// Removes a writer that has let go of the upload, and returns whether its lease was in force.
    /// Blocks that it has begun and not finished stay as they are, and so do promises of them (P1):
    /// another writer that sends such a block again withdraws it first.
    pub(crate) fn release(&self, id: WriterId) -> bool {
        let mut inner = self.inner();
        if let Some(request) = inner.requests.remove(&id.writer) {
            // It is refused only where the lease has ended, and then the request has ended with it.
            let _ = inner.upload.confirm_request(id.lease, request);
        }
        let in_force = inner.upload.release(id.lease);
        // While a subscriber exists, its session does not end.
        inner.writers.remove(&id.writer);
        if in_force {
            if inner.is_torn {
                // Only a new lease repairs the hashers after a panic.
                inner.upload.revoke();
                inner.dismiss(self.document_id, &torn());
            }
            if inner.upload.lease().is_none() {
                // While `inner` is locked, no other writer writes, and an upload that was retired
                // has no lease and does not get here: so no bytes of another thread are cut off.
                // The file of a document that is being published is not touched any more.
                if inner.upload.phase() == Phase::Uploading {
                    self.staging.give_back_room();
                }
                // No writer is left that knows of blocks begun behind the first block that is not
                // held.
                let open = inner.upload.progress().open_bytes().map(|(index, _)| index);
                inner.hashers.retain(|index, _| Some(*index) == open);
            }
        }
        in_force
    }
}
