//! `towline put --dry-run`: what would be sent. No server is asked.

use super::error::{CliError, Reader};
use super::json;
use super::output::{line, say};
use super::printer::{Detail, OutputStyle, links_and_folders, not_kept};
use crate::document::Document;
use crate::events::Event;
use crate::exit::Exit;
use crate::pipe::STANDARD_INPUT;
use crate::text::{printable, shown};
use crate::units;
use crate::walk::{Found, FoundFolder, NotKept, Walk};
use serde::Serialize;
use towline_types::DocumentPath;

/// A file, a link or an empty folder that would be sent, for a program.
#[derive(Serialize)]
struct Planned {
    path: String,
    /// Its place on the server.
    to: String,
    kind: &'static str,
    /// Of a file: its length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    filesize: Option<u64>,
    /// Of a link: what it leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// What there is in all.
#[derive(Debug, Default, Serialize)]
struct Plan {
    files: usize,
    bytes: u64,
    /// Links and empty folders.
    made: usize,
    skipped: usize,
    excluded: usize,
    refused: usize,
    exit: u8,
}

/// Prints what a walk finds.
pub(super) fn run(mut walk: Walk, style: OutputStyle) -> Exit {
    let mut teller = Teller { style, plan: Plan::default(), exit: Exit::Done };
    let mut all_not_kept = NotKept::default();
    while let Some(found) = walk.next() {
        all_not_kept += walk.not_kept();
        teller.tell(found);
    }
    let Teller { plan, exit, .. } = teller;
    if style.reader == Reader::Program {
        json::event("plan", &Plan { exit: exit.code(), ..plan });
        return exit;
    }
    let Plan { files, bytes, made, skipped, excluded, refused, exit: _ } = plan;
    let excluded = match excluded {
        0 => String::new(),
        some => format!("{some} left out by rules, "),
    };
    let made = match made {
        0 => String::new(),
        some => format!(", {}", links_and_folders(some)),
    };
    let not_kept = match not_kept(style.detail.told(all_not_kept)) {
        None => String::new(),
        Some(words) => format!("; not kept: {words}"),
    };
    line(&format!(
        "would send {}, {}{made}; {excluded}{skipped} skipped, {refused} refused{not_kept} (files \
         that the server already has are counted as well)",
        units::count(files, "file"),
        units::size(bytes),
    ));
    exit
}

/// Prints what would be sent where that comes through a pipe.
pub(super) fn of_pipe(remote: &DocumentPath, style: OutputStyle) -> Exit {
    if style.reader == Reader::Program {
        let (path, to) = (STANDARD_INPUT.to_owned(), remote.to_string());
        let planned = Planned { path, to, kind: "file", filesize: None, target: None };
        json::event("planned", &planned);
        json::event("plan", &Plan { files: 1, ..Plan::default() });
    } else if style.detail != Detail::Errors {
        line(&format!(
            "would send standard input -> {}; its size shows at its end",
            printable(&remote.to_string())
        ));
    }
    Exit::Done
}

struct Teller {
    style: OutputStyle,
    plan: Plan,
    exit: Exit,
}

impl Teller {
    fn tell(&mut self, found: Found) {
        match found {
            Found::File(document, size) => {
                self.plan.files += 1;
                self.plan.bytes = self.plan.bytes.saturating_add(size);
                self.planned(&document, "file", Some(size), None);
            }
            Found::Folder(FoundFolder { document, is_empty, .. }) => {
                if is_empty {
                    self.plan.made += 1;
                    self.planned(&document, "folder", None, None);
                }
            }
            Found::Link(document, target) => {
                self.plan.made += 1;
                self.planned(&document, "link", None, Some(target.as_str().to_owned()));
            }
            Found::Skipped(path, reason) => {
                self.plan.skipped += 1;
                self.note(&format!("{}: {reason}; skipped", shown(&path)));
                self.event(&Event::Skipped { path, reason });
            }
            Found::Excluded => self.plan.excluded += 1,
            Found::Refused(path, failure) => {
                self.plan.refused += 1;
                self.exit = self.exit.max(failure.exit());
                let text = format!("{}: {failure}", shown(&path));
                CliError::new(failure.exit(), text).report(Some(&path), self.style.reader);
            }
            Found::Barren(path) => {
                self.note(&format!("{}: it contains nothing that can be sent", shown(&path)));
            }
            Found::BadLine(path, why) => {
                let message = format!("a line in it is not a rule: {}", printable(&why));
                self.note(&format!("{}: {message}", shown(&path)));
                self.event(&Event::Notice { path, message });
            }
        }
    }

    fn planned(
        &self,
        document: &Document,
        kind: &'static str,
        filesize: Option<u64>,
        target: Option<String>,
    ) {
        let Document { local, remote } = document;
        if self.style.reader == Reader::Program {
            let (path, to) = (local.to_string_lossy().into_owned(), remote.to_string());
            return json::event("planned", &Planned { path, to, kind, filesize, target });
        }
        if self.style.detail == Detail::Errors {
            return;
        }
        let what = match (filesize, &target) {
            (Some(size), _) => units::size(size),
            (None, Some(target)) => format!("link to {}", printable(target)),
            (None, None) => "empty folder".to_owned(),
        };
        line(&format!("{} -> {remote}  {what}", shown(local)));
    }

    fn note(&self, text: &str) {
        if self.style.detail != Detail::Errors {
            say(text);
        }
    }

    fn event(&self, event: &Event) {
        if self.style.reader == Reader::Program {
            json::print(event);
        }
    }
}
