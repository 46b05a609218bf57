//! Which reasons for a wait are printed where there is no terminal.

use std::time::{Duration, Instant};

const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The last reason for a wait that was printed, and when it was printed.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<(String, Instant)>);

impl Waiting {
    /// Whether the reason is printed: a reason that differs from the last one is, and the same
    /// reason again one minute after it was printed.
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
