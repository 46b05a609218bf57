//! What the rooms behind a session tell it, to be passed on to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use towline_protocol::Reply;

/// Where so many wait, nobody reads them: how far an upload is it hears later.
const BACKED_UP: usize = 256;

/// Something for the client.
#[derive(Debug)]
pub(crate) enum Event {
    /// A control message; short.
    Reply(Box<Reply>),
    /// How far work is that the client waits for, and that may take long: a control
    /// message. As long as it is said, the client's own silence does not count.
    AtWork(Box<Reply>),
    /// Frames that are encoded already: block lists. They are long, so their
    /// request keeps its place in the queue until they are on their way.
    Frames { frames: Vec<u8>, place: Option<OwnedSemaphorePermit> },
    /// The code behind a channel has panicked; the connection must go.
    Broken,
}

/// The way to one session. What waits in it is bounded: a session takes no more
/// requests while answers wait, long answers are few, and what others have done is
/// passed over while it [is backed up](Self::is_backed_up). Whoever writes to a
/// session that is gone writes to nobody, and that is fine; whoever might still write
/// keeps one that is ending from its end for a moment.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: mpsc::UnboundedSender<Event>,
    waiting: Arc<AtomicUsize>,
}

/// The session's end of [`Events`].
#[derive(Debug)]
pub(crate) struct Heard {
    receiver: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<AtomicUsize>,
}

impl Events {
    pub(crate) fn new() -> (Self, Heard) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Self { sender, waiting: Arc::clone(&waiting) }, Heard { receiver, waiting })
    }

    pub(crate) fn send(&self, event: Event) {
        // Before it is there to be taken, so that the count is never below nothing.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(event);
    }

    pub(crate) fn reply(&self, reply: Reply) {
        self.send(Event::Reply(Box::new(reply)));
    }

    /// Whether so much waits that the next report, which says all that this one would,
    /// is soon enough.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= BACKED_UP
    }
}

impl Heard {
    /// The next one. Cancel-safe: it is taken or still there.
    pub(crate) async fn recv(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await;
        self.taken(event.is_some());
        event
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    fn taken(&self, one: bool) {
        self.waiting.fetch_sub(usize::from(one), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_read_backs_up_and_what_is_read_makes_room() {
        let (events, mut heard) = Events::new();
        let others = events.clone();
        for _ in 0..BACKED_UP {
            assert!(!events.is_backed_up());
            others.send(Event::Broken);
        }
        assert!(events.is_backed_up());
        assert_eq!(heard.len(), BACKED_UP);
        assert!(heard.recv().await.is_some());
        assert!(!events.is_backed_up());
        while heard.len() > 0 {
            heard.recv().await;
        }
        for _ in 0..BACKED_UP {
            assert!(!events.is_backed_up());
            events.send(Event::Broken);
        }
        assert!(events.is_backed_up());
    }
}
