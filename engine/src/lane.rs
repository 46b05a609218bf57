//! Blocking work, done in order and away from the async threads.
//!
//! A lane is a queue, and a handler of the work in it: a serial executor (asio calls it a strand).
//! Long work is done on a blocking thread that the lane has while its queue has work. Short work is
//! done by the [`WorkerPool`] of all lanes, for many lanes at a time: a thousand small files must
//! not wake a thread a thousand times for each step. An idle lane costs no thread.

use crate::may_block::MayBlock;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use tokio_util::task::TaskTracker;
use towline_state::turns::Turns;
use towline_types::UserId;

/// Does the work of a lane.
pub(crate) trait Handler: Send + 'static {
    /// One piece of work, as it is queued.
    type Work: Send + 'static;
    /// Work that was begun and is not done.
    type Continuation: Send + 'static;

    /// Whether the work is done so soon, as a rule, that other lanes may wait for it.
    fn is_short(work: &Self::Work) -> bool;

    /// Takes the next work from the queue, together with queued work that belongs to it.
    fn take(queue: &mut VecDeque<Self::Work>) -> Option<Self::Work> {
        queue.pop_front()
    }

    /// Does the work up to the first answer that it has to wait for. `may_block` is given if the
    /// thread serves this lane alone.
    fn begin(
        &mut self,
        work: Self::Work,
        may_block: Option<MayBlock>,
    ) -> Outcome<Self::Continuation>;

    /// Waits for that answer, and does the next part of the work.
    fn resume(
        &mut self,
        continuation: Self::Continuation,
        may_block: Option<MayBlock>,
    ) -> Outcome<Self::Continuation>;

    /// Whether nothing is lost if the lane is dropped now.
    fn is_vacant(&self) -> bool;

    /// A flag that the handler raises in the middle of a step, once [`Self::is_vacant`] is true and
    /// the rest of the step cannot change that: before it sends the answer after which a client may
    /// use the tag of the writer again. The lane lowers the flag when it takes the next work.
    fn vacated(&self) -> Arc<AtomicBool> {
        Arc::default()
    }

    /// [`Self::begin`] or [`Self::resume`] has panicked. The work that is still queued is handled
    /// all the same.
    fn panicked(&mut self);
}

/// What follows a step.
#[must_use]
pub(crate) enum Outcome<B> {
    /// The work is done: the next one in the queue follows.
    Done,
    /// The work goes on, after the steps of the other lanes of the batch.
    Continue(B),
    /// The work goes on, on a thread of its own, because other lanes must not wait for it. If the
    /// lane has its own thread already, it just goes on.
    NeedsThread(B),
    /// The work goes on, on a thread of its own, once the future is ready. No thread waits for
    /// that.
    After(Waiting<B>),
}

/// What is waited for before a lane goes on.
pub(crate) type Waiting<B> = Pin<Box<dyn Future<Output = B> + Send>>;

/// See the module's description.
pub(crate) struct Lane<H: Handler> {
    state: Arc<LaneState<H>>,
    workers: Arc<WorkerPool<H>>,
}

struct LaneState<H: Handler> {
    user: UserId,
    queue: Mutex<Queue<H::Work>>,
    /// Locked by the one thread that is running the lane.
    handler: Mutex<H>,
    /// See [`Handler::vacated`].
    vacated: Arc<AtomicBool>,
}

struct Queue<W> {
    waiting: VecDeque<W>,
    running: bool,
}

/// Threads for the short work of all lanes.
pub(crate) struct WorkerPool<H: Handler> {
    state: Mutex<PoolState<H>>,
    tracker: TaskTracker,
}

struct PoolState<H: Handler> {
    /// Lanes whose next work is short. Users take turns: a thousand lanes of one do not hold up the
    /// lane of another.
    lanes: Turns<UserId, Arc<LaneState<H>>>,
    threads: usize,
    /// A thread was asked for, and has not taken lanes yet.
    worker_requested: bool,
}

