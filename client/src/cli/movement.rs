//! When a run has last made progress, and when it gives up because it makes none.

use crate::events::Event;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Movement {
    /// When something was last sent, received or done.
    last: Mutex<Instant>,
    timeout: Option<Duration>,
}

impl Movement {
    /// Counts from now on. Without a `timeout` a run never gives up.
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { last: Mutex::new(Instant::now()), timeout }
    }

    /// Takes note of an event.
    pub(super) fn heard(&self, event: &Event) {
        if !matches!(event, Event::Waiting { .. } | Event::Notice { .. } | Event::Stalled { .. }) {
            *self.last() = Instant::now();
        }
    }

    /// Waits until nothing has moved for as long as the run allows; returns what is said then.
    ///
    /// Cancel-safe: it only waits.
    pub(super) async fn silence(&self) -> String {
        let Some(timeout) = self.timeout else { return std::future::pending().await };
        loop {
            let ends = *self.last() + timeout;
            if ends <= Instant::now() {
                let seconds = timeout.as_secs();
                return format!("no progress for {seconds} s; giving up (--timeout)");
            }
            sleep_until(ends).await;
        }
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
