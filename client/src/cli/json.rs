//! Output for programs: one JSON object a line. `docs/json.md` describes every event and every
//! field, and a test holds the output to that page.

use super::output;
use crate::text::printable_json;
use serde::Serialize;
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The version of what is printed. It changes where an event or a field is removed or gets another
/// meaning. Additions do not change it.
const SCHEMA: u32 = 1;

/// Whether the first line was printed. Locked while a line is printed, so that the line with the
/// version is the first one.
static IS_BEGUN: Mutex<bool> = Mutex::new(false);

#[derive(Serialize)]
struct Line<'a, T> {
    /// In the first line of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    #[serde(flatten)]
    what: &'a T,
    /// When the line was printed: RFC 3339, UTC.
    time: String,
}

#[derive(Serialize)]
struct Named<T> {
    event: &'static str,
    #[serde(flatten)]
    what: T,
}

/// Prints a value that says itself which event it is.
pub(super) fn print(what: &impl Serialize) {
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let mut is_begun = IS_BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = (!*is_begun).then_some(SCHEMA);
    if let Ok(json) = serde_json::to_string(&Line { schema, what, time }) {
        *is_begun = true;
        output::event(&printable_json(&json));
    }
}

/// Prints an event of that name.
pub(super) fn event(event: &'static str, what: &impl Serialize) {
    print(&Named { event, what });
}

/// The same for an answer of the server, without the fields that matter only on the connection.
pub(super) fn answer(event: &'static str, answer: &impl Serialize) {
    let Ok(Value::Object(mut what)) = serde_json::to_value(answer) else { return };
    what.remove("channel");
    print(&Named { event, what });
}
