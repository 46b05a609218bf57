//! Shows what is going on at this moment: as a bar on a terminal, as one line a minute elsewhere,
//! as an event for a program.

pub(super) mod checking;
mod run;
mod sending;
mod standby;
#[cfg(test)]
mod tests;

use super::bar::{self, Glyphs};
use super::margin::Margin;
use super::meter::Meter;
use super::{Detail, OutputStyle};
use crate::cli::error::Reader;
use crate::cli::json;
use crate::cli::output::say;
use crate::cli::selection::found_files::FoundFiles;
use crate::events::{Event, UploadStatus};
use crate::text::printable;
use crate::units;
use checking::{Checking, Deed};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use run::Job;
use sending::File;
use standby::Standby;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The window over which the rate of one file is measured: the rate follows a stall within 3 s.
const FILE_WINDOW: Duration = Duration::from_secs(3);

/// The window for the rate of all files of a run, whose sizes differ.
const JOB_WINDOW: Duration = Duration::from_secs(10);

/// Without a terminal, one line is printed in this time.
const MINUTE: Duration = Duration::from_secs(60);

/// The first of these lines is printed after this time. So a person sees within 10 s that a long
/// run is alive, and a shorter run prints only what it has done.
const FIRST_LINE: Duration = Duration::from_secs(10);

/// After this time without a word from the server, a line says that the client waits.
const SILENCE: Duration = Duration::from_secs(2);

/// How often per second the terminal is drawn at most.
pub(super) const DRAWN_HERTZ: u8 = 20;

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Viewer {
    /// A person before a terminal.
    Terminal,
    /// A person who reads it later, from a file.
    Log,
    /// A program.
    Program,
    /// Nothing is shown: `--quiet`.
    None,
}

