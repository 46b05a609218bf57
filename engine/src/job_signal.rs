//! Wakes the task that takes jobs.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use towline_types::Timestamp;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct JobSignal {
    notify: Notify,
    /// When the next job is due that was given back.
    next: Mutex<Option<Instant>>,
    leases: Leases,
}

impl JobSignal {
    /// There may be a job.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// There is a job after that time.
    pub(crate) fn wake_after(&self, wait: Duration) {
        let at = Instant::now() + wait;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(next.map_or(at, |next| next.min(at)));
    }

    /// Waits until there may be a job, and no longer than that. Cancel-safe.
    pub(crate) async fn wait(&self, longest: Duration) {
        let mut until = Instant::now() + longest;
        if let Some(next) = self.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            until = until.min(next);
        }
        let _ = timeout_at(until, self.notify.notified()).await;
    }

    /// A number that no other lease has.
    pub(crate) fn next_lease(&self, now: Timestamp) -> i64 {
        self.leases.next(now)
    }
}

/// Numbers of leases that no other lease has.
#[derive(Debug, Default)]
struct Leases(AtomicI64);

impl Leases {
    /// The next number. It begins with the time, so an earlier run has given none that is as large.
    fn next(&self, now: Timestamp) -> i64 {
        let first = i64::try_from(now.get()).unwrap_or(i64::MAX >> 10) << 8;
        self.0.fetch_max(first, Ordering::Relaxed);
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_leases_have_the_same_number() {
        let (leases, at) = (Leases::default(), |ms| Timestamp::try_from(ms).unwrap());
        let first = leases.next(at(1000));
        assert!(leases.next(at(1000)) > first);
        let later = leases.next(at(2000));
        assert!(later > first + 1);
        // The clock was set back.
        assert!(leases.next(at(500)) > later);
    }
}
