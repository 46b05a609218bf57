//! What is going on at this moment, and showing it: as a bar on a terminal, as a line a
//! minute elsewhere, as an event for a program.

use super::bar::{self, Glyphs, Moving};
use super::margin::Margin;
use super::meter::{Meter, STALL};
use super::output::say;
use super::{json, lines};
use crate::events::{Event, UploadStatus};
use crate::text::printable;
use crate::units;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use towline_types::DocumentId;

/// What a rate is taken over: it follows a stall within three seconds.
const FILE_WINDOW: Duration = Duration::from_secs(3);

/// The same for all files of a run, whose sizes differ.
const JOB_WINDOW: Duration = Duration::from_secs(10);

/// Without a terminal, a line comes as often as that.
const MINUTE: Duration = Duration::from_secs(60);

/// The first of them comes after this time: a run that takes minutes is seen to be alive
/// before the first one is over, and a short run says what it has done and nothing else.
const FIRST_LINE: Duration = Duration::from_secs(10);

/// A server that has not said anything for this long is worth a line.
const SILENCE: Duration = Duration::from_secs(2);

/// How often in a second the terminal is drawn to at most.
const DRAWN_HERTZ: u8 = 20;

/// Who looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Viewer {
    /// A person before a terminal.
    Terminal,
    /// A person who reads it later.
    Log,
    /// A program.
    Program,
    /// No one: `--quiet`.
    None,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Screen {
    viewer: Viewer,
    glyphs: Glyphs,
    file: Option<File>,
    checking: Option<Checking>,
    /// Files that wait and of which the server has granted nothing in this run, the one
    /// that was told of last at the end.
    standbys: Vec<Standby>,
    /// When the run began to wait for its first event; nothing after that event.
    silent_since: Option<Instant>,
    job: Option<Job>,
    bar: Option<ProgressBar>,
    /// When a log gets its next line.
    log_due: Instant,
}

/// The file that is being sent.
#[derive(Debug)]
struct File {
    path: PathBuf,
    document_id: DocumentId,
    name: String,
    /// When this run began to send it.
    begun: Instant,
    meter: Meter,
    /// Why nothing can be sent now.
    waiting: Option<String>,
    /// A program was told that it stalls.
    is_stall_told: bool,
}

/// A file that waits before it has begun, or in the queue behind others.
#[derive(Debug)]
struct Standby {
    path: PathBuf,
    name: String,
    /// Why it waits.
    reason: String,
}

/// A file that is being read to compare it, or that the server copies.
#[derive(Debug)]
struct Checking {
    deed: Deed,
    name: String,
    meter: Meter,
}

/// What is done with a file before it is sent, or instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is read here, to compare it with what the server has.
    Compares,
    /// The server copies it, from another document or to another disk.
    Copies,
}

