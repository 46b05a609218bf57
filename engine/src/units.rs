//! Numbers of bytes as people write them, for messages. Programs get the exact number
//! in a field beside the message.

use std::fmt;

/// The units of 1000 bytes and those of 1024.
const DECIMAL: [(u64, &str); 6] = [
    (1_000_000_000_000_000_000, "EB"),
    (1_000_000_000_000_000, "PB"),
    (1_000_000_000_000, "TB"),
    (1_000_000_000, "GB"),
    (1_000_000, "MB"),
    (1_000, "kB"),
];
const BINARY: [(u64, &str); 6] = [
    (1 << 60, "EiB"),
    (1 << 50, "PiB"),
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
];

/// A number of bytes. A number that is whole in a unit is written so (`500 MB`,
/// `2 GiB`), any other with one digit after the point (`2.1 GiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let is_whole = |(unit, _): &&(u64, &str)| bytes >= *unit && bytes % unit == 0;
        // A unit in which the number would have five digits or more is not used: 2500000 kB is hard
        // to read.
        let short = |(unit, _): &&(u64, &str)| bytes / unit < 10_000;
        let whole = DECIMAL.iter().find(is_whole).filter(short);
        if let Some((unit, name)) = whole.or_else(|| BINARY.iter().find(is_whole).filter(short)) {
            return write!(f, "{} {name}", bytes / unit);
        }
        match BINARY.iter().find(|(unit, _)| bytes >= *unit) {
            Some((unit, name)) => {
                // The last digit is cut and not rounded: 1023.99 MiB is not 1024.0 MiB.
                let tenths = u128::from(bytes) * 10 / u128::from(*unit);
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
            None if bytes == 1 => f.write_str("1 byte"),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

/// A size beside a smaller limit: where the two are so close that they would look alike,
/// both are written in bytes as well.
pub fn beside(size: u64, limit: u64) -> (String, String) {
    let close = size.abs_diff(limit) < limit / 10 || size < 1024;
    let written = |bytes: u64| match Size(bytes).to_string() {
        text if close && bytes >= 1000 => format!("{text} ({bytes} bytes)"),
        text => text,
    };
    (written(size), written(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_people_write_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1 kB"),
            (1024, "1 KiB"),
            (1001, "1001 bytes"),
            (500_000_000, "500 MB"),
            (1 << 20, "1 MiB"),
            (2_147_483_648, "2 GiB"),
            (2_147_483_649, "2.0 GiB"),
            (2_500_000_000, "2500 MB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (i64::MAX.cast_unsigned(), "7.9 EiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text, "{bytes}");
        }
    }

    #[test]
    fn a_size_and_a_limit_that_look_alike_are_told_apart() {
        let pair = |size, limit| {
            let (size, limit) = beside(size, limit);
            format!("{size} > {limit}")
        };
        assert_eq!(pair(2_147_483_648, 500_000_000), "2 GiB > 500 MB");
        assert_eq!(
            pair(500_000_001, 500_000_000),
            "476.8 MiB (500000001 bytes) > 500 MB (500000000 bytes)"
        );
        assert_eq!(pair(1001, 1000), "1001 bytes (1001 bytes) > 1 kB (1000 bytes)");
    }
}
