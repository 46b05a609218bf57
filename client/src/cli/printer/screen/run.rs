//! The line of all files of a run together.

use super::sending::File;
use crate::cli::printer::meter::{Meter, STALL};
use crate::cli::selection::found_files::FoundFiles;
use crate::units;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The least number of entries that a person is told of: a shorter list ends before a person has
/// read about it.
const LONG_LIST: u64 = 10_000;

/// All files of a run.
#[derive(Debug)]
pub(super) struct Job {
    /// The files that were found so far.
    pub(super) found: Vec<Arc<FoundFiles>>,
    pub(super) done_files: u64,
    pub(super) done_bytes: u64,
    /// The bytes that were sent, of all files together.
    pub(super) moved: Meter,
    /// When the last file was done, or when the run began.
    pub(super) news: Instant,
}

impl Job {
    /// A run of one file has nothing to say besides the line of that file.
    pub(super) fn has_many_files(&self) -> bool {
        self.found.iter().map(|found| found.count()).sum::<u64>() > 1
    }

    /// What the server has listed so far, where the list is long and has not ended.
    pub(super) fn list_text(&self) -> Option<String> {
        let unfinished = self.found.iter().filter(|found| !found.is_all());
        let listed: u64 = unfinished.map(|found| found.listed()).sum();
        (listed >= LONG_LIST)
            .then(|| format!("the server lists what there is: {listed} entries so far"))
    }

    /// `14 of 689 files, 1.3 of 9.8 GiB, 3:10 left`; while files are being looked for
    /// `14 of at least 689 files, 1.3 GiB`. Behind it the same in fewer words, for narrow terminals.
    ///
    /// Where the line of a file says that no byte is sent, and why, this line does not.
    pub(super) fn texts(
        &self,
        file: Option<&File>,
        has_line_of_file: bool,
        now: Instant,
    ) -> [String; 3] {
        let Self { found, done_files, done_bytes, moved, news: _ } = self;
        let files: u64 = found.iter().map(|found| found.count()).sum();
        let bytes: u64 = found.iter().map(|found| found.bytes()).sum();
        let is_all = found.iter().all(|found| found.is_all());
        let begun = file.map_or(0, |file| file.meter.position());
        let done = done_bytes.saturating_add(begun).min(bytes);
        let (long, short, shortest) = if is_all {
            let (all, pair) = (units::part_of(done, bytes), units::pair(done, bytes));
            (
                format!("{done_files} of {files} files, {all}"),
                format!("{done_files}/{files} files, {pair}"),
                format!("{done_files}/{files} files"),
            )
        } else {
            let size = units::size(done);
            (
                format!("{done_files} of at least {files} files, {size}"),
                format!("{done_files}/{files}+ files, {size}"),
                format!("{done_files}/{files}+ files"),
            )
        };
        let silence = now.duration_since(self.news);
        let stall = moved.stall(now).map(|stall| stall.min(silence));
        let stall = stall.filter(|_| moved.position() < bytes);
        let rate = moved.rate(now).filter(|rate| *rate > 0);
        match (stall, rate) {
            (Some(stall), _) if stall >= STALL && !has_line_of_file => {
                let stalled = format!(", stalled for {} s", stall.as_secs());
                [long + &stalled + " (Ctrl-C pauses)", short + &stalled, shortest + &stalled]
            }
            (None, Some(rate)) if is_all => {
                let left = Duration::from_secs((bytes - done).div_ceil(rate));
                let left = format!(", {} left", units::clock(left));
                [long + &left, short + &left, shortest + &left]
            }
            _ => [long, short, shortest],
        }
    }
}
