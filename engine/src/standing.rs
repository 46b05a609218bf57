//! How an engine stands now, as far as its counters do not say it.

use crate::metrics::Standing;
use crate::shared::Shared;
use towline_upload::Phase;

/// Looks at each upload that is open, one after another: each lock is held for a moment. Blocks.
pub(crate) fn of(shared: &Shared) -> Standing {
    let mut standing = Standing {
        uploads_sending: 0,
        uploads_publishing: 0,
        lag_bytes: 0,
        deferred_documents: shared.deferred.count(),
        free_bytes: shared.storage.free_bytes().ok(),
        syncs: shared.metrics.syncs.summary(),
    };
    for active in shared.registry.all() {
        let (phase, is_leased) = active.ask(|upload| (upload.phase(), upload.lease().is_some()));
        match phase {
            Phase::Uploading if is_leased => standing.uploads_sending += 1,
            Phase::Publishing => standing.uploads_publishing += 1,
            _ => {}
        }
        if matches!(phase, Phase::Uploading | Phase::Publishing) {
            let position = active.position();
            let lag = position.received.get().saturating_sub(position.durable.get().get());
            standing.lag_bytes += lag;
        }
    }
    standing
}
