//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};
use towline_types::Timestamp;

/// What time it is. The only place that asks: everything else is told.
///
/// A clock that stands before 1970 reads as 1970, and one beyond the year
/// 292 million as the last moment that can be written down.
#[must_use]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::MIN.plus(since_1970)
}