/// How many commands a lane does in one turn, before it goes to the end of the queue of lanes: one
/// busy upload must not keep a thread from the others.
const COMMANDS_PER_TURN: usize = 16;

/// How many lanes a worker serves together: as many as can share a commit of the catalog.
const LANES_PER_BATCH: usize = 128;

/// How many worker threads there are at most. As a rule one or two are busy; the others are needed
/// when the disk makes those wait.
const THREADS: usize = 16;

impl<H: Handler> Lane<H> {
    /// An empty lane for work of that user.
    pub(crate) fn new(user: UserId, handler: H, workers: Arc<WorkerPool<H>>) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: false });
        let vacated = handler.vacated();
        Self {
            state: Arc::new(LaneState { user, queue, handler: Mutex::new(handler), vacated }),
            workers,
        }
    }

    /// Adds work. Returns at once.
    pub(crate) fn push(&self, work: H::Work) {
        self.push_without_wake(work);
        self.wake();
    }

    /// Adds work, when the caller is about to add more: it [wakes](Self::wake) the lane afterwards.
    pub(crate) fn push_without_wake(&self, work: H::Work) {
        lock(&self.state.queue).waiting.push_back(work);
    }

    /// Has a thread do the queued work.
    pub(crate) fn wake(&self) {
        let mut queue = lock(&self.state.queue);
        let Some(short) = queue.waiting.front().map(H::is_short) else { return };
        if !std::mem::replace(&mut queue.running, true) {
            drop(queue);
            self.workers.serve(Arc::clone(&self.state), short);
        }
    }

    /// Whether no work is queued or being done, and the handler holds nothing that would be lost.
    pub(crate) fn is_vacant(&self) -> bool {
        // `running` does not tell that: a client receives the answer of a step before the step
        // ends. The queue is looked at first, because work is taken from it with the handler
        // locked.
        if !lock(&self.state.queue).waiting.is_empty() {
            return false;
        }
        match self.state.handler.try_lock() {
            Ok(handler) => handler.is_vacant(),
            // The flag is lowered while the queue is locked, so a step that has begun since is
            // noticed.
            Err(TryLockError::WouldBlock) => self.state.vacated.load(Ordering::Acquire),
            Err(TryLockError::Poisoned(_)) => false,
        }
    }
}

impl<H: Handler> WorkerPool<H> {
    /// A pool without threads; `tracker` counts those that it uses.
    pub(crate) fn new(tracker: TaskTracker) -> Arc<Self> {
        let state = PoolState { lanes: Turns::default(), threads: 0, worker_requested: false };
        Arc::new(Self { state: Mutex::new(state), tracker })
    }

    /// Has a thread serve a lane that has work.
    fn serve(self: &Arc<Self>, lane: Arc<LaneState<H>>, short: bool) {
        if !short {
            self.lend_thread(lane, None);
            return;
        }
        let mut state = lock(&self.state);
        state.lanes.push(lane.user, lane);
        if !state.worker_requested && state.threads < THREADS {
            state.worker_requested = true;
            state.threads += 1;
            drop(state);
            let worker = Worker { workers: Arc::clone(self), is_on: true };
            self.tracker.spawn_blocking(move || worker.work());
        }
    }

    /// Gives a lane a thread of its own, for work that was begun or for what is
    /// queued.
    fn lend_thread(
        self: &Arc<Self>,
        lane: Arc<LaneState<H>>,
        continuation: Option<H::Continuation>,
    ) {
        let workers = Arc::clone(self);
        self.tracker.spawn_blocking(move || run_alone(&workers, &lane, continuation));
    }

    /// The same, once `waiting` is ready. The lane counts as running meanwhile: queued work waits
    /// until the work that was begun is done.
    fn lend_thread_after(
        self: &Arc<Self>,
        lane: Arc<LaneState<H>>,
        waiting: Waiting<H::Continuation>,
    ) {
        let workers = Arc::clone(self);
        self.tracker.spawn(async move {
            let continuation = waiting.await;
            workers.lend_thread(lane, Some(continuation));
        });
    }

