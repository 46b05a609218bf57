//! What commands print: lines for programs, and names and times for people.

use crate::json_line::json_line;
use serde_json::Value;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use towline_types::Timestamp;

/// The message where the result of a command cannot be written.
pub(super) const NOT_WRITTEN: &str = "cannot write to standard output";

/// The version of the output for programs. It changes where an event or a field is removed or gets
/// another meaning. Additions do not change it.
const SCHEMA: u32 = 1;

/// The lines of a command for programs: one JSON object each. `docs/operator.md` describes every
/// event and every field, and a test holds the output to that page.
#[derive(Debug, Default)]
pub(super) struct Events {
    is_begun: bool,
}

impl Events {
    /// Prints an event with these fields. A field that is not known is left out.
    pub(super) fn print(
        &mut self,
        out: &mut impl Write,
        event: &str,
        fields: Value,
    ) -> io::Result<()> {
        let schema = (!self.is_begun).then_some(SCHEMA);
        self.is_begun = true;
        writeln!(out, "{}", json_line(schema, event, fields))
    }
}

/// A path in which the characters are escaped that a terminal could obey, or that could hide or
/// reorder the text around them. Any program may have made these names.
pub(super) fn printable(path: &Path) -> String {
    let quoted = format!("{path:?}");
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

/// A moment as people and programs read it, in UTC.
pub(super) struct Utc(pub(super) Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(self.0.as_secs()));
        // The formatter cannot print a year of five digits.
        let moment = moment.filter(|moment| *moment < UNIX_EPOCH + Duration::from_secs(MAX_SECS));
        match moment {
            Some(moment) => humantime::format_rfc3339_seconds(moment).fmt(f),
            None => write!(f, "{} s after 1970", self.0.as_secs()),
        }
    }
}

/// A moment as text for a program; `None` after the year 9999.
pub(super) fn utc(at: Timestamp) -> Option<String> {
    (at.as_secs() < MAX_SECS).then(|| Utc(at).to_string())
}

/// The beginning of the year 10,000.
const MAX_SECS: u64 = 253_402_300_800;

/// A number with its noun: `one` for the number 1, else `more`.
pub(super) fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
