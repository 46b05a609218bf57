//! Moments as text, in UTC. Servers and tokens say any number, and the formatter of the library
//! knows no year of five digits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The beginning of the year 10,000.
const YEARS_END: Duration = Duration::from_secs(253_402_300_800);

/// `2026-11-28T14:30:00Z`; nothing before 1970 and after the year 9999.
pub(crate) fn in_seconds(moment: SystemTime) -> Option<String> {
    let since = moment.duration_since(UNIX_EPOCH).ok()?;
    (since < YEARS_END).then(|| humantime::format_rfc3339_seconds(moment).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_no_date_has_is_no_text() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(in_seconds(at(0)).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(in_seconds(at(253_402_300_799)).unwrap(), "9999-12-31T23:59:59Z");
        assert_eq!(in_seconds(at(253_402_300_800)), None);
        assert_eq!(in_seconds(at(1 << 62)), None);
        assert_eq!(in_seconds(UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