impl Viewer {
    /// Who reads the output where these options were given.
    pub(super) fn of(style: OutputStyle) -> Self {
        match style {
            OutputStyle { reader: Reader::Program, .. } => Self::Program,
            OutputStyle { detail: Detail::Errors, .. } => Self::None,
            _ if std::io::stderr().is_terminal() => Self::Terminal,
            _ => Self::Log,
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Screen {
    viewer: Viewer,
    glyphs: Glyphs,
    file: Option<File>,
    checking: Option<Checking>,
    /// The files that wait and of which the server has granted nothing in this run. The file of the
    /// latest message is the last one.
    standbys: Vec<Standby>,
    /// When the run began to wait for its first event; nothing after that event.
    silent_since: Option<Instant>,
    job: Option<Job>,
    /// How many files were compared, where that is what the run does, and their bytes.
    compared: Option<(u64, u64)>,
    bar: Option<ProgressBar>,
    /// When the next line is printed to a log.
    log_due: Instant,
}

impl Screen {
    pub(super) fn new(viewer: Viewer, now: Instant) -> Self {
        let glyphs = Glyphs::of_environment();
        Self {
            viewer,
            glyphs,
            file: None,
            checking: None,
            standbys: Vec::new(),
            silent_since: None,
            job: None,
            compared: None,
            bar: None,
            log_due: now + FIRST_LINE,
        }
    }

    pub(super) fn viewer(&self) -> Viewer {
        self.viewer
    }

    /// The run turns to the server, and has not received an event.
    pub(super) fn listen(&mut self, now: Instant) {
        self.silent_since = Some(now);
    }

    /// An event has arrived.
    pub(super) fn heard(&mut self) {
        self.silent_since = None;
    }

    /// Begins the line of a job: it has these files, and those that are found later.
    pub(super) fn expect(&mut self, found: Vec<Arc<FoundFiles>>, now: Instant) {
        let moved = Meter::new(JOB_WINDOW, now, 0, u64::MAX);
        self.job = Some(Job { found, done_files: 0, done_bytes: 0, moved, news: now });
    }

    /// A file begins, or is continued on another connection.
    pub(super) fn begin(&mut self, status: &UploadStatus, now: Instant) {
        let begun = match &self.file {
            Some(file) if file.path == status.path => file.begun,
            _ => now,
        };
        self.is_not_standby(&status.path);
        // A file that waits in the queue keeps its reason while another one is sent.
        if let Some(File { path, name, waiting: Some(reason), .. }) =
            self.file.take_if(|file| file.path != status.path)
        {
            self.standbys.push(Standby { path, name, reason });
        }
        let held_bytes = status.held_bytes;
        // The end of a pipe is not known.
        let filesize = if status.is_open { u64::MAX } else { status.filesize.get() };
        self.checking = None;
        self.file = Some(File {
            path: status.path.clone(),
            document_id: status.document_id,
            name: printable(&status.filename),
            begun,
            meter: Meter::new(FILE_WINDOW, now, held_bytes, filesize),
            is_open: status.is_open,
            waiting: None,
            is_stall_told: false,
        });
    }

    /// The same for a file that is shown already, or begins with this.
    pub(super) fn follow(&mut self, status: &UploadStatus, now: Instant) {
        if self.file.as_ref().is_none_or(|file| file.path != status.path) {
            self.begin(status, now);
        }
        self.advance(status, now);
    }

    pub(super) fn advance(&mut self, status: &UploadStatus, now: Instant) {
        let Some(file) = &mut self.file else { return };
        let before = file.meter.position();
        file.meter.connect(now, status.held_bytes);
        if file.meter.position() > before {
            file.waiting = None;
            file.is_stall_told = false;
            if let Some(job) = &mut self.job {
                let moved = job.moved.position() + (file.meter.position() - before);
                job.moved.connect(now, moved);
            }
        }
    }

    /// The rate of the file in bytes per second, and the time that the rest of it needs.
    pub(super) fn pace(&self, now: Instant) -> (Option<u64>, Option<Duration>) {
        let Some(file) = &self.file else { return (None, None) };
        let left = file.meter.left(now).filter(|_| !file.is_open);
        (file.meter.rate(now), left)
    }

    /// The file waits, whether the server has a part of it or could not be reached yet.
    pub(super) fn wait(&mut self, path: &Path, message: &str) {
        self.checking = None;
        let reason = printable(message);
        if let Some(file) = self.file.as_mut().filter(|file| file.path == path) {
            file.waiting = Some(reason);
            return;
        }
        self.is_not_standby(path);
        let name = printable(&path.file_name().unwrap_or_default().to_string_lossy());
        self.standbys.push(Standby { path: path.to_owned(), name, reason });
    }

    fn is_not_standby(&mut self, path: &Path) {
        self.standbys.retain(|standby| standby.path != path);
    }

    /// A file is being read or copied, up to `checked_bytes`. Returns whether that has just begun.
    pub(super) fn check(
        &mut self,
        deed: Deed,
        path: &Path,
        bytes: u64,
        checked_bytes: u64,
        now: Instant,
    ) -> bool {
        self.is_not_standby(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = printable(&name);
        self.checking.take_if(|checking| (checking.deed, &checking.name) != (deed, &name));
        let is_new = self.checking.is_none();
        let checking = self.checking.get_or_insert_with(|| Checking {
            deed,
            name,
            meter: Meter::new(FILE_WINDOW, now, checked_bytes, bytes),
        });
        checking.meter.connect(now, checked_bytes);
        is_new
    }

    /// Sets how many files were compared, and how many bytes they have.
    pub(super) fn compare(&mut self, files: u64, bytes: u64) {
        self.compared = Some((files, bytes));
    }

    /// A file has ended, well or not. Returns how long it took, where it was the file on the
    /// screen.
    pub(super) fn end(&mut self, path: Option<&Path>, now: Instant) -> Option<Duration> {
        self.checking = None;
        self.standbys.retain(|standby| path.is_some_and(|path| standby.path != path));
        let file = self.file.take_if(|file| path.is_none_or(|path| file.path == path))?;
        // The library draws the last line of the bar once more when the next text is printed: that
        // line has to be up to date.
        if self.bar.is_some() {
            self.draw(now);
        }
        Some(now.duration_since(file.begun))
    }

    /// One more file is done. `unseen_bytes` of it were sent without a progress report.
    pub(super) fn count(&mut self, filesize: u64, unseen_bytes: u64, now: Instant) {
        if let Some(job) = &mut self.job {
            job.done_files += 1;
            job.news = now;
            job.done_bytes += filesize;
            let moved = job.moved.position() + unseen_bytes;
            job.moved.connect(now, moved);
        }
    }

    /// Shows the present state; called several times per second.
    pub(super) fn tick(&mut self, now: Instant) {
        match self.viewer {
            Viewer::Terminal => self.draw(now),
            Viewer::Log => {
                if let Some(text) = self.minute(now) {
                    say(&text);
                }
            }
            Viewer::Program => self.tell_stall(now),
            Viewer::None => {}
        }
    }

    /// Calls `print` while the bar is erased.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Erases the bar.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The run has ended: nothing is drawn after this.
    pub(super) fn close(&mut self) {
        (self.file, self.checking, self.job, self.silent_since) = (None, None, None, None);
        (self.standbys, self.compared) = (Vec::new(), None);
        self.clear();
    }

    fn draw(&mut self, now: Instant) {
        let terminal = Margin::of(console::Term::stderr());
        let lines = self.lines(terminal.columns(), now);
        if lines.is_empty() {
            return self.clear();
        }
        let bar = self.bar.get_or_insert_with(|| {
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal), DRAWN_HERTZ);
            let bar = ProgressBar::with_draw_target(None, target);
            // A template of one field is always good.
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        // This also draws the bar.
        bar.set_message(lines.join("\n"));
    }

    /// The lines on a terminal: one for the file, one for the run.
    fn lines(&self, width: usize, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(checking) = &self.checking {
            lines.push(checking.line(width, now, self.glyphs));
        } else if let Some(file) = &self.file {
            lines.push(file.line(width, now, self.glyphs));
        }
        if let Some(standby) = self.standbys.last() {
            lines.push(standby.line(width, self.standbys.len() - 1, self.glyphs));
        }
        if let Some(job) = self.job.as_ref().filter(|job| job.has_many_files()) {
            lines.push(bar::longest(&self.job_texts(job, now), width, self.glyphs));
        }
        if let Some(text) = self.compared_text() {
            let texts = [format!("{text} (Ctrl-C ends this)"), text];
            lines.push(bar::longest(&texts, width, self.glyphs));
        }
        if lines.is_empty()
            && let Some(text) = self.job.as_ref().and_then(Job::list_text)
        {
            lines.push(bar::longest(&[text], width, self.glyphs));
        }
        let is_silent = self.silent_since.is_some_and(|since| now.duration_since(since) >= SILENCE);
        if lines.is_empty() && is_silent {
            let texts = ["waiting for the server (Ctrl-C pauses)", "waiting for the server"];
            lines.push(bar::longest(&texts.map(str::to_owned), width, self.glyphs));
        }
        lines
    }

    fn job_texts(&self, job: &Job, now: Instant) -> [String; 3] {
        let has_line_of_file =
            self.file.is_some() || self.checking.is_some() || !self.standbys.is_empty();
        job.texts(self.file.as_ref(), has_line_of_file, now)
    }

    fn compared_text(&self) -> Option<String> {
        let (files, bytes) = self.compared?;
        let files = units::count(usize::try_from(files).unwrap_or(usize::MAX), "file");
        Some(format!("{files} compared, {}", units::size(bytes)))
    }

    /// The line of this minute, if it is due.
    fn minute(&mut self, now: Instant) -> Option<String> {
        if now < self.log_due {
            return None;
        }
        let mut text = match (&self.checking, &self.file) {
            (Some(checking), _) => checking.minute(),
            (None, Some(file)) => file.minute(now),
            (None, None) => self.standbys.last().map_or_else(String::new, Standby::minute),
        };
        if let Some(job) = self.job.as_ref().filter(|job| job.has_many_files()) {
            let [line, ..] = self.job_texts(job, now);
            text = if text.is_empty() { line } else { format!("{text}; {line}") };
        }
        if let Some(line) = self.compared_text() {
            text = if text.is_empty() { line } else { format!("{text}; {line}") };
        }
        if text.is_empty() {
            text = self.job.as_ref().and_then(Job::list_text).unwrap_or_default();
        }
        self.log_due = now + MINUTE;
        (!text.is_empty()).then_some(text)
    }

    fn tell_stall(&mut self, now: Instant) {
        // Where a pipe brings no bytes, the server is not the cause.
        let may_stall = |file: &&mut File| file.waiting.is_none() && !file.is_open;
        let Some(file) = self.file.as_mut().filter(may_stall) else { return };
        if let (Some(silence), false) = (file.meter.stall(now), file.is_stall_told) {
            file.is_stall_told = true;
            let (path, document_id) = (file.path.clone(), file.document_id);
            let event = Event::Stalled { path, document_id, seconds: silence.as_secs() };
            json::print(&event);
        }
    }
}
