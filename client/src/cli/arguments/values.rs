//! The values of options, as people write them.

use crate::address::{BadAddress, ServerAddress};
use crate::units;
use bytesize::ByteSize;
use std::str::FromStr;
use std::time::Duration;
use towline_protocol::JoinLine;
use towline_protocol::limits::{CHUNK_BYTES_MAX, LINK_SECONDS_MAX};
use towline_types::{NodeKind, OnConflict};

/// A server as it is typed after `--to`.
#[derive(Debug, Clone)]
pub(in crate::cli) enum TypedServer {
    /// An address or a name.
    Address(ServerAddress),
    /// A line by which a client joins.
    Line(JoinLine),
}

impl FromStr for TypedServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if JoinLine::is_meant(text) {
            let line = text.parse().map_err(|error| format!("{error}; nothing was sent"))?;
            return Ok(Self::Line(line));
        }
        text.parse().map(Self::Address).map_err(|error: BadAddress| error.to_string())
    }
}

/// What to do where a name is taken on the server.
pub(super) fn conflict(text: &str) -> Result<OnConflict, String> {
    OnConflict::parse(text).ok_or_else(|| {
        "write rename (the new file becomes \"name (1)\"), reject (an error), skip (the new file is \
         not sent) or replace (the new file gets the name, and the server keeps the old one as an \
         earlier version)"
            .to_owned()
    })
}

/// The least number of bytes in a second that can be asked for.
const RATE_MIN: u64 = 1000;

/// `500K`, `2MB`, `2MiB/s`: bytes in a second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").unwrap_or(text);
    match size.parse::<ByteSize>().map(|size| size.as_u64()) {
        Ok(bytes) if bytes >= RATE_MIN => Ok(bytes),
        // A file would take days; the unit was forgotten.
        Ok(bytes) if bytes > 0 => Err(format!(
            "\"{}\" is {bytes} bytes per second, and the least is 1kB; did you mean {bytes}KiB?",
            crate::text::printable(text)
        )),
        _ => Err(format!(
            "\"{}\" is not a rate; write for example 500KiB or 2MB, in bytes per second",
            crate::text::printable(text)
        )),
    }
}

/// A kind of node; the letters are those of `find -type`.
pub(super) fn kind(text: &str) -> Result<NodeKind, String> {
    match text {
        "f" => Ok(NodeKind::File),
        "d" => Ok(NodeKind::Folder),
        "l" => Ok(NodeKind::Link),
        word => NodeKind::parse(word).ok_or_else(|| "write file, folder or link".to_owned()),
    }
}

/// How long a link is good: `2h`, `7d`.
pub(super) fn link_time(text: &str) -> Result<Duration, String> {
    let Ok(time) = humantime::parse_duration(text) else {
        return Err(format!(
            "\"{}\" is not a time; write for example 2h or 7d",
            crate::text::printable(text)
        ));
    };
    let is_legal = (1..=LINK_SECONDS_MAX).contains(&time.as_secs());
    is_legal.then_some(time).ok_or_else(|| "at least 1s and at most 30d".to_owned())
}

/// What to do where a name is taken on this machine.
pub(super) fn conflict_here(text: &str) -> Result<OnConflict, String> {
    OnConflict::parse(text).ok_or_else(|| {
        "write reject (an error), skip (the file is not fetched), rename (the fetched file becomes \
         \"name (1)\") or replace (the fetched file replaces the one that is there)"
            .to_owned()
    })
}

pub(super) fn chunk_bytes(text: &str) -> Result<u32, String> {
    let Ok(bytes) = text.parse::<ByteSize>() else {
        return Err(format!(
            "\"{}\" is not a size; write 64KiB or 1MiB",
            crate::text::printable(text)
        ));
    };
    let bytes = bytes.as_u64();
    match u32::try_from(bytes) {
        Ok(bytes) if (1..=CHUNK_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "the size must be between 1 byte and {}",
            units::limit(CHUNK_BYTES_MAX.into())
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(chunk_bytes("64KiB"), Ok(65_536));
        assert_eq!(chunk_bytes("65536"), Ok(65_536));
        assert_eq!(chunk_bytes("1MiB"), Ok(1 << 20));
        for text in ["0", "2MiB", "-1", "many", "1TiB"] {
            assert!(chunk_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_link_is_good_for_a_month_at_most() {
        assert_eq!(link_time("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(link_time("30d"), Ok(Duration::from_secs(LINK_SECONDS_MAX)));
        for text in ["0s", "500ms", "31d", "1year", "forever", "7", "-1d", ""] {
            assert!(link_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_that_no_one_means_is_questioned() {
        assert_eq!(rate("500KiB/s"), Ok(512_000));
        assert_eq!(rate("1KB"), Ok(1000));
        for (text, meant) in [("10", "10KiB"), ("999", "999KiB"), ("10B", "10KiB")] {
            assert!(rate(text).unwrap_err().ends_with(&format!("did you mean {meant}?")), "{text}");
        }
        assert!(rate("0").unwrap_err().contains("is not a rate"));
    }
}
