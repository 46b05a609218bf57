//! What the command line prints for a person or for a program.

mod bar;
mod comparing;
mod end_of_run;
mod lines;
mod margin;
mod meter;
mod paced;
mod resuming;
mod screen;
mod style;
mod ticks;
mod waiting;
#[cfg(unix)]
mod watching;

use super::error::{CliError, Reader};
use super::json;
use super::output::{line, say};
use super::selection::found_files::FoundFiles;
use crate::events::{ErrorReport, Event, FetchSummary, Receipt, Summary};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::locked::lock;
use crate::text::printable;
use crate::text::shown;
use crate::units;
use crate::walk::NotKept;
pub(super) use comparing::Comparing;
use lines::Hints;
pub(super) use lines::{links_and_folders, not_kept};
use paced::Paced;
pub(super) use resuming::Resuming;
use screen::checking::Deed;
use screen::{Screen, Viewer};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;
pub(super) use style::{Detail, LinesTo, OutputStyle, Stop};
use ticks::ticks;
use towline_types::DocumentId;
use waiting::Waiting;
#[cfg(unix)]
pub(super) use watching::{UploadEnd, Watching};

/// In a run of more files than this, only problems and the sum are printed, unless `--verbose`.
const FEW_FILES: usize = 20;

/// In a run of more than [`FEW_FILES`], the continuation of a file is printed only where the server
/// has at least this number of bytes of it.
const PART_WORTH_SAYING: u64 = 8 << 20;

/// To read fewer bytes than this takes so little time that nothing is printed about it.
const CHECK_WORTH_SAYING_BYTES: u64 = 256 << 20;

/// Prints events: as JSON or as plain lines on standard output, notices and the bar on standard
/// error.
#[derive(Debug)]
pub(super) struct Printer {
    style: OutputStyle,
    /// The command by which a person continues an upload.
    resuming: Resuming,
    options_to_resume: String,
    screen: Arc<Mutex<Screen>>,
    /// Dropped with the printer: then the thread that draws the bar ends.
    _ticks: Sender<()>,
    /// Whether the next resumption is printed: the first one, and each one after a wait that
    /// was printed.
    resuming_is_news: bool,
    waiting: Waiting,
    begun: Instant,
    /// The files of the run, as far as they are known.
    found: Vec<Arc<FoundFiles>>,
    sum: Summary,
    /// The sums of a run that fetches.
    fetch: Option<FetchSummary>,
    lines_to: LinesTo,
    /// The command knows the option `--skip-refused`, and the option was not given.
    offers_skipping: bool,
    /// A file was refused that `--skip-refused` would have left out.
    is_skippable: bool,
}

impl Printer {
    pub(super) fn new(style: OutputStyle, resuming: Resuming) -> Self {
        let begun = Instant::now();
        let viewer = Viewer::of(style);
        let screen = Arc::new(Mutex::new(Screen::new(viewer, begun)));
        let ticks = ticks(viewer, &screen);
        Self {
            style,
            options_to_resume: resuming.options(),
            resuming,
            screen,
            _ticks: ticks,
            resuming_is_news: true,
            waiting: Waiting::default(),
            begun,
            found: vec![Arc::new(FoundFiles::known(1, 0))],
            sum: Summary::default(),
            fetch: None,
            lines_to: LinesTo::Output,
            offers_skipping: false,
            is_skippable: false,
        }
    }

    /// The printer of a run that fetches.
    pub(super) fn for_fetching(style: OutputStyle, lines_to: LinesTo) -> Self {
        let fetch = Some(FetchSummary::default());
        Self { fetch, lines_to, ..Self::new(style, Resuming::SameCommand) }
    }

    /// The command has the option that leaves refused files out.
    pub(super) fn offer_skipping(&mut self) {
        self.offers_skipping = true;
    }

    /// These files are to be sent; more of them may be found.
    pub(super) fn expect(&mut self, found: Vec<Arc<FoundFiles>>) {
        let now = Instant::now();
        let mut screen = lock(&self.screen);
        screen.listen(now);
        screen.expect(found.clone(), now);
        drop(screen);
        self.found = found;
    }

    /// How many files the run has, as far as that is known.
    fn files(&self) -> usize {
        let files: u64 = self.found.iter().map(|found| found.count()).sum();
        usize::try_from(files).unwrap_or(usize::MAX)
    }

    /// A file or folder was left out by a rule.
    pub(super) fn is_excluded(&mut self) {
        self.sum.excluded += 1;
    }

    /// A link or an empty folder was made.
    pub(super) fn is_made(&mut self) {
        self.sum.made += 1;
    }

    /// Adds what the server does not keep of something that is there now.
    pub(super) fn loses(&mut self, not_kept: NotKept) {
        self.sum.not_kept += not_kept;
    }

