//! Ends uploads that the operator has cancelled, those of users who were removed, and those that
//! have grown beyond a quota; forgets uploads that ended long ago.
//!
//! The commands of the operator change the catalog beside the server, and know nothing of uploads
//! that it has open. So this task looks into the catalog again and again. After a crash the next
//! start finds what is left to do (P4).

use crate::audit::AuditAction;
use crate::background::blocking;
use crate::end;
use crate::error::Error;
use crate::log;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::uploads;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use towline_state::CatalogError;
use towline_state::catalog::{CancelledBy, EndedKept};
use towline_types::Timestamp;
use towline_upload::Phase;

/// The time between two looks. An upload ends at most this time after the command that cancels it.
const EVERY: Duration = Duration::from_secs(5);

/// How long an upload is known that has ended without a document, so that its client learns why.
const ENDED_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How many of them are known for each user. One takes about 1.8 KB of the catalog, and without a
/// limit one user could make two thousand in a second (P6).
const ENDED_KEPT_COUNT: u32 = 1000;

/// How many uploads are looked at in one transaction.
const PAGE: u32 = 1000;

/// The number of looks in an hour. Once in so many, uploads are forgotten for their age.
const LOOKS_AN_HOUR: u32 = 720;

/// How long the task rests after a fault: what stands against it stays as a rule, and must not fill
/// the log.
const REST: Duration = Duration::from_secs(60);

/// Looks at once and then again and again, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in (0..LOOKS_AN_HOUR).cycle() {
        every.tick().await;
        let here = Arc::clone(&shared);
        let done = blocking(&shared.tracker, "the tidying of uploads panicked", move || {
            let ended = cancel(&here).and_then(|()| end_beyond_quota(&here));
            let is_due = look == 0 || here.ended_uploads.take(ENDED_KEPT_COUNT);
            ended.and(if is_due { forget_ended(&here) } else { Ok(()) })
        });
        if let Some(Err(error)) = done.await {
            tracing::warn!(error = log::chain(&error), "uploads could not be tidied up");
            tokio::time::sleep(REST).await;
        }
    }
}

/// Ends what is to be cancelled. What is just being published gets its name all the same. The first
/// fault ends the pass. Blocks.
fn cancel(shared: &Shared) -> Result<(), Error> {
    let found = shared.catalog.to_cancel(PAGE).wait()?;
    let has_found = !found.is_empty();
    for (id, by) in found {
        let why = match by {
            CancelledBy::Operator => "the server's operator has cancelled it",
            CancelledBy::RemovalOfUser => "its user was removed",
        };
        match end::give_up(shared, id, Phase::Cancelled, why, MayBlock::on_own_thread()) {
            Ok(()) => end::observe_end(shared, id, AuditAction::Cancel, why),
            // The client may have ended it meanwhile.
            Err(Error::Refused(_) | Error::StillPublishing) => {}
            Err(error) => return Err(error),
        }
        if shared.stopping.is_cancelled() {
            return Ok(());
        }
    }
    if has_found {
        shared.catalog.forget_cancellations().wait()?;
    }
    Ok(())
}

/// Fails uploads whose length is not known yet, where their user has more than the quota allows. All
/// other uploads are refused before a byte of them has come. The first fault ends the pass. Blocks.
fn end_beyond_quota(shared: &Shared) -> Result<(), Error> {
    for (id, refusal) in shared.catalog.beyond_quota(PAGE).wait()? {
        let may_block = MayBlock::on_own_thread();
        match uploads::fail(shared, id, Error::Catalog(refusal), may_block) {
            // The answer is the reason that was given, or that the upload is being published.
            Ok(()) | Err(Error::Catalog(CatalogError::Refused(_)) | Error::StillPublishing) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Forgets ended uploads that are not kept any longer. Blocks.
fn forget_ended(shared: &Shared) -> Result<(), Error> {
    let kept_ms = u64::try_from(ENDED_KEPT.as_millis()).unwrap_or(u64::MAX);
    // Where the clock is not trusted, age counts for nothing.
    let since = match shared.clock_trust.is_trusted() {
        true => shared.clock().now().get().saturating_sub(kept_ms),
        false => 0,
    };
    let since = Timestamp::try_from(since).unwrap_or(Timestamp::MIN);
    let kept = EndedKept { since, count: ENDED_KEPT_COUNT };
    // With the wishes about uploads that have ended by themselves.
    shared.catalog.forget_cancellations().wait()?;
    let mut behind = Some(i64::MIN);
    while let Some(after) = behind
        && !shared.stopping.is_cancelled()
    {
        behind = shared.catalog.forget_ended(kept, after, PAGE).wait()?;
    }
    Ok(())
}
