//! The uploads that are followed: a line for each on a terminal, a line now and then elsewhere, and
//! events for a program.

use super::bar::{self, Glyphs, Moving};
use super::margin::Margin;
use super::meter::Meter;
use super::screen::{DRAWN_HERTZ, Viewer};
use super::{Detail, OutputStyle};
use crate::address::ServerAddress;
use crate::cli::error::Reader;
use crate::cli::json;
use crate::cli::output::{line, say};
use crate::client::Wait;
use crate::events::Event;
use crate::text::printable;
use crate::units;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};
use towline_protocol::reply::UploadState;
use towline_types::{DocumentId, FileHash, FileSize};

/// The window over which a rate is measured: the server is asked once a second.
const WINDOW: Duration = Duration::from_secs(5);

/// How often there is a line about an upload where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The lines of a terminal that stay free.
const FREE_LINES: usize = 2;

/// An upload that has ended.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli) struct UploadEnd {
    pub(in crate::cli) document_id: DocumentId,
    /// Its place on the server.
    pub(in crate::cli) path: String,
    /// `completed`, `failed`, `cancelled` or `expired`; `gone` where the server knows nothing of it.
    pub(in crate::cli) status: String,
    pub(in crate::cli) filesize: FileSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) blake3: Option<FileHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) reason: Option<String>,
}

impl UploadEnd {
    /// The end of an upload of which nothing more is known.
    pub(in crate::cli) fn of(upload: &UploadState) -> Self {
        Self {
            document_id: upload.document_id,
            path: place(&upload.folder, &upload.filename),
            status: "gone".to_owned(),
            filesize: upload.filesize,
            blake3: None,
            reason: None,
        }
    }

    /// The same, under the name that it got.
    pub(in crate::cli) fn at(self, folder: &[String], filename: &str) -> Self {
        Self { path: place(folder, filename), ..self }
    }

    fn line(&self) -> String {
        let (path, document) = (printable(&self.path), self.document_id);
        let reason = self.reason.as_deref().map(printable);
        match (self.status.as_str(), reason) {
            ("completed", _) => {
                let size = units::size(self.filesize.get());
                format!("{path}  {size}, complete, document {document}")
            }
            ("cancelled", _) => format!("{path}  cancelled, document {document}"),
            ("expired", _) => {
                format!("{path}  given up, because no data came for too long; document {document}")
            }
            (_, Some(reason)) => format!("{path}  failed: {reason}; document {document}"),
            ("gone", None) => format!("{path}  no longer on the server, document {document}"),
            (status, None) => format!("{path}  {}, document {document}", printable(status)),
        }
    }
}

/// An upload for a program.
#[derive(Serialize)]
struct Running<'a> {
    document_id: DocumentId,
    path: String,
    status: &'a str,
    active: bool,
    filesize: FileSize,
    received: u64,
    durable: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

/// See the module's description.
#[derive(Debug)]
pub(in crate::cli) struct Watching {
    viewer: Viewer,
    glyphs: Glyphs,
    /// For messages.
    server: String,
    uploads: BTreeMap<DocumentId, Followed>,
    /// Why the server cannot be asked now.
    waiting: Option<String>,
    /// The line that nothing is running was printed.
    is_rest_told: bool,
    bar: Option<ProgressBar>,
}

/// An upload that is followed.
#[derive(Debug)]
struct Followed {
    state: UploadState,
    path: String,
    meter: Meter,
    /// When the last line or event was about it, and what it said.
    told: Option<(Instant, UploadState)>,
}

impl Watching {
    pub(in crate::cli) fn new(style: OutputStyle, server: &ServerAddress) -> Self {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let viewer = match style {
            OutputStyle { reader: Reader::Program, .. } => Viewer::Program,
            OutputStyle { detail: Detail::Errors, .. } => Viewer::None,
            _ if is_terminal => Viewer::Terminal,
            _ => Viewer::Log,
        };
        Self::for_viewer(viewer, server)
    }

