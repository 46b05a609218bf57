//! Sizes, rates and times in the form in which people read them. Every message for people takes
//! them from here, so that one size has one spelling.
//!
//! The size of a file and a rate are binary: 1 KiB is 1024 bytes, 1 MiB 1024 KiB. A
//! limit keeps the unit that an operator types: 500000000 bytes are `500 MB`.

use std::time::Duration;

/// Binary units larger than a byte, the smallest first.
const BINARY: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Decimal units, the largest first.
const DECIMAL: [(u64, &str); 5] = [
    (1_000_000_000_000_000, "PB"),
    (1_000_000_000_000, "TB"),
    (1_000_000_000, "GB"),
    (1_000_000, "MB"),
    (1_000, "kB"),
];

/// The size of a file: `2.0 GiB`, `45.1 MiB`, `512 KiB`, `7 bytes`.
pub(crate) fn size(bytes: u64) -> String {
    match unit_of(bytes) {
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
        Some(unit) => format!("{} {}", in_unit(bytes, unit), BINARY[unit]),
    }
}

/// A part and the whole, both in the unit of the whole: `1.2/2.0 GiB`.
pub(crate) fn pair(part: u64, whole: u64) -> String {
    match unit_of(whole) {
        None => format!("{part}/{whole} B"),
        Some(unit) => format!("{}/{} {}", in_unit(part, unit), in_unit(whole, unit), BINARY[unit]),
    }
}

/// The same in words: `1.2 of 2.0 GiB`.
pub(crate) fn part_of(part: u64, whole: u64) -> String {
    match unit_of(whole) {
        None => format!("{part} of {}", size(whole)),
        Some(unit) => {
            format!("{} of {} {}", in_unit(part, unit), in_unit(whole, unit), BINARY[unit])
        }
    }
}

/// A part of a whole, each in its own unit, with the percentage: `36.3 MiB of 2.0 GiB (1 %)`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return size(0);
    }
    format!("{} of {} ({} %)", size(part), size(whole), percent(part, whole))
}

/// Bytes per second: `45.1 MiB/s`, `0 B/s`.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    match unit_of(bytes_per_second) {
        None => format!("{bytes_per_second} B/s"),
        Some(unit) => format!("{} {}/s", in_unit(bytes_per_second, unit), BINARY[unit]),
    }
}

/// The largest size that is allowed, as its operator types it: `500 MB`, `2 GiB`,
/// `1000 bytes`.
pub(crate) fn limit(bytes: u64) -> String {
    if bytes < 10_000 {
        return if bytes == 1 { size(1) } else { format!("{bytes} bytes") };
    }
    match DECIMAL.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit / 10) => {
            let (whole, tenth) = (bytes / unit, bytes % unit / (unit / 10));
            if tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
        }
        _ => size(bytes).replace(".0 ", " "),
    }
}

/// Whole percent, rounded down: 100 means the whole.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole));
    percent.and_then(|percent| u64::try_from(percent).ok()).unwrap_or(100)
}

/// How long something took: `0.9 s`, `47 s`, `3 min 10 s`, `2 h 5 min`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time as a clock shows it: `0:19`, `3:10`, `1:02:03`, `4 days`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..172_800 => {
            format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number of things, in words: `1 file`, `3 files`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The index of the binary unit in which a size is written; nothing for bytes.
fn unit_of(bytes: u64) -> Option<usize> {
    // By the rounded number: 1023.96 MiB would be written 1024 MiB, so it is 1.0 GiB.
    let units = (0..BINARY.len()).rev();
    if bytes < 1024 { None } else { units.into_iter().find(|unit| tenths(bytes, *unit) >= 10) }
}

/// The number of tenths of that unit, rounded half up.
fn tenths(bytes: u64, unit: usize) -> u128 {
    let bytes_in_unit = 1u128 << (10 * (unit + 1));
    (u128::from(bytes) * 10 + bytes_in_unit / 2) / bytes_in_unit
}

/// The number in front of a unit: with one decimal below 100, otherwise with none.
fn in_unit(bytes: u64, unit: usize) -> String {
    let tenths = tenths(bytes, unit);
    if tenths < 1000 {
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        ((tenths + 5) / 10).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_short_and_has_its_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_240, "10.0 KiB"),
            (102_400, "100 KiB"),
            (2_147_483_648, "2.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        // No text has "1024" of a unit, or more than four digits.
        for shift in 0..64 {
            for bytes in [(1u64 << shift) - 1, 1 << shift, (1 << shift) | (1 << shift >> 1)] {
                let digits = size(bytes).chars().filter(char::is_ascii_digit).count();
                assert!(digits <= 4 && !size(bytes).starts_with("1024 "), "{}", size(bytes));
            }
        }
    }

    #[test]
    fn a_limit_is_written_as_it_was_typed() {
        for (bytes, text) in [
            (500_000_000, "500 MB"),
            (1_500_000_000, "1.5 GB"),
            (20_000_000_000, "20 GB"),
            (64_000, "64 kB"),
            (1 << 31, "2 GiB"),
            (1_000, "1000 bytes"),
            (9_999, "9999 bytes"),
            (1 << 20, "1 MiB"),
        ] {
            assert_eq!(limit(bytes), text);
        }
    }

    #[test]
    fn parts_and_rates() {
        assert_eq!(pair(1_288_490_189, 2_147_483_648), "1.2/2.0 GiB");
        assert_eq!(pair(3, 5), "3/5 B");
        assert_eq!(part_of(1_288_490_189, 2_147_483_648), "1.2 of 2.0 GiB");
        assert_eq!(share(38_017_979, 2_147_483_648), "36.3 MiB of 2.0 GiB (1 %)");
        assert_eq!(share(0, 0), "0 bytes");
        assert_eq!(rate(47_290_778), "45.1 MiB/s");
        assert_eq!(rate(0), "0 B/s");
    }

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(0, 5), 0);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn times() {
        let times = [(900, "0.9 s"), (47_300, "47 s"), (190_000, "3 min 10 s")];
        for (millis, text) in times {
            assert_eq!(took(Duration::from_millis(millis)), text);
        }
        assert_eq!(took(Duration::from_secs(7500)), "2 h 5 min");
        for (seconds, text) in [(19, "0:19"), (190, "3:10"), (3723, "1:02:03"), (400_000, "4 days")]
        {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }
}
