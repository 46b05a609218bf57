//! The header `Range` (RFC 9110, section 14).

use axum::http::HeaderValue;
use std::ops::Range;

/// The most ranges of one request.
const RANGES_MAX: usize = 16;

/// Which bytes of a document are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them: the header is absent, or is one that a server may ignore.
    Whole,
    /// These, in this order; at least one range, and none of them empty.
    Ranges(Vec<Range<u64>>),
    /// The document has none of these bytes.
    Unsatisfiable,
}

/// What the header says of a document that is so long. A header that cannot be read, that has more
/// than 16 ranges, or whose ranges overlap, is ignored, as the RFC allows.
pub(super) fn wanted(header: Option<&HeaderValue>, length: u64) -> Wanted {
    let text = header.and_then(|value| value.to_str().ok());
    let Some(list) = text.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let mut ranges = Vec::new();
    for spec in list.split(',') {
        match range(spec.trim(), length) {
            Some(Some(range)) => ranges.push(range),
            Some(None) => {}
            None => return Wanted::Whole,
        }
    }
    if ranges.is_empty() {
        return Wanted::Unsatisfiable;
    }
    if ranges.len() > RANGES_MAX || overlap(&ranges) {
        return Wanted::Whole;
    }
    Wanted::Ranges(ranges)
}

/// One range: none at the outside where it cannot be read, none at the inside where the document
/// has none of its bytes.
#[allow(clippy::option_option, reason = "both are kinds of nothing, as the description says")]
fn range(spec: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too large for us is larger than every document.
        is_plain.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some((range.start < range.end).then_some(range))
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str, length: u64) -> Wanted {
        wanted(Some(&HeaderValue::try_from(header).unwrap()), length)
    }

    #[test]
    fn the_forms_of_the_rfc() {
        let one = |range| Wanted::Ranges(std::iter::once(range).collect());
        assert_eq!(of("bytes=0-499", 10_000), one(0..500));
        assert_eq!(of("bytes=9500-", 10_000), one(9500..10_000));
        assert_eq!(of("bytes=-500", 10_000), one(9500..10_000));
        assert_eq!(of("bytes=-20000", 10_000), one(0..10_000));
        assert_eq!(of("bytes=0-0", 1), one(0..1));
        assert_eq!(of("bytes=0-99999999999999999999999", 10), one(0..10));
        assert_eq!(of("bytes=0-0,-1", 10), Wanted::Ranges(vec![0..1, 9..10]));
        assert_eq!(of("bytes=5-6, 1-2", 10), Wanted::Ranges(vec![5..7, 1..3]));
    }

    #[test]
    fn what_the_document_does_not_have() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=12-13, 11-"] {
            assert_eq!(of(header, 10), Wanted::Unsatisfiable, "{header}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Unsatisfiable);
        let one = std::iter::once(1..2).collect();
        assert_eq!(of("bytes=20-, 1-1", 10), Wanted::Ranges(one));
    }

    #[test]
    fn what_is_ignored() {
        let many = (0..17).map(|n| format!("{}-{}", n * 2, n * 2)).collect::<Vec<_>>().join(",");
        for header in
            ["bytes=5-4", "lines=1-2", "bytes=", "bytes=a-b", "bytes=+1-2", "bytes=0-5,3-9", "1-2"]
        {
            assert_eq!(of(header, 100), Wanted::Whole, "{header}");
        }
        assert_eq!(of(&format!("bytes={many}"), 100), Wanted::Whole);
        assert_eq!(wanted(None, 100), Wanted::Whole);
    }
}
