//! The permits to read a large file, to copy or to verify it: see
//! [`LARGE_READS_MAX`](crate::publish::volume_copies::LARGE_READS_MAX).

use crate::shared::Shared;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// Waits for a permit, or for the end of the session (`ending`), which gives none. Meanwhile `say`
/// is called now and then, to tell the client that its request still waits.
pub(crate) fn permit<S: FnMut() + Send>(
    shared: &Shared,
    ending: CancellationToken,
    mut say: S,
) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<S> {
    let permits = Arc::clone(&shared.large_reads);
    let every = shared.config.timings.report;
    async move {
        let mut permit = pin!(permits.acquire_owned());
        loop {
            tokio::select! {
                // If there is a permit, it is taken, even if the session has ended: work that was
                // begun goes on without its client, or finds out itself that it is not wanted any
                // more.
                biased;
                permit = &mut permit => return permit.ok(),
                () = ending.cancelled() => return None,
                () = tokio::time::sleep(every) => say(),
            }
        }
    }
}
