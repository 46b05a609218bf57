//! Reading: completed documents are given out, a piece at a time.
//!
//! Each session has one reader, which does the reads of the session one after another, in the order
//! in which they were asked for. It is no writer: uploads of the same session do not wait for it,
//! and it does not wait for them. It reads on a blocking thread for as long as there is room for
//! what it reads, and without a thread it waits for the next request, or for its client to take what
//! was read.
//!
//! - P2: a file is given out as a document only where its stamp is the one that the catalog knows,
//!   or after it was read and compared with the hash. The stamp is looked at once more after each
//!   piece.
//! - P5: a file that is found to be another one is named in the log and never given out as good.
//! - P6: what waits for slow clients takes a bounded part of the pool, see [`room`].

mod block_values;
mod document_file;
mod file_handle;
mod reader;
pub(crate) mod room;

use crate::command::ReadRequest;
use crate::event::{EventKind, Tag};
use crate::large_reads;
use crate::rejection::{Rejection, RejectionKind};
pub(crate) use file_handle::open_file;
pub(crate) use reader::Reader;
use reader::{Given, Wants};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use towline_state::catalog::Node;
use towline_types::{DocumentId, Offset};

/// How many reads of one session may be asked for and not be over.
pub const READS_MAX: usize = 256;

/// The reads of one session.
pub(crate) struct Reads {
    places: Arc<Semaphore>,
    /// To the reader, once there was a read.
    queue: Option<mpsc::UnboundedSender<QueuedRead>>,
}

/// A read that was asked for.
pub(crate) struct QueuedRead {
    tag: Tag,
    request: ReadRequest,
    /// The document, once it is known.
    id: Option<DocumentId>,
    /// The file, where the request names one.
    node: Option<Box<Node>>,
    place: OwnedSemaphorePermit,
}

impl Reads {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(READS_MAX)), queue: None }
    }

    /// Queues a read. `reader` makes the reader at the first one.
    ///
    /// # Errors
    /// `TooMany` where [`READS_MAX`] reads are not over.
    pub(crate) fn push(
        &mut self,
        tag: Tag,
        request: ReadRequest,
        reader: impl FnOnce(mpsc::UnboundedReceiver<QueuedRead>) -> Reader,
    ) -> Result<(), Rejection> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let kind = RejectionKind::TooMany { max: READS_MAX as u64 };
            let message = "too many reads at the same time on one connection; take the answers of \
                           the first ones before you ask for more";
            return Err(Rejection::new(kind, message));
        };
        let queue = self.queue.get_or_insert_with(|| {
            let (queue, requests) = mpsc::unbounded_channel();
            let reader = reader(requests);
            let tracker = reader.shared.tracker.clone();
            tracker.spawn(run(reader));
            queue
        });
        // The reader has ended only where the session comes to its end.
        let _ = queue.send(QueuedRead { tag, request, id: None, node: None, place });
        Ok(())
    }

    /// Waits until all reads that were asked for are over, and the door has taken their ends; or
    /// until their reader has ended. Cancel-safe.
    pub(crate) async fn over(&self) {
        let places = u32::try_from(READS_MAX).expect("a small number");
        let _ = self.places.acquire_many(places).await;
    }
}

/// Has the reader do what it can, and waits for what it needs, until the session gives no answers
/// any more, or its door takes none.
async fn run(mut reader: Reader) {
    let (ending, events) = (reader.ending.clone(), reader.events.clone());
    let receiver = events.clone();
    let work = async {
        loop {
            let Some(given) = wait_for_what(&mut reader).await else { return };
            let tracker = reader.shared.tracker.clone();
            let working = tracker.spawn_blocking(move || {
                reader.work(given);
                reader
            });
            reader = match working.await {
                Ok(reader) => reader,
                Err(error) if error.is_panic() => {
                    return events.send(Tag(0), None, EventKind::Panicked);
                }
                // The runtime ends.
                Err(_) => return,
            };
        }
    };
    tokio::select! {
        biased;
        () = ending.cancelled() => {}
        () = receiver.closed() => {}
        () = work => {}
    }
}

/// What the reader wants; none where nothing is to be read any more.
async fn wait_for_what(reader: &mut Reader) -> Option<Given> {
    Some(match reader.wants() {
        Wants::Request => Given::Request(reader.requests.recv().await?),
        Wants::Room { bytes } => Given::Buffer(reader.room.take(bytes).await),
        Wants::Permit => {
            let mut say = reader.says_read();
            let ending = reader.ending.clone();
            let permit = large_reads::permit(&reader.shared, ending, move || say(Offset::ZERO));
            Given::Permit(permit.await?)
        }
    })
}
