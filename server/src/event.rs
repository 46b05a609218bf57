//! What the rooms behind a session tell it, to be passed on to the client.

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use towline_protocol::Reply;

/// Something for the client.
#[derive(Debug)]
pub(crate) enum Event {
    /// A control message; short.
    Reply(Box<Reply>),
    /// Frames that are encoded already: block lists. They are long, so their
    /// request keeps its place in the queue until they are on their way.
    Frames { frames: Vec<u8>, place: Option<OwnedSemaphorePermit> },
    /// The code behind a channel has panicked; the connection must go.
    Broken,
}

/// The way to one session. What waits in it is bounded: a session takes no more
/// requests while answers wait, and long answers are few. Whoever writes to a
/// session that is gone writes to nobody, and that is fine.
#[derive(Debug, Clone)]
pub(crate) struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }

    pub(crate) fn reply(&self, reply: Reply) {
        self.send(Event::Reply(Box::new(reply)));
    }
}
