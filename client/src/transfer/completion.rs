//! Which `complete` request of an attempt still counts. Pure.

/// The `complete` requests of one attempt.
///
/// A block that arrived damaged is sent again also after `complete`: then the request was too
/// early, and another one follows. So the answer to an early request is told from the answer to
/// the last one.
#[derive(Debug, Default)]
pub(super) struct Completion {
    /// The number of requests that are not answered yet.
    unanswered: u32,
    /// No block was queued since the last request.
    is_current: bool,
}

impl Completion {
    /// `complete` is sent.
    pub(super) fn asked(&mut self) {
        self.unanswered += 1;
        self.is_current = true;
    }

    /// A block is queued: another `complete` has to follow it.
    pub(super) fn is_early(&mut self) {
        self.is_current = false;
    }

    /// Whether all blocks were queued before the last request.
    pub(super) fn is_current(&self) -> bool {
        self.is_current
    }

    /// Whether SUCCESS would be the answer to a request.
    pub(super) fn is_awaited(&self) -> bool {
        self.unanswered > 0
    }

    /// The server has answered that the file is incomplete. Returns whether that is the answer
    /// to the request that counts.
    pub(super) fn incomplete(&mut self) -> bool {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.is_current && self.unanswered == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_last_request_counts() {
        let mut completion = Completion::default();
        assert!(!completion.is_awaited() && !completion.is_current());
        completion.asked();
        completion.is_early();
        assert!(completion.is_awaited() && !completion.is_current());
        completion.asked();
        assert!(!completion.incomplete(), "the answer to the early request");
        assert!(completion.incomplete(), "the answer to the last one");
        assert!(!completion.is_awaited());
    }

    #[test]
    fn an_early_request_that_is_answered_before_the_next_one_says_nothing() {
        let mut completion = Completion::default();
        completion.asked();
        completion.is_early();
        assert!(!completion.incomplete());
    }
}
