//! Events for programs: one JSON object a line.

use crate::cli::output::line;
use crate::events::Event;
use crate::text::printable_json;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// An event, and the fields that only the printer knows.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// When the event was printed: RFC 3339, UTC.
    time: String,
    /// With `progress`: bytes per second over the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    /// With `progress`: the seconds until the whole file is sent at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

/// Prints an event.
pub(super) fn print(event: &Event, bytes_per_second: Option<u64>, left: Option<Duration>) {
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let seconds_left = left.map(|left| left.as_secs());
    if let Ok(json) = serde_json::to_string(&Line { event, time, bytes_per_second, seconds_left }) {
        line(&printable_json(&json));
    }
}
