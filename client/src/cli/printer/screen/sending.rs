//! The line of the file that is being sent.

use crate::cli::printer::bar::{self, Glyphs, Moving};
use crate::cli::printer::lines;
use crate::cli::printer::meter::Meter;
use crate::units;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use towline_types::DocumentId;

/// The file that is being sent.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) document_id: DocumentId,
    pub(super) name: String,
    /// When this run began to send it.
    pub(super) begun: Instant,
    pub(super) meter: Meter,
    /// Its length is not known: it comes through a pipe.
    pub(super) is_open: bool,
    /// Why nothing can be sent now.
    pub(super) waiting: Option<String>,
    /// The program that reads the events was told that the upload stalls.
    pub(super) is_stall_told: bool,
}

impl File {
    pub(super) fn line(&self, width: usize, now: Instant, glyphs: Glyphs) -> String {
        if self.is_open {
            return self.open_line(width, now, glyphs);
        }
        let percent = units::percent(self.meter.position(), self.meter.total());
        if let Some(waiting) = &self.waiting {
            let texts = [
                format!("{percent}%  {waiting}; Ctrl-C pauses"),
                format!("{percent}%  {waiting}"),
                format!("{percent}%  no connection"),
            ];
            return bar::beside(width, &self.name, &texts, glyphs);
        }
        if let Some(silence) = self.meter.stall(now) {
            let seconds = units::took(Duration::from_secs(silence.as_secs()));
            let stalled = format!("stalled for {} at {percent}%", whole_seconds(&seconds));
            let texts = [
                format!("{stalled}; waiting for the network (Ctrl-C pauses)"),
                format!("{stalled} (Ctrl-C pauses)"),
                stalled,
            ];
            return bar::beside(width, &self.name, &texts, glyphs);
        }
        bar::moving(width, Moving::of(&self.name, &self.meter, now), glyphs)
    }

    fn open_line(&self, width: usize, now: Instant, glyphs: Glyphs) -> String {
        let position = self.meter.position();
        let texts = match &self.waiting {
            Some(waiting) => [
                format!("{}  {waiting}", lines::sent_so_far(position, None)),
                waiting.clone(),
                "no connection".to_owned(),
            ],
            None => [
                format!("{}  (Ctrl-C ends it)", lines::sent_so_far(position, self.meter.rate(now))),
                lines::sent_so_far(position, self.meter.rate(now)),
                lines::sent_so_far(position, None),
            ],
        };
        bar::beside(width, &self.name, &texts, glyphs)
    }

    pub(super) fn minute(&self, now: Instant) -> String {
        if self.is_open {
            let line = lines::open_minute(&self.path, self.meter.position(), self.meter.rate(now));
            let waiting = self.waiting.as_ref();
            return line + &waiting.map_or_else(String::new, |waiting| format!(": {waiting}"));
        }
        let (part, whole) = (self.meter.position(), self.meter.total());
        if let Some(waiting) = &self.waiting {
            return format!("{}: {waiting}", lines::minute(&self.path, part, whole, None, None));
        }
        if let Some(silence) = self.meter.stall(now) {
            let line = lines::minute(&self.path, part, whole, None, None);
            return format!("{line}, stalled for {}", units::took(silence));
        }
        lines::minute(&self.path, part, whole, self.meter.rate(now), self.meter.left(now))
    }
}

/// `3.0 s`, which is counted in whole seconds, becomes `3 s`.
fn whole_seconds(text: &str) -> String {
    text.replace(".0 s", " s")
}
