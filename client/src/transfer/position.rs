//! How much of a file is at the server. The progress bar, the bytes that a pause calls safe and
//! the offset of a resumption are taken from here alone. Pure.

use crate::plan::Plan;
use std::ops::Range;
use towline_types::{FileSize, Offset};

/// How far an upload is.
///
/// The server reports two offsets, and an offset ends at the first gap. An upload over several
/// connections, or of a file that was changed, has blocks beyond its first gap: the ranges that
/// were missing when the last plan was made tell how many bytes these blocks have.
#[derive(Debug)]
pub(super) struct Position {
    received: Offset,
    durable: Offset,
    /// The ranges that were missing when the last plan was made, in ascending order. Nothing before
    /// the first plan: then all bytes beyond an offset count as missing.
    missing: Option<Vec<Range<u64>>>,
    /// The durable offset of the first report after the last plan was made. Before that report,
    /// only the reports of an earlier connection are known, and the server may have synced since.
    planned_at: Option<Offset>,
    /// The blocks beyond the gaps that were there when the plan was made are durable by now.
    is_all_durable: bool,
    /// The server has answered the last question before the pause: its later reports cover all that
    /// was sent.
    is_at_pause: bool,
}

impl Position {
    /// An upload that begins, or that was found at this offset; there is no plan yet.
    pub(super) fn at(offset: Offset) -> Self {
        Self {
            received: offset,
            durable: offset,
            missing: None,
            planned_at: None,
            is_all_durable: false,
            is_at_pause: false,
        }
    }

    /// The server continues at this offset, and the plan has the bytes that it lacks.
    pub(super) fn planned(&mut self, plan: &Plan, filesize: FileSize, offset: Offset) {
        self.went_back_to(offset);
        self.missing = Some(plan.missing(filesize));
        self.planned_at = None;
        (self.is_all_durable, self.is_at_pause) = (false, false);
    }

    /// The server has withdrawn blocks: the first gap is at that offset.
    pub(super) fn went_back_to(&mut self, offset: Offset) {
        self.received = offset;
        self.durable = self.durable.min(offset);
    }

    /// The server has reported how far the upload is.
    pub(super) fn reported(&mut self, received: Offset, durable: Offset) {
        // A sync that was recorded after the plan covers all blocks that were there before the
        // plan.
        self.is_all_durable |= durable > *self.planned_at.get_or_insert(durable);
        // At a pause the server makes everything durable before it reports for the last time.
        self.is_all_durable |= self.is_at_pause && durable == received;
        (self.received, self.durable) = (received, durable);
    }

    /// The upload rests, and the server has handled all that was sent. Only later reports count: an
    /// earlier report may have been sent before the last sync.
    pub(super) fn rests(&mut self) {
        self.is_at_pause = true;
    }

    /// The number of bytes that the server has without a gap.
    pub(super) fn received(&self) -> Offset {
        self.received
    }

    /// The number of bytes without a gap that survive a power cut.
    pub(super) fn durable(&self) -> Offset {
        self.durable
    }

    /// The bytes that the server has, also those beyond a gap.
    pub(super) fn held_bytes(&self, filesize: FileSize) -> u64 {
        filesize.get().saturating_sub(self.missing_bytes(filesize, self.received))
    }

    /// The bytes that are known to survive a power cut of the server, also those beyond a gap.
    pub(super) fn safe_bytes(&self, filesize: FileSize) -> u64 {
        if self.is_all_durable {
            filesize.get().saturating_sub(self.missing_bytes(filesize, self.durable))
        } else {
            self.durable.get()
        }
    }