    fn for_viewer(viewer: Viewer, server: &ServerAddress) -> Self {
        Self {
            viewer,
            glyphs: Glyphs::of_environment(),
            server: server.to_string(),
            uploads: BTreeMap::new(),
            waiting: None,
            is_rest_told: false,
            bar: None,
        }
    }

    /// These uploads are running.
    pub(in crate::cli) fn show(
        &mut self,
        running: &BTreeMap<DocumentId, UploadState>,
        now: Instant,
    ) {
        self.waiting = None;
        self.follow(running, now);
        match self.viewer {
            Viewer::Terminal => self.draw(now),
            Viewer::Log => self.log(now).iter().for_each(|text| line(text)),
            Viewer::Program => self.tell(now),
            Viewer::None => {}
        }
    }

    fn follow(&mut self, running: &BTreeMap<DocumentId, UploadState>, now: Instant) {
        self.uploads.retain(|document_id, _| running.contains_key(document_id));
        for (document_id, state) in running {
            let received = state.received.get();
            let followed = self.uploads.entry(*document_id).or_insert_with(|| Followed {
                state: state.clone(),
                path: place(&state.folder, &state.filename),
                meter: Meter::new(WINDOW, now, received, state.filesize.get()),
                told: None,
            });
            if !followed.state.active && state.active {
                // The time for which it was paused is no part of its rate.
                followed.meter = Meter::new(WINDOW, now, received, state.filesize.get());
            }
            followed.meter.connect(now, received);
            followed.state.clone_from(state);
        }
    }

    /// An upload has ended.
    pub(in crate::cli) fn end(&mut self, end: &UploadEnd, now: Instant) {
        self.uploads.remove(&end.document_id);
        match self.viewer {
            Viewer::Program => json::event("ended", end),
            _ => self.suspend(|| line(&end.line())),
        }
        if self.viewer == Viewer::Terminal {
            self.draw(now);
        }
    }

    /// Prints something else, above what is drawn.
    #[cfg(feature = "serve")]
    pub(in crate::cli) fn aside(&self, print: impl FnOnce()) {
        self.suspend(print);
    }

    /// The server cannot be asked now.
    pub(in crate::cli) fn wait(&mut self, wait: &Wait, now: Instant) {
        let Wait { reason, attempt, next_in } = wait;
        let seconds = next_in.as_secs_f64().ceil();
        let text = format!("{}: {reason} (asking again in {seconds} s)", self.server);
        match self.viewer {
            Viewer::Program => json::print(&Event::Waiting {
                path: self.server.clone().into(),
                reason: reason.clone(),
                attempt: *attempt,
                next_in: *next_in,
            }),
            Viewer::Terminal => {
                self.waiting = Some(text);
                self.draw(now);
            }
            // Once for each time that the connection is lost.
            Viewer::Log if self.waiting.is_none() => {
                say(&text);
                self.waiting = Some(text);
            }
            Viewer::Log | Viewer::None => {}
        }
    }

