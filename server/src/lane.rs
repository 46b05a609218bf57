//! Work that blocks, done in order, away from the async threads.
//!
//! A lane is a queue and somebody who handles what is in it. While the queue has
//! something, one blocking thread is lent to it; an idle lane costs none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::TaskTracker;

/// Who handles a lane's work.
pub(crate) trait Handler: Send + 'static {
    /// One thing to do.
    type Work: Send + 'static;

    /// Does it. May block.
    fn handle(&mut self, work: Self::Work);

    /// Whether nothing is lost if the lane is dropped now.
    fn is_vacant(&self) -> bool;

    /// [`Self::handle`] has panicked. What is queued behind is still handled.
    fn panicked(&mut self);
}

/// See the module's description.
pub(crate) struct Lane<H: Handler> {
    shared: Arc<Shared<H>>,
    tracker: TaskTracker,
}

struct Shared<H: Handler> {
    queue: Mutex<Queue<H::Work>>,
    /// Locked by the one thread that is running the lane.
    handler: Mutex<H>,
}

struct Queue<W> {
    waiting: VecDeque<W>,
    running: bool,
}

/// How many things a lane does before it goes to the end of the line of all
/// lanes: one busy upload must not keep a thread from the others.
const TURN: usize = 16;

impl<H: Handler> Lane<H> {
    /// An empty lane; the tracker knows of the threads it uses.
    pub(crate) fn new(handler: H, tracker: TaskTracker) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: false });
        Self { shared: Arc::new(Shared { queue, handler: Mutex::new(handler) }), tracker }
    }

    /// Adds work. Returns at once.
    pub(crate) fn push(&self, work: H::Work) {
        let mut queue = lock(&self.shared.queue);
        queue.waiting.push_back(work);
        if !std::mem::replace(&mut queue.running, true) {
            run(Arc::clone(&self.shared), self.tracker.clone());
        }
    }

    /// Whether nothing is queued, being done or kept.
    pub(crate) fn is_vacant(&self) -> bool {
        let idle = !lock(&self.shared.queue).running;
        idle && self.shared.handler.try_lock().is_ok_and(|handler| handler.is_vacant())
    }
}

fn run<H: Handler>(shared: Arc<Shared<H>>, tracker: TaskTracker) {
    tracker.clone().spawn_blocking(move || {
        let mut handler = lock(&shared.handler);
        for _ in 0..TURN {
            let work = {
                let mut queue = lock(&shared.queue);
                let Some(work) = queue.waiting.pop_front() else {
                    queue.running = false;
                    return;
                };
                work
            };
            if catch_unwind(AssertUnwindSafe(|| handler.handle(work))).is_err() {
                handler.panicked();
            }
        }
        drop(handler);
        run(shared, tracker);
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
