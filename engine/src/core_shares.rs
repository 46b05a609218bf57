//! The processor's cores, divided among the users who write at the moment (P6).
//!
//! To write and hash a block keeps a core busy for about a millisecond. The system divides the
//! cores among threads, and each upload has a thread: a user with forty uploads would get forty
//! times as much as a user with one. So while several users write, each of them has as many threads
//! at work as there are cores for each user, and at least one. The other threads of that user wait,
//! the oldest first.
//!
//! A user who is alone has no limit. Then a thread that waits for the disk keeps no other from its
//! work.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread, available_parallelism};
use std::time::{Duration, Instant};
use towline_types::UserId;

/// For this long after the last piece of work a user still counts as one who writes. Between two
/// blocks of an upload there is always a moment without work. If the user did not count then, all
/// threads of another user would begin at once, and the next block would wait for all of them.
const RECENT: Duration = Duration::from_millis(100);

/// How often users are looked for who do not count any more.
const LOOKED_THROUGH: Duration = Duration::from_millis(10);

/// How many threads of one user wait at most. A thread more works at once: the threads that an
/// engine has are bounded, and those of one user must not all stand here (P6).
const WAITING_MAX: usize = 128;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct CoreShares {
    cores: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    users: HashMap<UserId, Work>,
    looked_through: Instant,
}

/// The work of one user.
#[derive(Debug)]
struct Work {
    running: usize,
    waiting: VecDeque<Arc<Waiter>>,
    /// When the last piece of work began or ended.
    last: Instant,
}

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    may_work: AtomicBool,
}

/// While it lives, its thread has a share of the cores.
#[derive(Debug)]
#[must_use]
pub(crate) struct CoreShare<'a> {
    shares: &'a CoreShares,
    user: UserId,
}

impl CoreShares {
    /// The shares of this machine's cores.
    pub(crate) fn of_machine() -> Self {
        Self::new(available_parallelism().map_or(1, usize::from))
    }

    fn new(cores: usize) -> Self {
        let state = State { users: HashMap::new(), looked_through: Instant::now() };
        Self { cores, state: Mutex::new(state) }
    }

    /// Waits until this thread may work for the user. Blocks. A thread asks for one share at a
    /// time.
    pub(crate) fn take(&self, user: UserId) -> CoreShare<'_> {
        let mut state = self.state();
        let now = Instant::now();
        state.look_through(now);
        let fresh = || Work { running: 0, waiting: VecDeque::new(), last: now };
        state.users.entry(user).or_insert_with(fresh).last = now;
        let limit = self.limit(&state);
        let waiter = state.users.get_mut(&user).and_then(|work| work.begin_or_wait(limit));
        drop(state);
        if let Some(waiter) = waiter {
            while !waiter.may_work.load(Ordering::Acquire) {
                thread::park();
            }
        }
        CoreShare { shares: self, user }
    }

    fn give_back(&self, user: UserId) {
        let mut state = self.state();
        let now = Instant::now();
        state.look_through(now);
        let limit = self.limit(&state);
        if let Some(work) = state.users.get_mut(&user) {
            work.running -= 1;
            work.last = now;
            work.go_on(limit);
        }
    }

    /// How many threads of one user may work now.
    fn limit(&self, state: &State) -> usize {
        match state.users.len() {
            0 | 1 => usize::MAX,
            users => (self.cores / users).max(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the users who do not count any more. Those who wait for more work of their own at
    /// the same time hear of it when a piece of their work ends: one that waits has one that runs.
    fn look_through(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked_through) < LOOKED_THROUGH {
            return;
        }
        self.looked_through = now;
        self.users.retain(|_, work| {
            work.running > 0
                || !work.waiting.is_empty()
                || now.saturating_duration_since(work.last) < RECENT
        });
    }
}

impl Work {
    /// Counts a piece of work as running; or queues this thread, where it has to wait.
    fn begin_or_wait(&mut self, limit: usize) -> Option<Arc<Waiter>> {
        let may_begin = self.running < limit && self.waiting.is_empty();
        if may_begin || self.waiting.len() >= WAITING_MAX {
            self.running += 1;
            return None;
        }
        let waiter = Waiter { thread: thread::current(), may_work: AtomicBool::new(false) };
        let waiter = Arc::new(waiter);
        self.waiting.push_back(Arc::clone(&waiter));
        Some(waiter)
    }

    /// Wakes those who may work now.
    fn go_on(&mut self, limit: usize) {
        while self.running < limit
            && let Some(waiter) = self.waiting.pop_front()
        {
            self.running += 1;
            waiter.may_work.store(true, Ordering::Release);
            waiter.thread.unpark();
        }
    }
}

impl Drop for CoreShare<'_> {
    fn drop(&mut self) {
        self.shares.give_back(self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use towline_testkit::user;

    #[test]
    fn a_user_who_is_alone_has_no_limit() {
        let shares = CoreShares::new(2);
        let held: Vec<_> = (0..40).map(|_| shares.take(user(1))).collect();
        assert_eq!(shares.state().users[&user(1)].running, 40);
        drop(held);
        assert_eq!(shares.state().users[&user(1)].running, 0);
    }

    #[test]
    fn a_second_user_works_at_once_and_the_first_one_gives_way() {
        let shares = CoreShares::new(2);
        let first = [shares.take(user(1)), shares.take(user(1))];
        let second = shares.take(user(2));
        thread::scope(|scope| {
            let third = scope.spawn(|| drop(shares.take(user(1))));
            while shares.state().users[&user(1)].waiting.is_empty() {
                thread::yield_now();
            }
            // One of two still runs, and that is the share of the first user.
            let [one, other] = first;
            drop(one);
            assert_eq!(shares.state().users[&user(1)].waiting.len(), 1);
            drop(other);
            third.join().unwrap();
        });
        drop(second);
    }

    #[test]
    fn threads_of_many_users_all_come_to_their_end() {
        let shares = CoreShares::new(2);
        let begin = Barrier::new(24);
        thread::scope(|scope| {
            for number in 0..24 {
                let (shares, begin) = (&shares, &begin);
                scope.spawn(move || {
                    begin.wait();
                    for _ in 0..500 {
                        let _share = shares.take(user(1 + number % 3));
                        thread::yield_now();
                    }
                });
            }
        });
        let state = shares.state();
        assert!(state.users.values().all(|work| work.running == 0 && work.waiting.is_empty()));
    }
}