    /// Nothing is drawn after this.
    pub(in crate::cli) fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn draw(&mut self, now: Instant) {
        let terminal = Margin::of(console::Term::stderr());
        let (columns, rows) = (terminal.columns(), terminal.rows());
        let lines = self.lines(columns, rows.saturating_sub(FREE_LINES).max(1), now);
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

    /// The lines on a terminal: first the uploads that are being sent, then the paused ones.
    fn lines(&self, width: usize, most: usize, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(waiting) = &self.waiting {
            lines.push(bar::cut(&printable(waiting), width, self.glyphs));
        }
        let (active, paused): (Vec<_>, Vec<_>) =
            self.uploads.values().partition(|followed| followed.state.active);
        let all = active.into_iter().chain(paused);
        lines.extend(all.map(|followed| followed.line(width, now, self.glyphs)));
        if lines.is_empty() {
            let text = "no upload is running; waiting for one (Ctrl-C ends this)";
            lines.push(bar::cut(text, width, self.glyphs));
        }
        if lines.len() > most {
            let shown = (most - 1).max(1);
            let hidden = lines.len() - shown;
            lines.truncate(shown);
            lines.push(bar::cut(&format!("and {hidden} more"), width, self.glyphs));
        }
        lines
    }

    /// The lines that are due where there is no terminal.
    fn log(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        if self.uploads.is_empty() && !self.is_rest_told {
            lines.push("no upload is running; waiting for one".to_owned());
        }
        self.is_rest_told = self.uploads.is_empty();
        for followed in self.uploads.values_mut() {
            let is_due = followed.told.as_ref().is_none_or(|(then, told)| {
                let is_other =
                    told.active != followed.state.active || told.status != followed.state.status;
                let has_moved = told.received != followed.state.received;
                is_other || (has_moved && now.duration_since(*then) >= LINE_EVERY)
            });
            if is_due {
                lines.push(followed.text(now));
                followed.told = Some((now, followed.state.clone()));
            }
        }
        lines
    }

    fn tell(&mut self, now: Instant) {
        for followed in self.uploads.values_mut() {
            if followed.told.as_ref().is_some_and(|(_, told)| *told == followed.state) {
                continue;
            }
            let UploadState { document_id, status, filesize, received, durable, active, .. } =
                &followed.state;
            let left = followed.meter.left(now);
            json::event(
                "running",
                &Running {
                    document_id: *document_id,
                    path: followed.path.clone(),
                    status,
                    active: *active,
                    filesize: *filesize,
                    received: received.get(),
                    durable: durable.get(),
                    bytes_per_second: followed.meter.rate(now),
                    seconds_left: left.map(|left| left.as_secs()),
                },
            );
            followed.told = Some((now, followed.state.clone()));
        }
    }
}

impl Followed {
    /// Whether its length is not known before its end.
    fn is_open(&self) -> bool {
        self.state.filesize == FileSize::MAX
    }

    fn line(&self, width: usize, now: Instant, glyphs: Glyphs) -> String {
        let name = printable(&self.path);
        let percent = units::percent(self.meter.position(), self.meter.total());
        let far =
            if self.is_open() { units::size(self.meter.position()) } else { format!("{percent}%") };
        if let Some(why) = self.rests(now) {
            let texts = [format!("{far}  {why}"), why];
            return bar::beside(width, &name, &texts, glyphs);
        }
        if self.is_open() {
            let rate = self.meter.rate(now).map_or_else(String::new, units::rate);
            return bar::beside(width, &name, &[format!("{far} so far  {rate}"), far], glyphs);
        }
        bar::moving(width, Moving::of(&name, &self.meter, now), glyphs)
    }

    /// Why nothing of it moves; `None` where it does.
    fn rests(&self, now: Instant) -> Option<String> {
        if self.state.status == "publishing" {
            return Some("all is there; the server completes it".to_owned());
        }
        if !self.state.active {
            return Some("paused".to_owned());
        }
        let silence = self.meter.stall(now)?;
        Some(format!("stalled for {} s", silence.as_secs()))
    }

