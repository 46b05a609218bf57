//! The end of a run: what became of all its files.

use super::Printer;
use super::style::{Detail, Stop};
use crate::cli::error::Reader;
use crate::cli::output::say;
use crate::events::{Event, FetchSummary, Summary};
use crate::exit::Exit;
use crate::locked::lock;
use crate::units;

impl Printer {
    /// Adds files that are not finished, because the run has ended before. The server has a part of
    /// the `begun` ones; `unmade` folders and links were not made.
    pub(in crate::cli) fn unfinished(&mut self, begun: usize, unbegun: usize, unmade: usize) {
        self.sum.paused += begun + unbegun;
        self.sum.begun += begun;
        self.sum.unmade += unmade;
    }

    /// Prints how the command as a whole stands when it ends before all of its files are done, and
    /// how a person continues it.
    pub(in crate::cli) fn rests(&self, stop: Stop, how: &str) {
        let Summary { paused, begun, unmade, .. } = self.sum;
        let word = match stop {
            Stop::Paused => "paused",
            Stop::Stopped => "stopped",
        };
        self.note(&format!(
            "{word}: {} of {}{} done, {begun} begun, {} not begun{}{}{how}",
            self.done(),
            if self.found.iter().all(|found| found.is_all()) { "" } else { "at least " },
            units::count(self.files(), "file"),
            paused - begun,
            // Where all files are done, only folders and links are left.
            if paused == 0 { format!(", {unmade} folders and links") } else { String::new() },
            if how.is_empty() { "" } else { ". " }
        ));
    }

    /// The bytes of files that came from the server.
    pub(in crate::cli) fn fetched_bytes(&mut self, bytes: u64) {
        if let Some(sum) = &mut self.fetch {
            sum.fetched_bytes += bytes;
        }
    }

    /// The end of a run that fetches.
    pub(in crate::cli) fn finish_fetching(&mut self, exit: Exit) {
        let took = self.begun.elapsed().as_millis();
        let sum = FetchSummary {
            skipped: self.sum.skipped,
            excluded: self.sum.excluded,
            failed: self.sum.failed + self.sum.refused,
            milliseconds: u64::try_from(took).unwrap_or(u64::MAX),
            exit: exit.code(),
            ..self.fetch.clone().unwrap_or_default()
        };
        // One file has said everything by itself.
        let count = sum.fetched + sum.existing + sum.made + sum.skipped + sum.failed;
        if self.style.reader == Reader::Program || count > 1 {
            self.show(&Event::FetchSummary(sum));
        }
        lock(&self.screen).close();
    }

    /// Prints the end of a run.
    pub(in crate::cli) fn finish(&mut self, exit: Exit) {
        let took = self.begun.elapsed().as_millis();
        let sum = Summary {
            milliseconds: u64::try_from(took).unwrap_or(u64::MAX),
            exit: exit.code(),
            ..self.sum.clone()
        };
        let Summary { sent, copied, existing, skipped, refused, failed, paused, not_kept, .. } =
            sum;
        // One file has printed everything by itself.
        let files = sent + copied + existing + skipped + refused + failed + paused;
        let is_all_kept = self.style.detail.told(not_kept).is_nothing();
        let is_one = files == 1 && sum.made == 0 && is_all_kept;
        if self.style.reader == Reader::Program || !is_one {
            self.show(&Event::Summary(sum));
        }
        if self.style.detail == Detail::Errors && skipped > 0 {
            say(&format!(
                "{} skipped; without --quiet each of them is named",
                units::count(skipped, "file")
            ));
        }
        lock(&self.screen).close();
    }
}
