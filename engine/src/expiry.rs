//! Ends unfinished uploads that got no new data for too long (7 days by default), once the
//! clock is trusted: see [`Calendar`](crate::calendar::Calendar).

use crate::failure::Failure;
use crate::log;
use crate::service::Service;
use std::sync::Arc;
use std::time::Duration;
use towline_types::{DocumentId, Timestamp};
use towline_upload::Phase;

/// How often is looked. An upload that has expired in between is refused anyway.
const EVERY: Duration = Duration::from_secs(3600);

/// Looks at once and then every hour, until it is dropped.
pub(crate) async fn run(service: Arc<Service>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let here = Arc::clone(&service);
        match service.tracker.spawn_blocking(move || sweep(&here)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "uploads have expired"),
            Ok(Err(error)) => {
                tracing::warn!(error = log::chain(&error), "expired uploads could not be given up")
            }
            Err(panic) => tracing::error!(%panic, "the expiry sweep panicked"),
        }
    }
}

/// Gives up every upload without a byte for too long; says how many. Blocks.
pub(crate) fn sweep(service: &Service) -> Result<usize, Failure> {
    let patience = service.config.patience;
    let now = service.clock().now();
    let Some(moment) =
        now.get().checked_sub(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX))
    else {
        return Ok(0);
    };
    let moment = Timestamp::try_from(moment).unwrap_or(now);
    let why = format!("no byte came for {} days", patience.as_secs() / 86_400);
    let (mut count, mut after) = (0, None);
    loop {
        let quiet = service.catalog.quiet_since(moment, after, PAGE).wait()?;
        if !quiet.is_empty() && !service.calendar.is_believed() {
            tracing::info!(
                "uploads look overdue; they are kept until the clock has run evenly for half a day"
            );
            return Ok(count);
        }
        let Some(last) = quiet.last() else { return Ok(count) };
        after = Some(*last);
        count += give_up(service, &quiet, now, &why);
    }
}

/// How many uploads are asked for at a time.
const PAGE: u32 = 1000;

/// Gives up those of these uploads that no client has resumed meanwhile; returns their number.
fn give_up(service: &Service, quiet: &[DocumentId], now: Timestamp, why: &str) -> usize {
    let patience = service.config.patience;
    let mut count = 0;
    for &id in quiet {
        let live = service.registry.get(id);
        if live.is_some_and(|live| !live.ask(|upload| upload.has_expired(now, patience))) {
            // A client has just resumed it, or is connected and silent.
            continue;
        }
        match service.give_up(id, Phase::Expired, why) {
            Ok(()) => count += 1,
            Err(error) => {
                tracing::warn!(document_id = %id, error = log::chain(&error), "an upload did not expire")
            }
        }
    }
    count
}
