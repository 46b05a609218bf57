//! Whether an attempt has brought an upload further, for good.

/// How much of a file is for good at the server, as far as that can be true: not more
/// than was there when this run first asked, and what this run has sent since.
///
/// A server that says more than that is not believed, and one that says the same again
/// has made nothing durable.
#[derive(Debug, Default)]
pub(super) struct Headway {
    /// What was there at the first answer; nothing before it.
    base_bytes: Option<u64>,
    /// The most that was believed.
    best_bytes: u64,
    /// The most that the server has said since.
    said_bytes: u64,
}

impl Headway {
    /// The server has told at the beginning of an attempt what it has.
    pub(super) fn granted(&mut self, bytes: u64) {
        if self.base_bytes.is_none() {
            self.base_bytes = Some(bytes);
            self.best_bytes = bytes;
        }
        self.durable(bytes);
    }

    /// The server has said that so much is durable.
    pub(super) fn durable(&mut self, bytes: u64) {
        self.said_bytes = self.said_bytes.max(bytes);
    }

    /// An attempt has ended, and so much was sent in this run: whether there is more at the
    /// server than after any attempt before.
    pub(super) fn was_made(&mut self, sent_bytes: u64) -> bool {
        let possible_bytes = self.base_bytes.unwrap_or(0).saturating_add(sent_bytes);
        let believed_bytes = self.said_bytes.min(possible_bytes);
        let was_made = believed_bytes > self.best_bytes;
        self.best_bytes = self.best_bytes.max(believed_bytes);
        self.said_bytes = 0;
        was_made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headway_is_more_than_ever_before() {
        let mut headway = Headway::default();
        headway.granted(0);
        assert!(!headway.was_made(500), "nothing was said of what was sent");
        headway.granted(300);
        assert!(headway.was_made(500), "what became of it is told by the next answer");
        headway.granted(300);
        headway.durable(600);
        assert!(headway.was_made(1000));
        headway.granted(0);
        headway.durable(600);
        assert!(!headway.was_made(2000), "it begins again, and has been as far before");
    }

    #[test]
    fn what_cannot_be_true_is_no_headway() {
        let mut headway = Headway::default();
        headway.granted(1000);
        headway.durable(5000);
        assert!(!headway.was_made(0), "nothing was sent");
        headway.granted(1000);
        headway.durable(5000);
        assert!(headway.was_made(10), "as much as was sent");
        headway.durable(5000);
        assert!(!headway.was_made(10), "and no more");
    }
}
