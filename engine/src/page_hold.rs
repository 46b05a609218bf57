//! What holds a writer back until a page of a long answer is on its way.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What ends when a door drops a page of an answer, because the page is on its way to the client.
#[derive(Debug)]
pub struct PageHold {
    /// In the last page: the permits of the request, which are given back then.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
    /// In any other page: its drop tells the writer to make the next page.
    pub(crate) _next: Option<oneshot::Sender<()>>,
}
