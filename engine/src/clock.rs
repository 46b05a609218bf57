//! What time it is. A test may use a clock of its own: see
//! [`EngineConfig::clock`](crate::EngineConfig::clock).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_types::Timestamp;

/// A wall clock, and a steady clock, which cannot be set.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self::new(towline_state::clock::now)
    }

    /// A clock whose wall clock says what `now` returns.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let origin = Instant::now();
        Self::with_steady(now, move || origin.elapsed())
    }

    /// The same with another steady clock: `steady` returns how much time has passed since some
    /// fixed moment, and never less than before.
    pub fn with_steady(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), steady: Arc::new(steady) }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// How much time has passed since some fixed moment, whatever the wall clock says.
    #[must_use]
    pub fn steady(&self) -> Duration {
        (self.steady)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
