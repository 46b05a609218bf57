//! Conditional requests, in the order of RFC 9110, section 13.2.2.

use axum::http::{HeaderMap, HeaderValue, header};
use headers::{ETag, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince};
use std::time::SystemTime;

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The request is done.
    Goes,
    /// 412: the document is not the one that the client means.
    Failed,
    /// 304: the client has the document already.
    NotModified,
}

/// Checks the conditions of a `GET` or `HEAD`.
pub(super) fn check(headers: &HeaderMap, tag: &HeaderValue, modified: SystemTime) -> Outcome {
    let Some(tag) = parsed(tag) else { return Outcome::Goes };
    if let Some(condition) = headers.typed_get::<IfMatch>() {
        if !condition.precondition_passes(&tag) {
            return Outcome::Failed;
        }
    } else if let Some(condition) = headers.typed_get::<IfUnmodifiedSince>()
        && !condition.precondition_passes(modified)
    {
        return Outcome::Failed;
    }
    if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
        if !condition.precondition_passes(&tag) {
            return Outcome::NotModified;
        }
    } else if let Some(condition) = headers.typed_get::<IfModifiedSince>()
        && !condition.is_modified(modified)
    {
        return Outcome::NotModified;
    }
    Outcome::Goes
}

/// Whether `Range` counts: it does not where `If-Range` names another state of the document. A tag
/// has to be the same strong one, and a date the very same: a document that has changed twice in a
/// second has two states of one date (RFC 9110, section 13.1.5).
pub(super) fn range_counts(headers: &HeaderMap, tag: &HeaderValue, modified: SystemTime) -> bool {
    let Some(condition) = headers.get(header::IF_RANGE) else { return true };
    let date = || condition.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    condition == tag || date() == Some(modified)
}

fn parsed(tag: &HeaderValue) -> Option<ETag> {
    tag.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const TAG: &str = "\"b3-1\"";
    const BEFORE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const AT: &str = "Tue, 02 Jan 2024 00:00:00 GMT";
    const AFTER: &str = "Wed, 03 Jan 2024 00:00:00 GMT";

    fn modified() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_704_153_600)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn of(pairs: &[(&'static str, &str)]) -> Outcome {
        check(&headers(pairs), &TAG.parse().unwrap(), modified())
    }

    #[test]
    fn each_condition_by_itself() {
        assert_eq!(of(&[]), Outcome::Goes);
        assert_eq!(of(&[("if-match", TAG)]), Outcome::Goes);
        assert_eq!(of(&[("if-match", "*")]), Outcome::Goes);
        assert_eq!(of(&[("if-match", "\"x\"")]), Outcome::Failed);
        assert_eq!(of(&[("if-none-match", TAG)]), Outcome::NotModified);
        assert_eq!(of(&[("if-none-match", "W/\"b3-1\"")]), Outcome::NotModified);
        assert_eq!(of(&[("if-none-match", "*")]), Outcome::NotModified);
        assert_eq!(of(&[("if-none-match", "\"x\"")]), Outcome::Goes);
        assert_eq!(of(&[("if-unmodified-since", AT)]), Outcome::Goes);
        assert_eq!(of(&[("if-unmodified-since", BEFORE)]), Outcome::Failed);
        assert_eq!(of(&[("if-modified-since", AT)]), Outcome::NotModified);
        assert_eq!(of(&[("if-modified-since", AFTER)]), Outcome::NotModified);
        assert_eq!(of(&[("if-modified-since", BEFORE)]), Outcome::Goes);
    }

    #[test]
    fn tags_go_before_dates() {
        assert_eq!(of(&[("if-match", TAG), ("if-unmodified-since", BEFORE)]), Outcome::Goes);
        assert_eq!(of(&[("if-none-match", "\"x\""), ("if-modified-since", AT)]), Outcome::Goes);
        assert_eq!(of(&[("if-match", "\"x\""), ("if-none-match", TAG)]), Outcome::Failed);
    }

    #[test]
    fn a_range_of_another_state_does_not_count() {
        let of = |value: &str| {
            range_counts(&headers(&[("if-range", value)]), &TAG.parse().unwrap(), modified())
        };
        assert!(range_counts(&HeaderMap::new(), &TAG.parse().unwrap(), modified()));
        assert!(of(TAG) && of(AT));
        assert!(!of("\"x\"") && !of("W/\"b3-1\"") && !of(BEFORE) && !of(AFTER) && !of("?"));
    }
}
