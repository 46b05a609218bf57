//! What the command line prints for a person or for a program.

mod bar;
mod json;
mod lines;
mod margin;
mod meter;
mod resuming;
mod screen;
mod waiting;

use super::error::CliError;
use super::output::{line, say};
use super::selection::found_files::FoundFiles;
use crate::events::{ErrorReport, Event, FetchSummary, Receipt, Summary};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::printable;
use crate::text::shown;
use crate::units;
pub(super) use resuming::Resuming;
use screen::checking::Deed;
use screen::{Screen, Viewer};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use towline_types::DocumentId;
use waiting::Waiting;

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(200);

/// In a run of more files than this, only problems and the sum are printed, unless `--verbose`.
const FEW_FILES: usize = 20;

/// In a run of more than [`FEW_FILES`], the continuation of a file is printed only where the server
/// has at least this number of bytes of it.
const PART_WORTH_SAYING: u64 = 8 << 20;

/// To read fewer bytes than this takes so little time that nothing is printed about it.
const CHECK_WORTH_SAYING_BYTES: u64 = 256 << 20;

/// The options `--json`, `--quiet` and `--verbose`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutputStyle {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
}

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
    /// Standard output is for the bytes of a file.
    lines_to_error: bool,
    /// The command knows the option `--skip-refused`, and the option was not given.
    offers_skipping: bool,
    /// A file was refused that `--skip-refused` would have left out.
    is_skippable: bool,
}

impl Printer {
    pub(super) fn new(style: OutputStyle, resuming: Resuming) -> Self {
        let viewer = match style {
            OutputStyle { json: true, .. } => Viewer::Program,
            OutputStyle { quiet: true, .. } => Viewer::None,
            _ if std::io::stderr().is_terminal() => Viewer::Terminal,
            _ => Viewer::Log,
        };
        let begun = Instant::now();
        let screen = Arc::new(Mutex::new(Screen::new(viewer, begun)));
        let (ticks, ended) = channel();
        if viewer != Viewer::None {
            let screen = Arc::clone(&screen);
            // Where the system has no thread, the bar stands still, and the upload goes on.
            let _ =
                std::thread::Builder::new().name("towline-screen".to_owned()).spawn(move || {
                    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                        lock(&screen).tick(Instant::now());
                    }
                });
        }
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
            lines_to_error: false,
            offers_skipping: false,
            is_skippable: false,
        }
    }

    /// The printer of a run that fetches. Where it fetches `to_output`, lines for people go to
    /// standard error.
    pub(super) fn for_fetching(style: OutputStyle, to_output: bool) -> Self {
        let fetch = Some(FetchSummary::default());
        Self { fetch, lines_to_error: to_output, ..Self::new(style, Resuming::SameCommand) }
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
                    let text = lines::completed(receipt, took, self.style.verbose);
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
                    let text = format!("the server has all of it and copies it ({size})");
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
                    self.line_on(&screen, &lines::fetched(fetched, took, self.style.verbose));
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
                let can_skip = self.offers_skipping && self.is_skippable;
                let hides_names = summary.renamed > FEW_FILES && !self.style.verbose;
                self.line_on(&screen, &lines::summary(summary, can_skip, hides_names));
            }
        }
        if self.style.json {
            json::print(event, pace.0, pace.1);
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

    /// The run has no files: prints `text`, or the summary for a program.
    pub(super) fn nothing_to_do(&mut self, text: &str) {
        if self.style.json {
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

    /// Adds files that are not finished, because the run has ended before. The server has a part of
    /// the `begun` ones.
    pub(super) fn unfinished(&mut self, begun: usize, unbegun: usize) {
        self.sum.paused += begun + unbegun;
        self.sum.begun += begun;
    }

    /// Prints how the command as a whole stands when it ends before all of its files are done, and
    /// how a person continues it.
    pub(super) fn rests(&self, was_interrupted: bool, how: &str) {
        let Summary { paused, begun, .. } = self.sum;
        let word = if was_interrupted { "paused" } else { "stopped" };
        self.note(&format!(
            "{word}: {} of {}{} done, {begun} begun, {} to go{}{how}",
            self.done(),
            if self.found.iter().all(|found| found.is_all()) { "" } else { "at least " },
            units::count(self.files(), "file"),
            paused - begun,
            if how.is_empty() { "" } else { ". " }
        ));
    }

    /// The bytes of files that came from the server.
    pub(super) fn fetched_bytes(&mut self, bytes: u64) {
        if let Some(sum) = &mut self.fetch {
            sum.fetched_bytes += bytes;
        }
    }

    /// The end of a run that fetches.
    pub(super) fn finish_fetching(&mut self, exit: Exit) {
        let took = self.begun.elapsed().as_millis();
        let sum = FetchSummary {
            skipped: self.sum.skipped,
            failed: self.sum.failed + self.sum.refused,
            milliseconds: u64::try_from(took).unwrap_or(u64::MAX),
            exit: exit.code(),
            ..self.fetch.clone().unwrap_or_default()
        };
        // One file has said everything by itself.
        let count = sum.fetched + sum.existing + sum.made + sum.skipped + sum.failed;
        if self.style.json || count > 1 {
            self.show(&Event::FetchSummary(sum));
        }
        lock(&self.screen).close();
    }

    /// Prints the end of a run.
    pub(super) fn finish(&mut self, exit: Exit) {
        let took = self.begun.elapsed().as_millis();
        let sum = Summary {
            milliseconds: u64::try_from(took).unwrap_or(u64::MAX),
            exit: exit.code(),
            ..self.sum.clone()
        };
        let Summary { sent, copied, existing, skipped, refused, failed, paused, .. } = sum;
        // One file has printed everything by itself.
        let is_one = sent + copied + existing + skipped + refused + failed + paused == 1;
        if self.style.json || !is_one {
            self.show(&Event::Summary(sum));
        }
        if self.style.quiet && skipped > 0 {
            say(&format!(
                "{} skipped; without --quiet each is named",
                units::count(skipped, "file")
            ));
        }
        lock(&self.screen).close();
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
        self.style.verbose || self.files() <= FEW_FILES
    }

    fn how_to_resume(&self, document_id: DocumentId) -> String {
        match &self.resuming {
            Resuming::ByNumber { .. } => {
                let options = self.options_to_resume();
                format!("run `towline resume {document_id}{options}` to go on")
            }
            Resuming::SameCommand => "run the same command again to go on".to_owned(),
            Resuming::WithTheRest => String::new(),
        }
    }

    /// The options of `towline resume` that follow the number, each with a space before it.
    pub(super) fn options_to_resume(&self) -> &str {
        &self.options_to_resume
    }

    /// Prints a line for people on standard output.
    fn line_on(&self, screen: &Screen, text: &str) {
        if self.style.json || self.style.quiet {
            return;
        }
        match self.lines_to_error {
            true => screen.suspend(|| say(text)),
            false => screen.suspend(|| line(text)),
        }
    }

    fn note_on(&self, screen: &Screen, text: &str) {
        if !self.style.quiet {
            screen.suspend(|| say(text));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
