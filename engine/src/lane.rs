//! Work that blocks, done in order, away from the async threads.
//!
//! A lane is a queue and somebody who handles what is in it. What takes long is done on
//! a blocking thread that is lent to the lane while its queue has something; what is
//! short is done by the [`Crew`] of all lanes, many lanes' work at a time: a thousand
//! small files must not cost a thousand times the waking of a thread for each step.
//! An idle lane costs no thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use tokio_util::task::TaskTracker;

/// Who handles a lane's work.
pub(crate) trait Handler: Send + 'static {
    /// One thing to do.
    type Work: Send + 'static;
    /// Work that was begun and goes on.
    type Begun: Send + 'static;

    /// Whether this is done so soon, as a rule, that other lanes may wait for it.
    fn is_short(work: &Self::Work) -> bool;

    /// Takes what is to be done next, and what is queued behind and belongs to it.
    fn take(queue: &mut VecDeque<Self::Work>) -> Option<Self::Work> {
        queue.pop_front()
    }

    /// Does it, as far as it goes without an answer from elsewhere.
    fn begin(&mut self, work: Self::Work, manner: Manner) -> Next<Self::Begun>;

    /// Waits for the answer, and goes on from there.
    fn go_on(&mut self, begun: Self::Begun, manner: Manner) -> Next<Self::Begun>;

    /// Whether nothing is lost if the lane is dropped now.
    fn is_vacant(&self) -> bool;

    /// A flag that the handler raises in the middle of a step, when [`Self::is_vacant`] is
    /// true and the rest of the step does not change that: before it sends the answer upon
    /// which a client may use the channel's place. Taking the next work lowers the flag.
    fn vacated(&self) -> Arc<AtomicBool> {
        Arc::default()
    }

    /// [`Self::begin`] or [`Self::go_on`] has panicked. What is queued behind is still
    /// handled.
    fn panicked(&mut self);
}

/// How a lane's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// On a thread of its own: it may block for as long as it takes.
    Alone,
    /// With that of other lanes: it waits for answers that all of them wait for, and
    /// for nothing that one of them may hold.
    Together,
}

/// What comes behind a step.
#[must_use]
pub(crate) enum Next<B> {
    /// The next thing that is queued.
    Done,
    /// More of the same, behind the others' step.
    Goes(B),
    /// More of the same, which must not keep others waiting. Where the lane is alone
    /// already that is no different.
    GoesAlone(B),
    /// More of the same, on a thread of its own, when that is over. Until then no thread
    /// waits for it.
    GoesAfter(Waiting<B>),
}

/// What is waited for before a lane goes on.
pub(crate) type Waiting<B> = Pin<Box<dyn Future<Output = B> + Send>>;

/// See the module's description.
pub(crate) struct Lane<H: Handler> {
    shared: Arc<Shared<H>>,
    crew: Arc<Crew<H>>,
}

struct Shared<H: Handler> {
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

/// Who does the short work of all lanes.
pub(crate) struct Crew<H: Handler> {
    roster: Mutex<Roster<H>>,
    tracker: TaskTracker,
}

struct Roster<H: Handler> {
    /// Lanes whose next work is short.
    lanes: VecDeque<Arc<Shared<H>>>,
    threads: usize,
    /// A thread that has been asked for and has not looked yet.
    called: bool,
}

/// How many things a lane does before it goes to the end of the line of all
/// lanes: one busy upload must not keep a thread from the others.
const TURN: usize = 16;

/// Lanes that go together: as many as share a commit.
const TOGETHER: usize = 128;

/// Threads of the crew. One or two are busy; the others are there for the day on which
/// the disk holds those up.
const THREADS: usize = 16;

impl<H: Handler> Lane<H> {
    /// An empty lane.
    pub(crate) fn new(handler: H, crew: Arc<Crew<H>>) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: false });
        let vacated = handler.vacated();
        Self { shared: Arc::new(Shared { queue, handler: Mutex::new(handler), vacated }), crew }
    }

    /// Adds work. Returns at once.
    pub(crate) fn push(&self, work: H::Work) {
        self.push_quietly(work);
        self.wake();
    }

    /// Adds work of which more comes at once: to [`wake`](Self::wake) somebody for it is
    /// the caller's.
    pub(crate) fn push_quietly(&self, work: H::Work) {
        lock(&self.shared.queue).waiting.push_back(work);
    }

    /// Sees to it that somebody handles what is queued.
    pub(crate) fn wake(&self) {
        let mut queue = lock(&self.shared.queue);
        let Some(short) = queue.waiting.front().map(H::is_short) else { return };
        if !std::mem::replace(&mut queue.running, true) {
            drop(queue);
            self.crew.serve(Arc::clone(&self.shared), short);
        }
    }

    /// Whether nothing is queued, being done or kept.
    pub(crate) fn is_vacant(&self) -> bool {
        // Not by `running`: what is said at the end of a step is heard before that ends.
        // And the queue first: what is taken from it is taken with the handler locked.
        if !lock(&self.shared.queue).waiting.is_empty() {
            return false;
        }
        match self.shared.handler.try_lock() {
            Ok(handler) => handler.is_vacant(),
            // Lowered with the queue locked: a step that began since is not overlooked.
            Err(TryLockError::WouldBlock) => self.shared.vacated.load(Ordering::Acquire),
            Err(TryLockError::Poisoned(_)) => false,
        }
    }
}