/// All files of a run.
#[derive(Debug)]
struct Job {
    files: usize,
    bytes: u64,
    done_files: usize,
    done_bytes: u64,
    /// The bytes that travelled, whatever file they are of.
    moved: Meter,
    /// When a file was done, or began.
    news: Instant,
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
            bar: None,
            log_due: now + FIRST_LINE,
        }
    }

    pub(super) fn viewer(&self) -> Viewer {
        self.viewer
    }

    /// The run turns to the server; nothing was heard yet.
    pub(super) fn listen(&mut self, now: Instant) {
        self.silent_since = Some(now);
    }

    /// The first event has come, or another one.
    pub(super) fn heard(&mut self) {
        self.silent_since = None;
    }

    /// Begins the line of a job: this number of files, with these bytes together.
    pub(super) fn expect(&mut self, files: usize, bytes: u64, now: Instant) {
        let moved = Meter::new(JOB_WINDOW, now, 0, bytes);
        self.job = Some(Job { files, bytes, done_files: 0, done_bytes: 0, moved, news: now });
    }

    /// A file begins, or goes on on another connection.
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
        let (held_bytes, filesize) = (status.held_bytes, status.filesize.get());
        self.checking = None;
        self.file = Some(File {
            path: status.path.clone(),
            document_id: status.document_id,
            name: printable(&status.filename),
            begun,
            meter: Meter::new(FILE_WINDOW, now, held_bytes, filesize),
            waiting: None,
            is_stall_told: false,
        });
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

    /// The rate of the file and the time that it needs.
    pub(super) fn pace(&self, now: Instant) -> (Option<u64>, Option<Duration>) {
        let meter = self.file.as_ref().map(|file| &file.meter);
        (meter.and_then(|meter| meter.rate(now)), meter.and_then(|meter| meter.left(now)))
    }

    /// The file waits, whether the server has a part of it or was never reached.
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

    /// This is being done with a file, and so far; says whether that is new.
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

    /// A file has ended, well or not; how long it took, where it was seen to begin.
    pub(super) fn end(&mut self, path: Option<&Path>, now: Instant) -> Option<Duration> {
        self.checking = None;
        self.standbys.retain(|standby| path.is_some_and(|path| standby.path != path));
        let file = self.file.take_if(|file| path.is_none_or(|path| file.path == path))?;
        // Whatever is printed next would draw its last line once more.
        if self.bar.is_some() {
            self.draw(now);
        }
        Some(now.duration_since(file.begun))
    }

    /// One file more is behind us. `unseen_bytes` of it travelled without a report.
    pub(super) fn count(&mut self, filesize: u64, unseen_bytes: u64, now: Instant) {
        if let Some(job) = &mut self.job {
            job.done_files += 1;
            job.news = now;
            job.done_bytes += filesize;
            let moved = job.moved.position() + unseen_bytes;
            job.moved.connect(now, moved);
        }
    }

    /// Shows how it is now; called several times a second.
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

    /// Prints something while the bar is away.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The run has ended: nothing is drawn any more.
    pub(super) fn close(&mut self) {
        (self.file, self.checking, self.job, self.silent_since) = (None, None, None, None);
        self.standbys.clear();
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
        // That draws it, too.
        bar.set_message(lines.join("\n"));
    }

    /// What a terminal shows: a line for the file, one for the job.
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
        if let Some(job) = &self.job {
            lines.push(bar::cut(&self.job_line(job, now), width, self.glyphs));
        }
        let is_silent = self.silent_since.is_some_and(|since| now.duration_since(since) >= SILENCE);
        if lines.is_empty() && is_silent {
            lines.push(bar::cut("waiting for the server (Ctrl-C pauses)", width, self.glyphs));
        }
        lines
    }

    fn job_line(&self, job: &Job, now: Instant) -> String {
        let has_line_of_file =
            self.file.is_some() || self.checking.is_some() || !self.standbys.is_empty();
        job.line(self.file.as_ref(), has_line_of_file, now)
    }

    /// The line of this minute, if it is time for it.
    fn minute(&mut self, now: Instant) -> Option<String> {
        if now < self.log_due {
            return None;
        }
        let mut text = match (&self.checking, &self.file) {
            (Some(checking), _) => checking.minute(),
            (None, Some(file)) => file.minute(now),
            (None, None) => self.standbys.last().map_or_else(String::new, Standby::minute),
        };
        if let Some(job) = &self.job {
            let line = self.job_line(job, now);
            text = if text.is_empty() { line } else { format!("{text}; {line}") };
        }
        self.log_due = now + MINUTE;
        (!text.is_empty()).then_some(text)
    }

    fn tell_stall(&mut self, now: Instant) {
        let Some(file) = self.file.as_mut().filter(|file| file.waiting.is_none()) else { return };
        if let (Some(silence), false) = (file.meter.stall(now), file.is_stall_told) {
            file.is_stall_told = true;
            let (path, document_id) = (file.path.clone(), file.document_id);
            let event = Event::Stalled { path, document_id, seconds: silence.as_secs() };
            json::print(&event, None, None);
        }
    }
}

impl File {
    fn line(&self, width: usize, now: Instant, glyphs: Glyphs) -> String {
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
        bar::moving(width, moving(&self.name, &self.meter, now), glyphs)
    }

