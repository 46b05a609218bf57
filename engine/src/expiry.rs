//! Ends unfinished uploads that received no byte for too long (7 days by default), once the clock
//! is trusted: see [`ClockTrust`](crate::expiry::clock_trust::ClockTrust).

pub(crate) mod clock_trust;

use crate::background::blocking;
use crate::end;
use crate::error::Error;
use crate::log;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::tree;
use std::sync::Arc;
use std::time::Duration;
use towline_types::{DocumentId, Timestamp};
use towline_upload::Phase;

/// The time between two sweeps. An upload that expires in between is refused when a client resumes
/// it.
const EVERY: Duration = Duration::from_secs(3600);

/// Sweeps at once and then every hour, until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let here = Arc::clone(&shared);
        let message = "the expiry sweep panicked";
        match blocking(&shared.tracker, message, move || sweep(&here)).await {
            Some(Ok(0)) | None => {}
            Some(Ok(count)) => tracing::info!(count, "uploads have expired"),
            Some(Err(error)) => {
                tracing::warn!(error = log::chain(&error), "expired uploads could not be given up")
            }
        }
        let here = Arc::clone(&shared);
        match blocking(&shared.tracker, message, move || tree::sweep(&here)).await {
            Some(Ok(swept)) if swept.has_deleted() => {
                let tree::Swept { removed, versions, changes, bytes, .. } = swept;
                tracing::info!(
                    removed,
                    versions,
                    changes,
                    bytes,
                    "what is kept no longer was deleted"
                );
            }
            Some(Ok(_)) | None => {}
            Some(Err(error)) => {
                let error = log::chain(&error);
                tracing::warn!(error, "what is kept no longer could not be deleted");
            }
        }
    }
}

/// Gives up every upload that received no byte for too long; returns how many. Blocks.
pub(crate) fn sweep(shared: &Shared) -> Result<usize, Error> {
    let expire_after = shared.config.expire_after;
    let now = shared.clock().now();
    let Some(moment) =
        now.get().checked_sub(u64::try_from(expire_after.as_millis()).unwrap_or(u64::MAX))
    else {
        return Ok(0);
    };
    let moment = Timestamp::try_from(moment).unwrap_or(now);
    let why = format!("no byte came for {} days", expire_after.as_secs() / 86_400);
    let (mut count, mut after) = (0, None);
    loop {
        let quiet = shared.catalog.quiet_since(moment, after, PAGE).wait()?;
        if !quiet.is_empty() && !shared.clock_trust.is_trusted() {
            tracing::info!(
                "uploads look overdue; they are kept until the clock has run evenly for half a day"
            );
            return Ok(count);
        }
        let Some(last) = quiet.last() else { return Ok(count) };
        after = Some(*last);
        count += give_up(shared, &quiet, now, &why);
    }
}

/// How many uploads the catalog is asked for at a time.
const PAGE: u32 = 1000;

/// Gives up those of these uploads that no client has resumed meanwhile; returns their number.
fn give_up(shared: &Shared, quiet: &[DocumentId], now: Timestamp, why: &str) -> usize {
    let expire_after = shared.config.expire_after;
    let mut count = 0;
    for &id in quiet {
        let active = shared.registry.get(id);
        if active.is_some_and(|active| !active.ask(|upload| upload.has_expired(now, expire_after)))
        {
            // A client has just resumed the upload, or is connected and silent.
            continue;
        }
        match end::give_up(shared, id, Phase::Expired, why, MayBlock::on_own_thread()) {
            Ok(()) => count += 1,
            Err(error) => {
                tracing::warn!(document_id = %id, error = log::chain(&error), "an upload did not expire")
            }
        }
    }
    count
}
