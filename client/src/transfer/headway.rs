//! Whether an attempt has made more bytes of an upload durable. Pure.

/// How many bytes of a file are durable on the server, as far as its reports can be true. At most,
/// they are the bytes that were there at the first answer in this run and the bytes that this run
/// has sent since.
///
/// A larger number in a report is not believed. The same number again means that nothing became
/// durable.
#[derive(Debug, Default)]
pub(super) struct Headway {
    /// The number of bytes at the first answer; nothing before that answer.
    base_bytes: Option<u64>,
    /// The highest number that was believed.
    best_bytes: u64,
    /// The highest number that the server has reported in this attempt.
    said_bytes: u64,
}

impl Headway {
    /// An attempt begins, and the server has reported that it holds this number of bytes.
    pub(super) fn granted(&mut self, bytes: u64) {
        if self.base_bytes.is_none() {
            self.base_bytes = Some(bytes);
            self.best_bytes = bytes;
        }
        self.durable(bytes);
    }

    /// The server has reported that this number of bytes is durable.
    pub(super) fn durable(&mut self, bytes: u64) {
        self.said_bytes = self.said_bytes.max(bytes);
    }

    /// An attempt has ended, and this run has sent `sent_bytes` in all. Returns whether more bytes
    /// are durable than after every earlier attempt.
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
