//! Makes those copies to other file systems that no writer makes: see
//! [`volume_copies`](super::volume_copies).

use super::finish_on_request;
use crate::background::blocking;
use crate::error::Error;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use std::sync::Arc;
use towline_types::DocumentId;

/// Finishes the publishings that are left to it, one document after another, until the task is
/// dropped: those that an earlier run began, and those that no writer finishes.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let id = shared.volume_copies.next().await;
        let Ok(permit) = Arc::clone(&shared.large_reads).acquire_owned().await else { return };
        let here = Arc::clone(&shared);
        let finishing = move || {
            let may_block = MayBlock::on_own_thread();
            finish_on_request::finish_in_turn(&here, id, Some(permit), may_block, &mut |_| {})
        };
        let message = "the copy of a document did not come to its end";
        match blocking(&shared.tracker, message, finishing).await {
            Some(Ok(())) | None => {}
            Some(Err(Error::StillPublishing)) => {
                shared.tracker.spawn(again(Arc::clone(&shared), id));
            }
            Some(Err(error)) => shared.summary.fault(Some(id), &error),
        }
    }
}

/// Queues the document for [`run`] once more, because another thread publishes or copies it just now
/// and may leave the rest undone. This waits until that thread may have ended; the row then tells
/// [`run`] whether something is left to do. If the server stops before, the next start finds the
/// row.
async fn again(shared: Arc<Shared>, id: DocumentId) {
    let ended = async {
        tokio::time::sleep(shared.config.timings.report).await;
        shared.volume_copies.over(id).await;
    };
    tokio::select! {
        () = shared.stopping.cancelled() => {}
        () = ended => shared.volume_copies.enqueue_again(id),
    }
}