    /// Begins one piece of short work in each lane that has some, and only then goes on with each
    /// of them: so they ask the catalog together, and wait for the same commit.
    fn run_together(self: &Arc<Self>, lanes: Vec<Arc<LaneState<H>>>) {
        let mut under_way: Vec<_> =
            lanes.into_iter().filter_map(|lane| self.follow(lane, Outcome::Done)).collect();
        while !under_way.is_empty() {
            under_way = under_way
                .into_iter()
                .filter_map(|(lane, continuation)| {
                    let outcome = catch_panic(&mut *lock(&lane.handler), |handler| {
                        handler.resume(continuation, None)
                    });
                    self.follow(lane, outcome)
                })
                .collect();
        }
    }

    /// Returns the work if it goes on together with that of other lanes; other work gets a thread
    /// of its own, or waits without one. If the work is done, the next one in the queue begins at
    /// once.
    fn follow(
        self: &Arc<Self>,
        lane: Arc<LaneState<H>>,
        mut outcome: Outcome<H::Continuation>,
    ) -> Option<(Arc<LaneState<H>>, H::Continuation)> {
        if let Outcome::Done = outcome {
            outcome = lane.run_short();
        }
        match outcome {
            Outcome::Continue(continuation) => return Some((lane, continuation)),
            Outcome::NeedsThread(continuation) => self.lend_thread(lane, Some(continuation)),
            Outcome::After(waiting) => self.lend_thread_after(lane, waiting),
            Outcome::Done => self.hand_on(lane),
        }
        None
    }

    /// Has a thread do the work that is still queued, if there is any.
    fn hand_on(self: &Arc<Self>, lane: Arc<LaneState<H>>) {
        if let Some(short) = lane.next_is_short() {
            self.serve(lane, short);
        }
    }
}

/// One worker thread. Its drop takes it out of the count of the pool, however the thread ends, and
/// also if it never began.
struct Worker<H: Handler> {
    workers: Arc<WorkerPool<H>>,
    is_on: bool,
}

impl<H: Handler> Worker<H> {
    /// Works as long as there are lanes.
    fn work(mut self) {
        while let Some(lanes) = self.next_lanes() {
            self.workers.run_together(lanes);
        }
    }

    /// The next lanes to serve. If there are none, the worker ends at once: the next lane asks for
    /// another thread.
    fn next_lanes(&mut self) -> Option<Vec<Arc<LaneState<H>>>> {
        let mut state = lock(&self.workers.state);
        state.worker_requested = false;
        let lanes: Vec<_> =
            std::iter::from_fn(|| state.lanes.pop()).take(LANES_PER_BATCH).collect();
        if lanes.is_empty() {
            state.threads -= 1;
            self.is_on = false;
            return None;
        }
        Some(lanes)
    }
}

impl<H: Handler> Drop for Worker<H> {
    fn drop(&mut self) {
        if self.is_on {
            let mut state = lock(&self.workers.state);
            state.worker_requested = false;
            state.threads -= 1;
        }
    }
}

impl<H: Handler> LaneState<H> {
    /// Does short work until one piece is not done after its first step, for one turn at most.
    fn run_short(&self) -> Outcome<H::Continuation> {
        let mut handler = lock(&self.handler);
        for _ in 0..COMMANDS_PER_TURN {
            let work = {
                let mut queue = lock(&self.queue);
                if !queue.waiting.front().is_some_and(H::is_short) {
                    break;
                }
                self.vacated.store(false, Ordering::Relaxed);
                H::take(&mut queue.waiting).expect("it was there just now")
            };
            match catch_panic(&mut *handler, |handler| handler.begin(work, None)) {
                Outcome::Done => {}
                outcome => return outcome,
            }
        }
        Outcome::Done
    }

    /// Whether the next work is short; none if nothing is queued, and then the lane is idle.
    fn next_is_short(&self) -> Option<bool> {
        let mut queue = lock(&self.queue);
        let next = queue.waiting.front().map(H::is_short);
        queue.running = next.is_some();
        next
    }
}

