//! A line of the log that would come again and again while a fault lasts: it is
//! said at once, and then once a second, with how often it was left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two times that it is said.
const REST: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Refrain(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said_at: Option<Instant>,
    left_out: u64,
}

impl Refrain {
    /// Whether it is to be said now, and how often it was left out since last time.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said_at.is_some_and(|said_at| now.duration_since(said_at) < REST) {
            state.left_out += 1;
            return None;
        }
        state.said_at = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_once_a_second_and_what_was_left_out_is_counted() {
        let refrain = Refrain::default();
        let start = Instant::now();
        assert_eq!(refrain.due_at(start), Some(0));
        assert_eq!(refrain.due_at(start + REST / 2), None);
        assert_eq!(refrain.due_at(start + REST / 2), None);
        assert_eq!(refrain.due_at(start + REST), Some(2));
        assert_eq!(refrain.due_at(start + REST * 3), Some(0));
    }
}