impl<H: Handler> Crew<H> {
    /// Nobody yet; the tracker knows of the threads that are used.
    pub(crate) fn new(tracker: TaskTracker) -> Arc<Self> {
        let roster = Roster { lanes: VecDeque::new(), threads: 0, called: false };
        Arc::new(Self { roster: Mutex::new(roster), tracker })
    }

    /// Sees to a lane that has work.
    fn serve(self: &Arc<Self>, lane: Arc<Shared<H>>, short: bool) {
        if !short {
            self.lend_thread(lane, None);
            return;
        }
        let mut roster = lock(&self.roster);
        roster.lanes.push_back(lane);
        if !roster.called && roster.threads < THREADS {
            roster.called = true;
            roster.threads += 1;
            drop(roster);
            let shift = Shift { crew: Arc::clone(self), is_on: true };
            self.tracker.spawn_blocking(move || shift.work());
        }
    }

    /// Gives a lane a thread of its own, for something that was begun or for what is
    /// queued.
    fn lend_thread(self: &Arc<Self>, lane: Arc<Shared<H>>, begun: Option<H::Begun>) {
        let crew = Arc::clone(self);
        self.tracker.spawn_blocking(move || run_alone(&crew, &lane, begun));
    }

    /// The same, once that is over. The lane counts as running meanwhile: what is queued
    /// waits behind what was begun.
    fn lend_thread_after(self: &Arc<Self>, lane: Arc<Shared<H>>, waiting: Waiting<H::Begun>) {
        let crew = Arc::clone(self);
        self.tracker.spawn(async move {
            let begun = waiting.await;
            crew.lend_thread(lane, Some(begun));
        });
    }

    /// Begins one piece of short work in each lane that has some, and only then goes
    /// on with each: what they wait for comes together.
    fn run_together(self: &Arc<Self>, lanes: Vec<Arc<Shared<H>>>) {
        let mut under_way: Vec<_> =
            lanes.into_iter().filter_map(|lane| self.follow(lane, Next::Done)).collect();
        while !under_way.is_empty() {
            under_way = under_way
                .into_iter()
                .filter_map(|(lane, begun)| {
                    let next = guarded(&mut *lock(&lane.handler), |handler| {
                        handler.go_on(begun, Manner::Together)
                    });
                    self.follow(lane, next)
                })
                .collect();
        }
    }

    /// What goes on together with others; all else is seen to. Where a lane is done,
    /// what is queued behind begins at once, once.
    fn follow(
        self: &Arc<Self>,
        lane: Arc<Shared<H>>,
        mut next: Next<H::Begun>,
    ) -> Option<(Arc<Shared<H>>, H::Begun)> {
        if let Next::Done = next {
            next = lane.run_short();
        }
        match next {
            Next::Goes(begun) => return Some((lane, begun)),
            Next::GoesAlone(begun) => self.lend_thread(lane, Some(begun)),
            Next::GoesAfter(waiting) => self.lend_thread_after(lane, waiting),
            Next::Done => self.hand_on(lane),
        }
        None
    }

    /// Sees to what is queued behind, if anything is.
    fn hand_on(self: &Arc<Self>, lane: Arc<Shared<H>>) {
        if let Some(short) = lane.next_is_short() {
            self.serve(lane, short);
        }
    }
}

/// One thread of the crew. However it ends, also where it never began, it is off the
/// roster then.
struct Shift<H: Handler> {
    crew: Arc<Crew<H>>,
    is_on: bool,
}

impl<H: Handler> Shift<H> {
    /// Works as long as there are lanes.
    fn work(mut self) {
        while let Some(lanes) = self.next_lanes() {
            self.crew.run_together(lanes);
        }
    }

    /// Where there are none it is over at once: whoever comes next calls another.
    fn next_lanes(&mut self) -> Option<Vec<Arc<Shared<H>>>> {
        let mut roster = lock(&self.crew.roster);
        roster.called = false;
        let count = roster.lanes.len().min(TOGETHER);
        if count == 0 {
            roster.threads -= 1;
            self.is_on = false;
            return None;
        }
        Some(roster.lanes.drain(..count).collect())
    }
}

impl<H: Handler> Drop for Shift<H> {
    fn drop(&mut self) {
        if self.is_on {
            let mut roster = lock(&self.crew.roster);
            roster.called = false;
            roster.threads -= 1;
        }
    }
}

impl<H: Handler> Shared<H> {
    /// Does short work up to the first that goes on.
    fn run_short(&self) -> Next<H::Begun> {
        let mut handler = lock(&self.handler);
        for _ in 0..TURN {
            let work = {
                let mut queue = lock(&self.queue);
                if !queue.waiting.front().is_some_and(H::is_short) {
                    break;
                }
                self.vacated.store(false, Ordering::Relaxed);
                H::take(&mut queue.waiting).expect("it was there just now")
            };
            match guarded(&mut *handler, |handler| handler.begin(work, Manner::Together)) {
                Next::Done => {}
                next => return next,
            }
        }
        Next::Done
    }

