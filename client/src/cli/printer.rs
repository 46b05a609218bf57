//! What a person, or a program in their place, gets to see.

use crate::events::{Event, Receipt, Standing, Trouble};
use crate::failure::Failure;
use crate::printable;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// One line on standard error. Who has closed it does not want to know.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "towline: {text}");
}

/// One line on standard output. A closed pipe ends the output, not the upload.
pub(super) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Shows events: as JSON or as plain lines on standard output; notices and the
/// bar on standard error.
#[derive(Debug)]
pub(super) struct Printer {
    json: bool,
    quiet: bool,
    /// Named in the hint how to resume, where it is not where it usually is.
    state_file: Option<PathBuf>,
    bar: Option<ProgressBar>,
    /// A resumption is news: the first is, and one after a wait that was told.
    resuming_is_news: bool,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool, state_file: Option<PathBuf>) -> Self {
        Self { json, quiet, state_file, bar: None, resuming_is_news: true }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Started(standing) => self.begin(standing),
            Event::Resumed { standing, left_bytes } => {
                self.begin(standing);
                if std::mem::take(&mut self.resuming_is_news) {
                    self.note(&format!(
                        "{}: going on with document {} at {}, {left_bytes} to send",
                        shown(&standing.path),
                        standing.document_id,
                        standing.progress,
                    ));
                }
            }
            Event::Progress(standing) => self.advance(standing),
            Event::Paused(standing) => {
                self.end_bar();
                self.note(&self.paused(standing));
            }
            Event::Completed(receipt) => {
                self.end_bar();
                self.resuming_is_news = true;
                if !self.json && !self.quiet {
                    line(&completed(receipt));
                }
            }
            Event::Error(_) => self.end_bar(),
            Event::Notice { path, message } => {
                self.note(&format!("{}: {}", shown(path), printable(message)));
            }
            Event::Waiting { path, message } => {
                self.resuming_is_news = self.bar.is_none();
                match &self.bar {
                    Some(bar) => bar.set_message(printable(message)),
                    None => self.note(&format!("{}: {}", shown(path), printable(message))),
                }
            }
            Event::Checking { path, filesize } => {
                if filesize.get() >= CHECK_WORTH_SAYING_BYTES {
                    let size = ByteSize(filesize.get());
                    self.note(&format!("{}: reading {size} to compare", shown(path)));
                }
            }
        }
        let for_people =
            matches!(event, Event::Notice { .. } | Event::Waiting { .. } | Event::Checking { .. });
        if self.json
            && !for_people
            && let Ok(json) = serde_json::to_string(event)
        {
            line(&crate::text::printable_json(&json));
        }
    }

    /// Something went wrong, with one file or altogether.
    pub(super) fn failed(&mut self, path: Option<&Path>, failure: &Failure) {
        let advice = failure.advice();
        self.show(&Event::Error(Trouble {
            path: path.map(Path::to_owned),
            document_id: failure.document_id(),
            code: failure.code().map(towline_protocol::Code::as_str),
            message: failure.to_string(),
            advice: advice.clone(),
            exit: failure.exit().code(),
        }));
        let mut text = failure.to_string();
        if let Some(path) = path {
            text = format!("{}: {text}", shown(path));
        }
        if let Some(advice) = advice {
            text = format!("{text}; {advice}");
        }
        say(&text);
    }

    /// Something worth knowing, unless nobody wants to.
    pub(super) fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    fn paused(&self, standing: &Standing) -> String {
        let option = self
            .state_file
            .as_deref()
            .map_or_else(String::new, |path| format!(" --state-file {}", shown(path)));
        format!(
            "{}: paused at {} of {} bytes; run `towline resume {}{option}` to go on",
            shown(&standing.path),
            standing.durable,
            standing.filesize,
            standing.document_id,
        )
    }

    fn begin(&mut self, standing: &Standing) {
        self.end_bar();
        if self.quiet || self.json || !std::io::stderr().is_terminal() {
            return;
        }
        // The bar is short and the text gives way at its end, so that the line
        // fits into the narrowest terminal.
        let style = ProgressStyle::with_template("{bar:10} {wide_msg}");
        let bar = ProgressBar::with_draw_target(
            Some(standing.filesize.get()),
            ProgressDrawTarget::stderr(),
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_position(standing.received.get());
        bar.reset_eta();
        self.bar = Some(bar);
        self.advance(standing);
    }

    fn advance(&mut self, standing: &Standing) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(standing.received.get());
        let percent = percent(standing.received.get(), standing.filesize.get());
        bar.set_message(format!(
            "{percent}% {} {}/s {}",
            standing.progress,
            speed(bar.per_sec()),
            printable(&standing.filename)
        ));
    }

    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Reading less than that takes no time to speak of.
const CHECK_WORTH_SAYING_BYTES: u64 = 256 << 20;

/// A path as a person may see it.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Whole percents, rounded down: 100 means all of it.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole));
    percent.and_then(|percent| u64::try_from(percent).ok()).unwrap_or(100)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a speed for people; `as` saturates"
)]
fn speed(bytes_per_second: f64) -> ByteSize {
    ByteSize(bytes_per_second as u64)
}

fn completed(receipt: &Receipt) -> String {
    let name: String = receipt
        .folder
        .iter()
        .chain([&receipt.filename])
        .map(|name| printable(name))
        .collect::<Vec<_>>()
        .join("/");
    let word = if receipt.existing { "Already uploaded" } else { "Upload complete" };
    format!(
        "{word}: document {}, {name}, {} bytes, blake3 {}",
        receipt.document_id, receipt.filesize, receipt.blake3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(0, 5), 0);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn a_receipt_cannot_upset_a_terminal() {
        let receipt = Receipt {
            path: "/x".into(),
            document_id: towline_protocol::DocumentId::MIN,
            filename: "a\u{1b}[31m".to_owned(),
            folder: vec!["b\n".to_owned()],
            filesize: towline_protocol::FileSize::MIN,
            blake3: towline_protocol::FileHash::from_bytes([0; 32]),
            existing: false,
            durable: true,
            sent_bytes: 0,
        };
        assert!(!completed(&receipt).chars().any(char::is_control));
    }
}
