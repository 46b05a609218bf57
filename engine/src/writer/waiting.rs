//! What a writer waits for without a thread.

use super::state::OrderedWriter;
use crate::large_reads;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use towline_types::DocumentId;

impl OrderedWriter {
    /// Waits for a permit to read a large file, or for the end of the session. Meanwhile `say` is
    /// called now and then, to tell the client that its request still waits.
    pub(super) fn large_read<S: FnMut() + Send>(
        &self,
        say: S,
    ) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<S> {
        large_reads::permit(&self.shared, self.ending.clone(), say)
    }

    /// Whether a request waits while another thread publishes the document that it names. A
    /// client that has closed its sending half still waits for its answers, so only two things
    /// end the wait: a copy to another file system, which may take long, when the session
    /// ends; and the stop of the engine.
    pub(super) fn may_wait_for(&self, id: DocumentId) -> bool {
        let copies = &self.shared.volume_copies;
        let is_copied = || copies.progress(id).is_some() || copies.waiting(id).is_some();
        !self.ending.is_cancelled() || !(self.shared.stopping.is_cancelled() || is_copied())
    }

    /// Waits until another thread has published a document or copied it to the file system of its
    /// folder, or for the end of the session. Meanwhile the client is told now and then how far the
    /// copy is.
    pub(super) fn published_by_another(
        &self,
        id: DocumentId,
    ) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let (ending, every) = (self.ending.clone(), self.shared.config.timings.report);
        let has_ended = ending.is_cancelled();
        let mut say = self.says_copied(id);
        async move {
            let mut was_under_way = false;
            while let Some(progress) = shared.volume_copies.progress(id) {
                was_under_way = true;
                say(progress);
                tokio::select! {
                    () = shared.volume_copies.over(id) => return,
                    () = ending.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
            }
            // The other thread has not begun a copy yet, or has ended it just now, or the copy
            // waits for its permit.
            if !was_under_way {
                tokio::select! {
                    () = ending.cancelled(), if !has_ended => {}
                    () = shared.stopping.cancelled() => {}
                    () = tokio::time::sleep(every) => {
                        if let Some(progress) = shared.volume_copies.waiting(id) {
                            say(progress);
                        }
                    }
                }
            }
        }
    }
}
