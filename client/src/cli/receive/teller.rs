//! What a sitting tells: lines for the other machine, and what has arrived.

use super::landing::Outcome;
use crate::address::ServerAddress;
use crate::cli::error::{CliError, Reader};
use crate::cli::json;
use crate::cli::output::{line, say};
use crate::cli::printer::{OutputStyle, Watching};
use crate::events::Event;
use crate::text::shown;
use crate::units;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use towline_protocol::reply::UploadState;

/// Why there is a new line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewLine {
    /// It is the first one. `once`: and the only one that is used.
    First { once: bool },
    /// The one before was used.
    Used,
    /// The one before was the only one, and its sender has sent nothing.
    UsedForNothing,
    /// No sender has used the one before in its time.
    Expired,
}

/// See the module's description.
pub(super) struct Teller {
    screen: Watching,
    reader: Reader,
}

/// What `--json` says of a line.
#[derive(Serialize)]
struct LineEvent<'a> {
    line: &'a str,
}

/// What `--json` says of a file that has landed.
#[derive(Serialize)]
struct LandedEvent {
    path: String,
    filesize: u64,
    existing: bool,
}

impl Teller {
    pub(super) fn new(style: OutputStyle, server: &ServerAddress) -> Self {
        Self { screen: Watching::new(style, server), reader: style.reader }
    }

    pub(super) fn new_line(&self, text: &str, why: NewLine) {
        if self.reader == Reader::Program {
            return json::event("line", &LineEvent { line: text });
        }
        self.screen.aside(|| {
            say(match why {
                NewLine::First { once: false } => {
                    "on the other machine: towline put FILE... --to LINE (each line is good for one \
                     sender; Ctrl-C ends)"
                }
                NewLine::First { once: true } => {
                    "on the other machine: towline put FILE... --to LINE (this ends when the sender \
                     is done)"
                }
                NewLine::Used => "the line was used; for another sender:",
                NewLine::UsedForNothing => "the line was used, and nothing was sent; the next one:",
                NewLine::Expired => "no sender has used the line within 10 minutes; the next one:",
            });
            line(text);
        });
    }

    /// There is no new line, because no address could be in it.
    pub(super) fn waits_for_network(&self) {
        self.screen.aside(|| {
            say("this machine has no address that others could use; the next line is printed when it has \
                 one");
        });
    }

    /// These uploads are running.
    pub(super) fn show(&mut self, unfinished: Vec<UploadState>) {
        let running: BTreeMap<_, _> =
            unfinished.into_iter().map(|upload| (upload.document_id, upload)).collect();
        self.screen.show(&running, Instant::now());
    }

    /// What became of a thing that its sender calls `sent`.
    pub(super) fn outcome(&self, sent: &Path, outcome: Outcome) {
        let is_program = self.reader == Reader::Program;
        let suffix = |existing| if existing { ", was here already" } else { "" };
        let text = match outcome {
            Outcome::Landed { path, filesize, existing } if is_program => {
                let path = path.to_string_lossy().into_owned();
                return json::event("landed", &LandedEvent { path, filesize, existing });
            }
            Outcome::Landed { path, filesize, existing } => {
                format!("{}  {}{}", shown(&path), units::size(filesize), suffix(existing))
            }
            Outcome::Made { path, existing, .. } if is_program => {
                return json::print(&Event::Made { path, existing });
            }
            // What lies in it has a line of its own.
            Outcome::Made { is_folder: true, .. } => return,
            Outcome::Made { path, existing, .. } => {
                format!("{}  link{}", shown(&path), suffix(existing))
            }
            Outcome::LeftOut(why) if is_program => {
                let (path, reason) = (sent.to_owned(), why.to_owned());
                return json::print(&Event::Skipped { path, reason });
            }
            Outcome::LeftOut(why) => {
                return self.screen.aside(|| say(&format!("{}: left out, {why}", shown(sent))));
            }
        };
        self.screen.aside(|| line(&text));
    }

    /// A thing could not be given its name.
    pub(super) fn failed(&self, sent: &Path, error: &CliError) {
        self.screen.aside(|| error.report(Some(sent), self.reader));
    }

    /// Nothing is drawn after this.
    pub(super) fn close(&mut self) {
        self.screen.close();
    }
}
