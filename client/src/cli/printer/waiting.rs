//! Which reasons for a wait are printed where there is no terminal.

use std::time::{Duration, Instant};

const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The last reason for a wait that was printed, and when that was.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<(String, Instant)>);

impl Waiting {
    /// Whether the reason is printed: one that differs from the last, and the same one again
    /// a minute after it was printed.
    pub(super) fn is_news(&mut self, reason: &str, now: Instant) -> bool {
        let is_news = self
            .0
            .as_ref()
            .is_none_or(|(said, when)| said != reason || now - *when >= SAID_AGAIN_AFTER);
        if is_news {
            self.0 = Some((reason.to_owned(), now));
        }
        is_news
    }
}
