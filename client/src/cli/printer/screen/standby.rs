//! The line of the files that wait.

use crate::cli::printer::bar::{self, Glyphs};
use crate::text::printable;
use std::path::PathBuf;

/// A file that waits before it has begun, or in the queue behind other files.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// Why it waits.
    pub(super) reason: String,
}

impl Standby {
    /// `others` are the files that wait besides this one.
    pub(super) fn line(&self, width: usize, others: usize, glyphs: Glyphs) -> String {
        let reason = &self.reason;
        let more = match others {
            0 => String::new(),
            1 => "; 1 other file waits".to_owned(),
            others => format!("; {others} other files wait"),
        };
        // Where the whole reason does not fit, its end is cut off.
        let texts =
            [format!("{reason}{more}; Ctrl-C pauses"), format!("{reason}{more}"), reason.clone()];
        bar::beside(width, &self.name, &texts, glyphs)
    }

    pub(super) fn minute(&self) -> String {
        format!("{}: {}", printable(&self.path.to_string_lossy()), self.reason)
    }
}
