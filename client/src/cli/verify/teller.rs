//! What `verify` tells while it compares, and at the end.

use super::place::Place;
use crate::cli::error::{CliError, Reader};
use crate::cli::json;
use crate::cli::output::line;
use crate::cli::printer::{Comparing, OutputStyle};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::{printable, shown};
use crate::units;
use serde::Serialize;
use std::path::Path;

/// What was found about one file, folder or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Same,
    Differs,
    OnlyHere,
    OnlyThere,
}

#[derive(Serialize)]
struct Compared<'a> {
    path: &'a str,
    verdict: Verdict,
}

/// How the files, folders and links of a run ended. Each counts once.
#[derive(Serialize)]
struct Sums {
    same: usize,
    differs: usize,
    only_here: usize,
    only_there: usize,
    failed: usize,
    exit: u8,
}

/// See the module's description.
pub(super) struct Teller {
    reader: Reader,
    pub(super) comparing: Comparing,
    counts: [usize; 4],
    /// How many of those that are the same are links.
    links: usize,
    failed: usize,
    exit: Exit,
}

impl Teller {
    pub(super) fn new(style: OutputStyle) -> Self {
        Self {
            reader: style.reader,
            comparing: Comparing::new(style),
            counts: [0; 4],
            links: 0,
            failed: 0,
            exit: Exit::Done,
        }
    }

    pub(super) fn tell(&mut self, place: &Place, verdict: Verdict) {
        let path = place.to_string();
        self.counts[verdict as usize] += 1;
        if self.reader == Reader::Program {
            return json::event("compared", &Compared { path: &path, verdict });
        }
        let words = match verdict {
            Verdict::Same => return,
            Verdict::Differs => "differs",
            Verdict::OnlyHere => "is not on the server",
            Verdict::OnlyThere => "is only on the server",
        };
        self.comparing.suspend(|| line(&format!("{}: {words}", printable(&path))));
    }

    /// A link is the same.
    pub(super) fn same_link(&mut self, place: &Place) {
        self.links += 1;
        self.tell(place, Verdict::Same);
    }

    pub(super) fn fail(&mut self, path: &Path, failure: &Failure) {
        self.failed += 1;
        self.exit = self.exit.max(failure.exit());
        let error = CliError::new(failure.exit(), format!("{}: {failure}", shown(path)));
        self.comparing.suspend(|| error.report(Some(path), self.reader));
    }

    /// The comparison cannot go on.
    pub(super) fn stop(self) {
        self.comparing.close();
    }

    /// Prints the result.
    pub(super) fn end(self) -> Exit {
        let Self { reader, comparing, counts, links, failed, mut exit } = self;
        comparing.close();
        let [same, differs, only_here, only_there] = counts;
        if differs + only_here + only_there > 0 {
            exit = exit.max(Exit::Refused);
        }
        if reader == Reader::Program {
            let sums = Sums { same, differs, only_here, only_there, failed, exit: exit.code() };
            json::event("summary", &sums);
            return exit;
        }
        let files = units::count(same - links, "file");
        let links = match links {
            0 => String::new(),
            links => format!(" and {}", units::count(links, "link")),
        };
        line(&format!(
            "{files}{links} the same, {differs} different, {only_here} only here, {only_there} only on \
             the server"
        ));
        exit
    }
}