    /// How many bytes beyond that offset were missing.
    fn missing_bytes(&self, filesize: FileSize, offset: Offset) -> u64 {
        let offset = offset.get();
        let Some(missing) = &self.missing else { return filesize.get().saturating_sub(offset) };
        let beyond = |range: &Range<u64>| range.end.saturating_sub(range.start.max(offset));
        missing.iter().map(beyond).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use towline_testkit::size;
    use towline_types::ChainingValue;

    const MIB: u64 = 1 << 20;

    fn at(bytes: u64) -> Offset {
        Offset::try_from(bytes).unwrap()
    }

    /// The plan for eight blocks, of which the server has `held`, and continues at `offset`.
    fn plan(offset: u64, held: &[u64]) -> Plan {
        let value = ChainingValue::from_bytes([1; 32]);
        let held = held.iter().map(|number| (*number, value)).collect();
        Plan::resume(size(8 * MIB), at(offset), &held, &[None; 8], &BTreeMap::new())
    }

    #[test]
    fn blocks_beyond_a_gap_count_from_the_beginning_and_not_when_the_gap_closes() {
        let (filesize, mut position) = (size(8 * MIB), Position::at(at(MIB)));
        assert_eq!(position.held_bytes(filesize), MIB, "nothing else is known yet");
        position.planned(&plan(MIB, &[0, 2, 3, 4]), filesize, at(MIB));
        assert_eq!(position.held_bytes(filesize), 4 * MIB);
        // Half of the gap is filled, and then the other half: the offset jumps, and the held bytes
        // grow evenly.
        position.reported(at(MIB + MIB / 2), at(MIB));
        assert_eq!(position.held_bytes(filesize), 4 * MIB + MIB / 2);
        position.reported(at(5 * MIB), at(MIB));
        assert_eq!(position.held_bytes(filesize), 5 * MIB);
        position.reported(at(8 * MIB), at(8 * MIB));
        assert_eq!(position.held_bytes(filesize), 8 * MIB);
    }

    #[test]
    fn only_what_the_server_has_promised_is_called_safe() {
        let (filesize, mut position) = (size(8 * MIB), Position::at(at(MIB)));
        position.planned(&plan(MIB, &[0, 2, 3, 4]), filesize, at(MIB));
        assert_eq!(position.safe_bytes(filesize), MIB, "blocks 2 to 4 may be in a cache");
        position.reported(at(MIB + 7), at(MIB));
        assert_eq!(position.safe_bytes(filesize), MIB);
        position.reported(at(MIB + 7), at(MIB + 7));
        assert_eq!(position.safe_bytes(filesize), 4 * MIB + 7);
    }

    #[test]
    fn a_report_that_was_lost_makes_the_next_one_no_sync() {
        let (filesize, mut position) = (size(8 * MIB), Position::at(at(MIB)));
        position.reported(at(MIB), at(0));
        // The server continued to 1 MiB, and the connection was lost before the client received
        // that report.
        position.planned(&plan(MIB, &[0, 2, 3, 4]), filesize, at(MIB));
        position.reported(at(MIB + 7), at(MIB));
        assert_eq!(position.safe_bytes(filesize), MIB, "no sync since the plan");
        position.reported(at(MIB + 9), at(MIB + 7));
        assert_eq!(position.safe_bytes(filesize), 4 * MIB + 7);
    }

    #[test]
    fn at_a_pause_only_a_report_that_follows_all_that_was_sent_makes_all_of_it_safe() {
        let (filesize, mut position) = (size(8 * MIB), Position::at(at(MIB)));
        let planned = |position: &mut Position| {
            position.planned(&plan(MIB, &[0, 2]), filesize, at(MIB));
        };
        planned(&mut position);
        position.reported(at(MIB), at(MIB));
        position.rests();
        assert_eq!(position.safe_bytes(filesize), MIB, "the report may be from before");
        position.reported(at(MIB), at(MIB));
        assert_eq!(position.safe_bytes(filesize), 2 * MIB);

        planned(&mut position);
        position.rests();
        position.reported(at(MIB + 7), at(MIB));
        assert_eq!(position.safe_bytes(filesize), MIB, "the last report has not come");
    }

    #[test]
    fn what_is_taken_back_is_missing_again() {
        let (filesize, mut position) = (size(8 * MIB), Position::at(Offset::ZERO));
        position.planned(&plan(0, &[]), filesize, Offset::ZERO);
        position.reported(at(6 * MIB), at(6 * MIB));
        position.went_back_to(at(2 * MIB));
        assert_eq!(position.held_bytes(filesize), 2 * MIB);
        assert_eq!(position.safe_bytes(filesize), 2 * MIB);
    }

    #[test]
    fn an_empty_file_is_whole() {
        let mut position = Position::at(Offset::ZERO);
        position.planned(&Plan::whole_file(size(0)), size(0), Offset::ZERO);
        assert_eq!((position.held_bytes(size(0)), position.safe_bytes(size(0))), (0, 0));
    }
}