    /// Interrupted files are continued by one command: no line about one file says how.
    pub(super) fn pause_together(&mut self) {
        self.resuming = Resuming::WithTheRest;
    }

    pub(super) fn show(&mut self, event: &Event) {
        let now = Instant::now();
        let screen = Arc::clone(&self.screen);
        let mut screen = lock(&screen);
        let mut pace = (None, None);
        screen.heard();
        match event {
            Event::Started(status) => {
                screen.begin(status, now);
                // A terminal shows the upload all the time, so the next resumption is not printed.
                self.resuming_is_news = false;
            }
            Event::Resumed { status, left_bytes, changed } => {
                screen.begin(status, now);
                // Where many small files are continued, a line for each would hide the other lines.
                let is_worth_saying = self.tells_each() || status.held_bytes >= PART_WORTH_SAYING;
                if let Some(text) = lines::resumed(status, *left_bytes, *changed)
                    && is_worth_saying
                    && std::mem::take(&mut self.resuming_is_news)
                {
                    self.note_on(&screen, &text);
                }
            }
            Event::Progress(status) => {
                screen.advance(status, now);
                pace = screen.pace(now);
            }
            Event::Paused(status) => {
                screen.end(Some(&status.path), now);
                screen.clear();
                self.sum.sent_bytes += status.sent_bytes;
                self.sum.safe_bytes += status.safe_bytes;
                let how = self.how_to_resume(status.document_id);
                self.note_on(&screen, &lines::paused(status, &how));
            }
            Event::Completed(receipt) => {
                let took = screen.end(Some(&receipt.path), now);
                self.resuming_is_news = true;
                self.count(receipt);
                let unseen = if took.is_some() { 0 } else { receipt.sent_bytes };
                screen.count(receipt.filesize.get(), unseen, now);
                // Where many files got another name, only the first [`FEW_FILES`] are named.
                let is_renamed = lines::renamed(receipt).is_some();
                if self.tells_each() || (is_renamed && self.sum.renamed <= FEW_FILES) {
                    let text = lines::completed(receipt, took, self.style.detail);
                    self.line_on(&screen, &text);
                }
            }
            Event::Error(report) => {
                screen.end(report.path.as_deref(), now);
            }
            Event::Notice { path, message } => {
                self.note_on(&screen, &format!("{}: {}", shown(path), printable(message)));
            }
            Event::Waiting { path, reason, attempt, next_in } => {
                // A terminal shows the wait while it lasts, and only the first resumption is
                // printed.
                self.resuming_is_news |= screen.viewer() != Viewer::Terminal;
                let text = format!(
                    "{} (attempt {attempt} failed; the next is in {} s)",
                    printable(reason),
                    next_in.as_secs_f64().ceil()
                );
                screen.wait(path, &text);
                if screen.viewer() != Viewer::Terminal
                    && self.waiting.is_news(reason, Instant::now())
                {
                    self.note_on(&screen, &format!("{}: {text}", shown(path)));
                }
            }
            Event::Checking { path, bytes, checked_bytes } => {
                let is_new = screen.check(Deed::Compares, path, *bytes, *checked_bytes, now);
                if is_new && *bytes >= CHECK_WORTH_SAYING_BYTES {
                    let size = units::size(*bytes);
                    self.note_on(&screen, &format!("{}: reading {size} to compare", shown(path)));
                }
            }
            Event::Copying { path, bytes, copied_bytes } => {
                let is_new = screen.check(Deed::Copies, path, *bytes, *copied_bytes, now);
                if is_new && *bytes >= CHECK_WORTH_SAYING_BYTES {
                    let size = units::size(*bytes);
                    let text =
                        format!("the server already has these bytes and copies them ({size})");
                    self.note_on(&screen, &format!("{}: {text}", shown(path)));
                }
            }
            Event::Skipped { path, reason } => {
                self.sum.skipped += 1;
                self.note_on(&screen, &format!("{}: {reason}; skipped", shown(path)));
            }
            Event::Stalled { .. } => {}
            Event::Fetching(fetching) => {
                screen.follow(&fetching.as_status(), now);
                pace = screen.pace(now);
            }
            Event::Fetched(fetched) => {
                let took = screen.end(Some(&fetched.path), now);
                if let Some(sum) = &mut self.fetch {
                    let counter =
                        if fetched.existing { &mut sum.existing } else { &mut sum.fetched };
                    *counter += 1;
                }
                let is_unseen = took.is_none() && !fetched.existing;
                let unseen = if is_unseen { fetched.filesize.get() } else { 0 };
                screen.count(fetched.filesize.get(), unseen, now);
                if self.tells_each() {
                    self.line_on(&screen, &lines::fetched(fetched, took, self.style.detail));
                }
            }
            Event::Made { path: _, existing } => {
                if let Some(sum) = &mut self.fetch {
                    let counter = if *existing { &mut sum.existing } else { &mut sum.made };
                    *counter += 1;
                }
            }
            Event::FetchSummary(summary) => {
                screen.clear();
                self.line_on(&screen, &lines::fetch_summary(summary));
            }
            Event::Summary(summary) => {
                screen.clear();
                let hints = Hints {
                    can_skip: self.offers_skipping && self.is_skippable,
                    hides_names: summary.renamed > FEW_FILES
                        && self.style.detail != Detail::EachFile,
                };
                let not_kept = self.style.detail.told(summary.not_kept);
                let summary = Summary { not_kept, ..summary.clone() };
                self.line_on(&screen, &lines::summary(&summary, hints));
            }
        }
        if self.style.reader == Reader::Program {
            json::print(&Paced::new(event, pace));
        }
    }

