//! What commands print: lines for programs, and names and times for people.

use serde_json::Value;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_types::Timestamp;

/// What the result of a command could not be written to.
pub(super) const NOT_WRITTEN: &str = "cannot write to standard output";

/// The version of what is printed for programs. It becomes another one where a field or an event
/// goes, or means something else; what is only added leaves it as it is.
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
        let Value::Object(mut fields) = fields else { return Ok(()) };
        fields.retain(|_, value| !value.is_null());
        let schema = if self.is_begun { String::new() } else { format!("\"schema\":{SCHEMA},") };
        self.is_begun = true;
        // In this order a person finds them; an object has none.
        let fields = Value::Object(fields).to_string();
        let inside = fields.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let fields = inside.unwrap_or_default();
        let between = if fields.is_empty() { "" } else { "," };
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let line =
            format!("{{{schema}\"event\":\"{event}\",{fields}{between}\"time\":\"{time}\"}}");
        writeln!(out, "{}", harmless(&line))
    }
}

/// JSON with everything escaped that a terminal could obey and JSON lets pass: it stays the same
/// document.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii_graphic() || c == ' ' || c.escape_debug().len() == 1 {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// A path with everything escaped that a terminal could obey, or that could hide or
/// reorder what stands beside it. Any program may have made these names.
pub(super) fn printable(path: &Path) -> String {
    let quoted = format!("{path:?}");
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

/// A moment as people and programs read it, in UTC.
pub(super) struct Utc(pub(super) Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(self.0.as_secs()));
        // The formatter knows no year of five digits.
        let moment = moment.filter(|moment| *moment < UNIX_EPOCH + Duration::from_secs(MAX_SECS));
        match moment {
            Some(moment) => humantime::format_rfc3339_seconds(moment).fmt(f),
            None => write!(f, "{} s after 1970", self.0.as_secs()),
        }
    }
}

/// A moment for a program; nothing where it lies behind the year 9999.
pub(super) fn utc(at: Timestamp) -> Option<String> {
    (at.as_secs() < MAX_SECS).then(|| Utc(at).to_string())
}

/// The beginning of the year 10,000.
const MAX_SECS: u64 = 253_402_300_800;

/// A number with the word for one or for many.
pub(super) fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