/// Does the work of a lane on a thread of its own, for one turn.
fn run_alone<H: Handler>(
    workers: &Arc<WorkerPool<H>>,
    lane: &Arc<LaneState<H>>,
    continuation: Option<H::Continuation>,
) {
    let mut handler = lock(&lane.handler);
    let waiting = finish(&mut *handler, continuation.map_or(Outcome::Done, Outcome::Continue));
    if let Some(waiting) = waiting {
        drop(handler);
        return workers.lend_thread_after(Arc::clone(lane), waiting);
    }
    for _ in 0..COMMANDS_PER_TURN {
        let work = {
            let mut queue = lock(&lane.queue);
            lane.vacated.store(false, Ordering::Relaxed);
            let Some(work) = H::take(&mut queue.waiting) else {
                queue.running = false;
                return;
            };
            work
        };
        let outcome = catch_panic(&mut *handler, |handler| {
            handler.begin(work, Some(MayBlock::on_own_thread()))
        });
        if let Some(waiting) = finish(&mut *handler, outcome) {
            drop(handler);
            return workers.lend_thread_after(Arc::clone(lane), waiting);
        }
    }
    drop(handler);
    workers.hand_on(Arc::clone(lane));
}

/// Goes on until the work is done, or has to wait for something: that is returned.
fn finish<H: Handler>(
    handler: &mut H,
    mut outcome: Outcome<H::Continuation>,
) -> Option<Waiting<H::Continuation>> {
    loop {
        outcome = match outcome {
            Outcome::Continue(continuation) | Outcome::NeedsThread(continuation) => {
                catch_panic(handler, |handler| {
                    handler.resume(continuation, Some(MayBlock::on_own_thread()))
                })
            }
            Outcome::After(waiting) => return Some(waiting),
            Outcome::Done => return None,
        };
    }
}