    /// Whether the next thing to do is short; where there is none the lane is idle.
    fn next_is_short(&self) -> Option<bool> {
        let mut queue = lock(&self.queue);
        let next = queue.waiting.front().map(H::is_short);
        queue.running = next.is_some();
        next
    }
}

/// Does a lane's work on a thread of its own, for a turn.
fn run_alone<H: Handler>(crew: &Arc<Crew<H>>, lane: &Arc<Shared<H>>, begun: Option<H::Begun>) {
    let mut handler = lock(&lane.handler);
    let waiting = finish(&mut *handler, begun.map_or(Next::Done, Next::Goes));
    if let Some(waiting) = waiting {
        drop(handler);
        return crew.lend_thread_after(Arc::clone(lane), waiting);
    }
    for _ in 0..TURN {
        let work = {
            let mut queue = lock(&lane.queue);
            lane.vacated.store(false, Ordering::Relaxed);
            let Some(work) = H::take(&mut queue.waiting) else {
                queue.running = false;
                return;
            };
            work
        };
        let next = guarded(&mut *handler, |handler| handler.begin(work, Manner::Alone));
        if let Some(waiting) = finish(&mut *handler, next) {
            drop(handler);
            return crew.lend_thread_after(Arc::clone(lane), waiting);
        }
    }
    drop(handler);
    crew.hand_on(Arc::clone(lane));
}

/// Goes on until it is done, or until there is something to wait for.
fn finish<H: Handler>(handler: &mut H, mut next: Next<H::Begun>) -> Option<Waiting<H::Begun>> {
    loop {
        next = match next {
            Next::Goes(begun) | Next::GoesAlone(begun) => {
                guarded(handler, |handler| handler.go_on(begun, Manner::Alone))
            }
            Next::GoesAfter(waiting) => return Some(waiting),
            Next::Done => return None,
        };
    }
}

fn guarded<H: Handler>(
    handler: &mut H,
    work: impl FnOnce(&mut H) -> Next<H::Begun>,
) -> Next<H::Begun> {
    catch_unwind(AssertUnwindSafe(|| work(handler))).unwrap_or_else(|_| {
        handler.panicked();
        Next::Done
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Writes down what happens to it.
    struct Scribe(char, mpsc::Sender<String>);

    /// Waits so often, and panics at the end where it is told to.
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
        type Begun = Job;

        fn is_short(work: &Job) -> bool {
            work.short
        }

        fn begin(&mut self, work: Job, _: Manner) -> Next<Job> {
            let _ = self.1.send(format!("{} begins", self.0));
            self.next(work)
        }

        fn go_on(&mut self, begun: Job, manner: Manner) -> Next<Job> {
            let alone = if manner == Manner::Alone { " alone" } else { "" };
            let _ = self.1.send(format!("{} goes on{alone}", self.0));
            self.next(Job { waits: begun.waits - 1, ..begun })
        }

        fn is_vacant(&self) -> bool {
            true
        }

        fn panicked(&mut self) {
            let _ = self.1.send(format!("{} panicked", self.0));
        }
    }

    impl Scribe {
        fn next(&self, job: Job) -> Next<Job> {
            if job.waits > 0 && job.after {
                return Next::GoesAfter(Box::pin(async move {
                    tokio::task::yield_now().await;
                    job
                }));
            }
            if job.waits > 0 {
                return if job.alone { Next::GoesAlone(job) } else { Next::Goes(job) };
            }
            assert!(!job.panics, "as it was told");
            let _ = self.1.send(format!("{} is done", self.0));
            Next::Done
        }
    }

    #[tokio::test]
    async fn lanes_begin_together_and_none_waits_for_another_that_panics() {
        let (log, heard) = mpsc::channel();
        let crew = Crew::new(TaskTracker::new());
        let lanes: Vec<_> = [('a', false), ('b', true), ('c', false)]
            .map(|(name, panics)| {
                let lane = Lane::new(Scribe(name, log.clone()), Arc::clone(&crew));
                let mut queue = lock(&lane.shared.queue);
                queue.waiting.push_back(Job { panics, ..SHORT });
                queue.running = true;
                drop(queue);
                Arc::clone(&lane.shared)
            })
            .into();
        crew.run_together(lanes);
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
        let lane = Lane::new(Scribe('a', log), Crew::new(tracker.clone()));
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
        let lane = Lane::new(Scribe('a', log), Crew::new(tracker.clone()));
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
        let lane = Lane::new(Scribe('a', log), Crew::new(tracker.clone()));
        lane.push_quietly(SHORT);
        assert!(tracker.is_empty() && !lane.is_vacant());
        lane.wake();
        lane.wake();
        lane.push_quietly(SHORT);
        lane.push(Job { short: false, ..SHORT });
        tracker.close();
        tracker.wait().await;
        // Where nobody is left to find it, a word is needed again.
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
        let crew = Crew::new(tracker.clone());
        let lane = Lane::new(Scribe('a', log), crew);
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