    /// Prints a failure that concerns one file or the whole run, and counts it.
    pub(super) fn failed(&mut self, path: Option<&Path>, failure: &Failure) {
        if path.is_some() {
            let counter =
                if failure.is_of_name() { &mut self.sum.refused } else { &mut self.sum.failed };
            *counter += 1;
            // Standard input is refused with `--skip-refused`, too.
            self.is_skippable |= failure.is_of_name() && !matches!(failure, Failure::StandardInput);
        }
        if let Some(kept) = failure.kept() {
            self.sum.sent_bytes += kept.sent_bytes;
            self.sum.safe_bytes += kept.safe_bytes;
        }
        let advice = failure.advice();
        self.show(&Event::Error(ErrorReport {
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
        lock(&self.screen).suspend(|| say(&text));
    }

    /// The file is on the server and has no receipt: prints why, and counts the file as before.
    pub(super) fn has_no_receipt(&mut self, path: &Path, failure: &Failure) {
        let error = CliError::about_file(path, failure);
        lock(&self.screen).suspend(|| error.report(Some(path), self.style.reader));
    }

    /// Whether events are printed.
    pub(super) fn is_for_programs(&self) -> bool {
        self.style.reader == Reader::Program
    }

    /// The run has no files: prints `text`, or the summary for a program.
    pub(super) fn nothing_to_do(&mut self, text: &str) {
        if self.style.reader == Reader::Program {
            self.finish(Exit::Done);
        } else {
            self.line_on(&lock(&self.screen), text);
        }
    }

    /// An entry of the list could not be continued at all.
    pub(super) fn cannot_begin(
        &mut self,
        about: &str,
        path: Option<&Path>,
        document_id: Option<DocumentId>,
        error: &CliError,
    ) {
        self.sum.failed += 1;
        self.show(&Event::Error(ErrorReport {
            path: path.map(Path::to_owned),
            document_id,
            code: None,
            message: error.to_string(),
            advice: None,
            exit: error.exit.code(),
        }));
        lock(&self.screen).suspend(|| say(&format!("{about}: {error}")));
    }

    /// Prints something that a person may want to know, unless `--quiet`.
    pub(super) fn note(&self, text: &str) {
        self.note_on(&lock(&self.screen), text);
    }

    /// The number of files of the run that are on the server, in their place.
    pub(super) fn done(&self) -> usize {
        self.sum.sent + self.sum.copied + self.sum.existing
    }

    fn count(&mut self, receipt: &Receipt) {
        let counter = match receipt {
            Receipt { existing: true, .. } => &mut self.sum.existing,
            Receipt { copied: true, .. } => &mut self.sum.copied,
            _ => &mut self.sum.sent,
        };
        *counter += 1;
        self.sum.renamed += usize::from(lines::renamed(receipt).is_some());
        self.sum.sent_bytes += receipt.sent_bytes;
    }

    /// Whether a line is printed for each file that went well.
    fn tells_each(&self) -> bool {
        self.style.detail == Detail::EachFile || self.files() <= FEW_FILES
    }

    fn how_to_resume(&self, document_id: DocumentId) -> String {
        match &self.resuming {
            Resuming::ByNumber { .. } => {
                let options = self.options_to_resume();
                format!("run `towline resume {document_id}{options}` to continue")
            }
            Resuming::SameCommand => "run the same command again to continue".to_owned(),
            Resuming::WithTheRest => String::new(),
        }
    }

    /// The options of `towline resume` that follow the number, each with a space before it.
    pub(super) fn options_to_resume(&self) -> &str {
        &self.options_to_resume
    }

    /// Prints a line for people on standard output.
    fn line_on(&self, screen: &Screen, text: &str) {
        let OutputStyle { reader, detail } = self.style;
        if reader == Reader::Program || detail == Detail::Errors {
            return;
        }
        screen.suspend(|| match self.lines_to {
            LinesTo::Output => line(text),
            LinesTo::Error => say(text),
        });
    }

    fn note_on(&self, screen: &Screen, text: &str) {
        if self.style.detail != Detail::Errors {
            screen.suspend(|| say(text));
        }
    }
}