    fn text(&self, now: Instant) -> String {
        let path = printable(&self.path);
        let (part, whole) = (self.meter.position(), self.meter.total());
        let far = if self.is_open() {
            format!("{} so far", units::size(part))
        } else {
            units::share(part, whole)
        };
        let how = match (self.rests(now), self.meter.rate(now), self.meter.left(now)) {
            (Some(why), ..) => format!(", {why}"),
            (None, Some(rate), Some(left)) if !self.is_open() => {
                format!(", {}, {} left", units::rate(rate), units::clock(left))
            }
            (None, Some(rate), _) => format!(", {}", units::rate(rate)),
            (None, None, _) => ", being sent".to_owned(),
        };
        format!("{path}: {far}{how}")
    }
}

fn place(folder: &[String], filename: &str) -> String {
    folder.iter().map(String::as_str).chain([filename]).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::measure_text_width;
    use towline_types::Offset;

    const MIB: u64 = 1 << 20;

    fn state(number: u64, filename: &str, received: u64, active: bool) -> UploadState {
        UploadState {
            document_id: DocumentId::try_from(number).unwrap(),
            status: "uploading".to_owned(),
            filename: filename.to_owned(),
            folder: vec!["films".to_owned()],
            filesize: FileSize::try_from(100 * MIB).unwrap(),
            received: Offset::try_from(received).unwrap(),
            durable: Offset::ZERO,
            active,
            expires_at: None,
        }
    }

    fn running(all: &[UploadState]) -> BTreeMap<DocumentId, UploadState> {
        all.iter().map(|state| (state.document_id, state.clone())).collect()
    }

    fn watching(viewer: Viewer) -> Watching {
        Watching::for_viewer(viewer, &"nas".parse().unwrap())
    }

    #[test]
    fn each_upload_has_a_line_that_fits_and_what_is_sent_comes_first() {
        let begin = Instant::now();
        let mut screen = watching(Viewer::Terminal);
        assert!(screen.lines(79, 20, begin)[0].starts_with("no upload is running"));
        for second in 0..4 {
            let now = begin + Duration::from_secs(second);
            let sent = second * 10 * MIB;
            let all = [
                state(1, "old.mkv", 5 * MIB, false),
                state(2, "new.mkv", sent, true),
                state(3, "stuck.mkv", 7 * MIB, true),
            ];
            screen.follow(&running(&all), now);
        }
        let now = begin + Duration::from_secs(3);
        for width in [37, 40, 77, 80, 120, 200] {
            let lines = screen.lines(width, 20, now);
            assert_eq!(lines.len(), 3, "{lines:?}");
            for text in &lines {
                assert!(measure_text_width(text) <= width, "{width}: {text}");
            }
            assert!(lines[0].contains("30%") && lines[0].contains("10.0 MiB/s"), "{lines:?}");
            assert!(lines[0].contains("0:07 left") && lines[0].starts_with("films/"), "{lines:?}");
            assert!(lines[1].contains("stalled for 3 s"), "{lines:?}");
            assert!(lines[2].ends_with("paused"), "{lines:?}");
        }
        let lines = screen.lines(79, 2, now);
        assert_eq!((lines.len(), &*lines[1]), (2, "and 2 more"));
    }

    #[test]
    fn without_a_terminal_there_is_a_line_now_and_then_and_when_something_changes() {
        let begin = Instant::now();
        let mut screen = watching(Viewer::Log);
        assert_eq!(screen.log(begin), ["no upload is running; waiting for one"]);
        assert_eq!(screen.log(begin), Vec::<String>::new());
        let mut said = Vec::new();
        for second in 0..=20 {
            let now = begin + Duration::from_secs(second);
            let active = second < 20;
            screen.follow(&running(&[state(2, "new.mkv", second * MIB, active)]), now);
            said.extend(screen.log(now));
        }
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "films/new.mkv: 0 bytes of 100 MiB (0 %), being sent");
        assert!(said[1].contains("10.0 MiB of 100 MiB (10 %), 1.0 MiB/s, 1:30 left"), "{said:?}");
        assert!(said[2].ends_with(", paused"), "{said:?}");
    }

    #[test]
    fn the_end_of_an_upload_is_said_with_its_reason() {
        let upload = state(7, "a\u{1b}[31m", 0, true);
        let end = UploadEnd::of(&upload);
        for (status, reason, said) in [
            ("completed", None, "100 MiB, complete, document 7"),
            ("failed", Some("the disk is full"), "failed: the disk is full; document 7"),
            ("cancelled", None, "cancelled, document 7"),
            ("expired", Some("x"), "given up, because no data came for too long; document 7"),
            ("gone", None, "no longer on the server, document 7"),
        ] {
            let (status, reason) = (status.to_owned(), reason.map(str::to_owned));
            let text = UploadEnd { status, reason, ..end.clone() }.line();
            assert!(text.ends_with(said), "{text}");
            assert!(!text.chars().any(char::is_control), "{text}");
        }
    }
}
