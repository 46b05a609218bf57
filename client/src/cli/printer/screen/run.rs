//! The line of all files of a run together.

use super::sending::File;
use crate::cli::printer::meter::{Meter, STALL};
use crate::units;
use std::time::{Duration, Instant};

/// All files of a run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) done_files: usize,
    pub(super) done_bytes: u64,
    /// The bytes that were sent, of all files together.
    pub(super) moved: Meter,
    /// When the last file was done, or when the run began.
    pub(super) news: Instant,
}

impl Job {
    /// `14 of 689 files, 1.3 of 9.8 GiB, 3:10 left`
    ///
    /// Where the line of a file says that no byte is sent, and why, this line does not.
    pub(super) fn line(&self, file: Option<&File>, has_line_of_file: bool, now: Instant) -> String {
        let Self { files, bytes, done_files, done_bytes, moved, news: _ } = self;
        let begun = file.map_or(0, |file| file.meter.position());
        let done = done_bytes.saturating_add(begun).min(*bytes);
        let mut text = format!("{done_files} of {files} files, {}", units::part_of(done, *bytes));
        let silence = now.duration_since(self.news);
        let stall = moved.stall(now).map(|stall| stall.min(silence));
        let rate = moved.rate(now).filter(|rate| *rate > 0);
        match (stall, rate) {
            (Some(stall), _) if stall >= STALL && !has_line_of_file => {
                text += &format!(", stalled for {} s (Ctrl-C pauses)", stall.as_secs());
            }
            (None, Some(rate)) => {
                let left = Duration::from_secs((bytes - done).div_ceil(rate));
                text += &format!(", {} left", units::clock(left));
            }
            _ => {}
        }
        text
    }
}