fn catch_panic<H: Handler>(
    handler: &mut H,
    work: impl FnOnce(&mut H) -> Outcome<H::Continuation>,
) -> Outcome<H::Continuation> {
    catch_unwind(AssertUnwindSafe(|| work(handler))).unwrap_or_else(|_| {
        handler.panicked();
        Outcome::Done
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use towline_testkit::user;

    /// Sends a line for each call.
    struct Scribe(char, mpsc::Sender<String>);

    /// Waits `waits` times, and then panics if `panics` says so.
    #[derive(Clone, Copy)]
    struct Job {
        short: bool,
        waits: usize,
        panics: bool,
        alone: bool,
        after: bool,
    }

    const SHORT: Job = Job { short: true, waits: 1, panics: false, alone: false, after: false };

    impl Handler for Scribe {
        type Work = Job;
        type Continuation = Job;

        fn is_short(work: &Job) -> bool {
            work.short
        }

        fn begin(&mut self, work: Job, _: Option<MayBlock>) -> Outcome<Job> {
            let _ = self.1.send(format!("{} begins", self.0));
            self.next(work)
        }

        fn resume(&mut self, continuation: Job, may_block: Option<MayBlock>) -> Outcome<Job> {
            let alone = if may_block.is_some() { " alone" } else { "" };
            let _ = self.1.send(format!("{} goes on{alone}", self.0));
            self.next(Job { waits: continuation.waits - 1, ..continuation })
        }

        fn is_vacant(&self) -> bool {
            true
        }

        fn panicked(&mut self) {
            let _ = self.1.send(format!("{} panicked", self.0));
        }
    }

    impl Scribe {
        fn next(&self, job: Job) -> Outcome<Job> {
            if job.waits > 0 && job.after {
                return Outcome::After(Box::pin(async move {
                    tokio::task::yield_now().await;
                    job
                }));
            }
            if job.waits > 0 {
                return if job.alone { Outcome::NeedsThread(job) } else { Outcome::Continue(job) };
            }
            assert!(!job.panics, "as it was told");
            let _ = self.1.send(format!("{} is done", self.0));
            Outcome::Done
        }
    }

    #[tokio::test]
    async fn lanes_begin_together_and_none_waits_for_another_that_panics() {
        let (log, heard) = mpsc::channel();
        let workers = WorkerPool::new(TaskTracker::new());
        let lanes: Vec<_> = [('a', false), ('b', true), ('c', false)]
            .map(|(name, panics)| {
                let lane = Lane::new(user(1), Scribe(name, log.clone()), Arc::clone(&workers));
                let mut queue = lock(&lane.state.queue);
                queue.waiting.push_back(Job { panics, ..SHORT });
                queue.running = true;
                drop(queue);
                Arc::clone(&lane.state)
            })
            .into();
        workers.run_together(lanes);
        let heard: Vec<_> = heard.try_iter().collect();
        assert_eq!(
            heard.join(", "),
            "a begins, b begins, c begins, a goes on, a is done, b goes on, b panicked, \
             c goes on, c is done"
        );
    }

    #[tokio::test]
    async fn what_takes_long_after_all_holds_nobody_up() {
        let (log, heard) = mpsc::channel();
        let tracker = TaskTracker::new();
        let lane = Lane::new(user(1), Scribe('a', log), WorkerPool::new(tracker.clone()));
        lane.push(Job { alone: true, ..SHORT });
        tracker.close();
        tracker.wait().await;
        let heard: Vec<_> = heard.try_iter().collect();
        assert_eq!(heard.join(", "), "a begins, a goes on alone, a is done");
    }

    #[tokio::test]
    async fn no_thread_waits_for_what_is_to_come_and_nothing_overtakes_it() {
        let (log, heard) = mpsc::channel();
        let tracker = TaskTracker::new();
        let lane = Lane::new(user(1), Scribe('a', log), WorkerPool::new(tracker.clone()));
        for short in [true, false] {
            lane.push(Job { after: true, short, ..SHORT });
            lane.push(SHORT);
        }
        tracker.close();
        tracker.wait().await;
        let heard: Vec<_> = heard.try_iter().collect();
        let heard = heard.join(", ").replace(" alone", "");
        let each = ["a begins, a goes on, a is done"; 4];
        assert_eq!(heard, each.join(", "));
    }

    #[tokio::test]
    async fn what_is_queued_quietly_waits_for_a_word_or_for_more() {
        let (log, heard) = mpsc::channel();
        let tracker = TaskTracker::new();
        let lane = Lane::new(user(1), Scribe('a', log), WorkerPool::new(tracker.clone()));
        lane.push_without_wake(SHORT);
        assert!(tracker.is_empty() && !lane.is_vacant());
        lane.wake();
        lane.wake();
        lane.push_without_wake(SHORT);
        lane.push(Job { short: false, ..SHORT });
        tracker.close();
        tracker.wait().await;
        // Work that was queued without a wake waits for one, if no thread is left that would find
        // it.
        lane.wake();
        tracker.wait().await;
        assert!(lane.is_vacant());
        assert_eq!(heard.try_iter().filter(|line| line == "a is done").count(), 3);
        lane.wake();
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn a_lane_keeps_its_order_whoever_works_for_it() {
        let (log, heard) = mpsc::channel();
        let tracker = TaskTracker::new();
        let workers = WorkerPool::new(tracker.clone());
        let lane = Lane::new(user(1), Scribe('a', log), workers);
        let mut expected = Vec::new();
        for turn in 0..200 {
            let (short, alone) = (turn % 3 != 0, turn % 5 == 0);
            let after = turn % 11 == 0;
            let job = Job { short, waits: turn % 3, panics: turn % 7 == 0, alone, after };
            lane.push(job);
            expected.push("a begins");
            expected.extend((0..job.waits).map(|_| "a goes on"));
            expected.push(if job.panics { "a panicked" } else { "a is done" });
        }
        tracker.close();
        tracker.wait().await;
        assert!(lane.is_vacant());
        let heard: Vec<_> = heard.try_iter().map(|line| line.replace(" alone", "")).collect();
        assert_eq!(heard, expected);
    }
}
