//! Blocking work of the tasks that run while an engine is open.

use tokio_util::task::TaskTracker;

/// Does blocking work on a thread of its own. If the work panics, the panic is logged with
/// `message`, and the task that asked for the work goes on. Nothing is returned then, nor if the
/// runtime ends before the work has begun. Not cancel-safe: dropped, the work goes on and its
/// result is lost.
pub(crate) async fn blocking<T: Send + 'static>(
    tracker: &TaskTracker,
    message: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match tracker.spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            if error.is_panic() {
                tracing::error!(%error, "{message}");
            }
            None
        }
    }
}