    fn minute(&self, now: Instant) -> String {
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

impl Checking {
    fn line(&self, width: usize, now: Instant, glyphs: Glyphs) -> String {
        let Self { deed, name, meter } = self;
        if *deed == Deed::Compares {
            let name = format!("comparing {name}");
            return bar::moving(width, moving(&name, meter, now), glyphs);
        }
        // No bar: nothing of it travels.
        let (part, whole) = (meter.position(), meter.total());
        let percent = units::percent(part, whole);
        let pair = units::pair(part, whole);
        let left = meter
            .left(now)
            .map_or_else(String::new, |left| format!("  {} left", units::clock(left)));
        let texts = [
            format!("the server copies it: {percent}%  {pair}{left}"),
            format!("the server copies it: {percent}%"),
            format!("copied there: {percent}%"),
        ];
        bar::beside(width, name, &texts, glyphs)
    }

    fn minute(&self) -> String {
        let Self { deed, name, meter } = self;
        let share = units::share(meter.position(), meter.total());
        match deed {
            Deed::Compares => format!("comparing {name}: {share}"),
            Deed::Copies => format!("{name}: the server copies it, {share}"),
        }
    }
}

impl Standby {
    /// `others` are the files that wait besides this one.
    fn line(&self, width: usize, others: usize, glyphs: Glyphs) -> String {
        let reason = &self.reason;
        let more = match others {
            0 => String::new(),
            1 => "; 1 other file waits".to_owned(),
            others => format!("; {others} other files wait"),
        };
        // Where the whole reason does not fit, it is cut.
        let texts =
            [format!("{reason}{more}; Ctrl-C pauses"), format!("{reason}{more}"), reason.clone()];
        bar::beside(width, &self.name, &texts, glyphs)
    }

    fn minute(&self) -> String {
        format!("{}: {}", printable(&self.path.to_string_lossy()), self.reason)
    }
}

impl Job {
    /// `14 of 689 files, 1.3 of 9.8 GiB, 3:10 left`
    ///
    /// Where the line of a file says that nothing moves, and why, this one does not.
    fn line(&self, file: Option<&File>, has_line_of_file: bool, now: Instant) -> String {
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

fn moving<'a>(name: &'a str, meter: &Meter, now: Instant) -> Moving<'a> {
    Moving {
        name,
        part: meter.position(),
        whole: meter.total(),
        rate: meter.rate(now),
        left: meter.left(now),
    }
}

/// `3.0 s` counted in whole seconds is `3 s`.
fn whole_seconds(text: &str) -> String {
    text.replace(".0 s", " s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_types::{FileSize, Offset};

    const MIB: u64 = 1 << 20;

    fn status(name: &str, received: u64, filesize: u64) -> UploadStatus {
        UploadStatus {
            path: format!("/x/{name}").into(),
            document_id: DocumentId::MIN,
            filename: name.to_owned(),
            folder: Vec::new(),
            filesize: FileSize::try_from(filesize).unwrap(),
            received: Offset::try_from(received).unwrap(),
            durable: Offset::ZERO,
            held_bytes: received,
            safe_bytes: 0,
            sent_bytes: 0,
            progress: String::new(),
        }
    }

    fn after(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    #[test]
    fn a_stall_keeps_name_and_percent_and_so_does_a_lost_connection() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Terminal, begin);
        screen.begin(&status("two.bin", 0, 100 * MIB), begin);
        screen.advance(&status("two.bin", 58 * MIB, 100 * MIB), after(begin, 1));
        let at = |screen: &Screen, seconds| screen.lines(79, after(begin, seconds)).join("\n");
        assert!(at(&screen, 2).contains("MiB/s"), "{}", at(&screen, 2));
        let text = at(&screen, 13);
        for part in ["two.bin", "stalled for 12 s at 58%", "Ctrl-C"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("MiB/s"), "{text}");
        screen.wait(Path::new("/x/two.bin"), "no connection; trying again");
        let text = at(&screen, 14);
        for part in ["two.bin", "58%", "no connection"] {
            assert!(text.contains(part), "{text}");
        }
        // The connection is back: what was there before is no speed.
        screen.begin(&status("two.bin", 58 * MIB, 100 * MIB), after(begin, 20));
        screen.advance(&status("two.bin", 59 * MIB, 100 * MIB), after(begin, 21));
        assert!(at(&screen, 21).contains("1.0 MiB/s"), "{}", at(&screen, 21));
    }

    #[test]
    fn a_file_that_waits_says_why_before_it_begins_and_behind_others() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Terminal, begin);
        let at = |screen: &Screen, seconds| screen.lines(79, after(begin, seconds)).join("\n");
        screen.listen(begin);
        assert_eq!(at(&screen, 1), "");
        assert!(at(&screen, 2).contains("waiting for the server"), "{}", at(&screen, 2));
        screen.heard();
        screen.wait(Path::new("/x/a"), "connection refused");
        let text = at(&screen, 3);
        assert!(text.starts_with("a  connection refused; Ctrl-C"), "{text}");
        let minute = screen.minute(after(begin, 11)).unwrap();
        assert_eq!(minute, "/x/a: connection refused");
        // Comparing is over where the file waits.
        screen.check(Deed::Compares, Path::new("/x/a"), 100, 100, begin);
        screen.wait(Path::new("/x/a"), "connection refused");
        assert!(!at(&screen, 3).contains("comparing"), "{}", at(&screen, 3));
        screen.begin(&status("a", 0, MIB), begin);
        assert!(!at(&screen, 1).contains("refused"), "{}", at(&screen, 1));
        // It goes behind another one, and its reason stays to be seen.
        screen.wait(Path::new("/x/a"), "its disk is busy");
        screen.wait(Path::new("/x/c"), "its disk is full");
        screen.begin(&status("b", 0, MIB), begin);
        screen.wait(Path::new("/x/a"), "its disk is busy");
        let lines = screen.lines(79, begin);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("b ") && lines[1].contains("busy; 1 other"), "{lines:?}");
        screen.end(Some(Path::new("/x/a")), begin);
        screen.end(Some(Path::new("/x/b")), begin);
        assert!(at(&screen, 0).starts_with("c  its disk is full"), "{}", at(&screen, 0));
        screen.close();
        assert_eq!(at(&screen, 9), "");
    }

    #[test]
    fn what_is_compared_or_waits_does_not_stall() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Terminal, begin);
        screen.expect(3, 40 * MIB, begin);
        let last = |screen: &Screen| screen.lines(79, after(begin, 9)).pop().unwrap();
        assert!(last(&screen).contains("stalled"), "{}", last(&screen));
        screen.check(Deed::Compares, Path::new("/x/a"), 100, 0, begin);
        assert!(!last(&screen).contains("stalled"), "{}", last(&screen));
        screen.wait(Path::new("/x/a"), "no connection");
        assert!(!last(&screen).contains("stalled"), "{}", last(&screen));
    }

    #[test]
    fn a_job_of_many_files_has_a_line_a_minute_without_a_terminal() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Log, begin);
        screen.expect(300, 300 * MIB, begin);
        let mut said = Vec::new();
        for second in 1..=130 {
            let now = after(begin, second);
            screen.begin(&status("x", 0, MIB), now);
            screen.end(Some(Path::new("/x/x")), now);
            screen.count(MIB, MIB, now);
            said.extend(screen.minute(now));
        }
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("10 of 300 files, 10.0 of 300 MiB"), "{said:?}");
        assert!(said[1].starts_with("70 of 300 files, 70.0 of 300 MiB"), "{said:?}");
    }

    #[test]
    fn a_job_has_a_line_of_its_own() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Terminal, begin);
        screen.expect(3, 40 * MIB, begin);
        screen.count(10 * MIB, 10 * MIB, after(begin, 1));
        screen.begin(&status("b", 0, 20 * MIB), after(begin, 1));
        screen.advance(&status("b", 10 * MIB, 20 * MIB), after(begin, 2));
        let lines = screen.lines(79, after(begin, 2));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[1], "1 of 3 files, 20.0 of 40.0 MiB, 0:02 left");
        // Small files have no line of their own; that nothing comes is said here.
        screen.end(None, after(begin, 2));
        screen.count(20 * MIB, 0, after(begin, 2));
        let lines = screen.lines(79, after(begin, 6));
        assert_eq!(lines, ["2 of 3 files, 30.0 of 40.0 MiB, stalled for 4 s (Ctrl-C pauses)"]);
    }

    #[test]
    fn comparing_has_a_bar_until_the_sending_begins() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Terminal, begin);
        let path = Path::new("/x/two.bin");
        assert!(screen.check(Deed::Compares, path, 2048 * MIB, 0, begin), "it is new");
        assert!(!screen.check(Deed::Compares, path, 2048 * MIB, 512 * MIB, after(begin, 1)));
        let line = screen.lines(79, after(begin, 1)).join("\n");
        for part in ["comparing", " 25%", "0.5/2.0 GiB", "512 MiB/s", "0:03 left"] {
            assert!(line.contains(part), "{line}");
        }
        // What follows the comparison is another thing, with a rate of its own.
        assert!(screen.check(Deed::Copies, path, 2048 * MIB, 0, after(begin, 2)));
        assert!(!screen.check(Deed::Copies, path, 2048 * MIB, MIB, after(begin, 3)));
        let line = screen.lines(79, after(begin, 3)).join("\n");
        assert!(line.starts_with("two.bin  the server copies it: 0%"), "{line}");
        for width in 36..120 {
            let line = screen.lines(width, after(begin, 3)).join("\n");
            assert!(line.starts_with("two.bin") && line.contains("0%"), "{line}");
        }
        screen.begin(&status("two.bin", 0, 2048 * MIB), after(begin, 4));
        let line = screen.lines(79, after(begin, 4)).join("\n");
        assert!(line.contains("two.bin") && !line.contains("comparing"), "{line}");
    }

    #[test]
    fn without_a_terminal_there_is_a_line_a_minute() {
        let begin = Instant::now();
        let mut screen = Screen::new(Viewer::Log, begin);
        screen.begin(&status("two.bin", 0, 100 * MIB), begin);
        let mut said = Vec::new();
        for second in 1..=180 {
            let received = (second * MIB / 2).min(40 * MIB);
            screen.advance(&status("two.bin", received, 100 * MIB), after(begin, second));
            said.extend(screen.minute(after(begin, second)));
        }
        assert_eq!(said.len(), 3, "{said:?}");
        for part in ["two.bin", "5.0 MiB of 100 MiB (5 %)", "512 KiB/s", "3:10 left"] {
            assert!(said[0].contains(part), "{said:?}");
        }
        assert!(said[1].contains("35.0 MiB of 100 MiB"), "{said:?}");
        assert!(said[2].contains("stalled for 50 s"), "{said:?}");
    }
}
