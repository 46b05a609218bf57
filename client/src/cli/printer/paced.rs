//! An event as a program gets it: with the rate, which only the screen knows.

use crate::events::Event;
use serde::Serialize;
use std::time::Duration;

/// See the module's description.
#[derive(Serialize)]
pub(super) struct Paced<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// With `progress` and `fetching`: bytes per second over the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    /// With `progress` and `fetching`: the seconds until the whole file is there at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

impl<'a> Paced<'a> {
    pub(super) fn new(
        event: &'a Event,
        (bytes_per_second, left): (Option<u64>, Option<Duration>),
    ) -> Self {
        Self { event, bytes_per_second, seconds_left: left.map(|left| left.as_secs()) }
    }
}
