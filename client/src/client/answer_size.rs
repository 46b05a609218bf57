//! How much of an answer that has several frames has come: a server could send frames without end.

use crate::attempt_end::AttemptEnd;

/// The most frames of an answer that have no entry and do not end it.
const EMPTY_FRAMES_MAX: u32 = 16;

/// See the module's description.
#[derive(Debug)]
pub(super) struct AnswerSize {
    entries_left: usize,
    empty_frames_left: u32,
}

impl AnswerSize {
    /// The size of an answer to a question that asks for at most `limit` entries.
    pub(super) fn of(limit: u32) -> Self {
        let entries_left = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { entries_left, empty_frames_left: EMPTY_FRAMES_MAX }
    }

    /// Takes note of a frame.
    ///
    /// # Errors
    /// Where a correct answer has no such frame after the earlier ones.
    pub(super) fn add(&mut self, entries: usize, is_last: bool) -> Result<(), AttemptEnd> {
        let is_empty = entries == 0 && !is_last;
        let entries_left = self.entries_left.checked_sub(entries);
        let empty_frames_left = self.empty_frames_left.checked_sub(u32::from(is_empty));
        let (Some(entries_left), Some(empty_frames_left)) = (entries_left, empty_frames_left)
        else {
            return Err(AttemptEnd::protocol("an answer without an end"));
        };
        *self = Self { entries_left, empty_frames_left };
        Ok(())
    }
}
