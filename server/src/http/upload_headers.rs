//! The headers that tell how far an upload is, alike in every dialect.

use super::client::Context;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use towline_engine::{Phase, Receipt, Status};
use towline_types::{FileSize, Offset};

/// Says whether an upload is complete; a request with it is one of the IETF's dialect.
pub(super) const UPLOAD_COMPLETE: &str = "upload-complete";

/// How far the upload is, and whether it is complete.
pub(super) fn say(headers: &mut HeaderMap, offset: Offset, is_complete: bool) {
    headers.insert("upload-offset", HeaderValue::from(offset.get()));
    headers
        .insert(UPLOAD_COMPLETE, HeaderValue::from_static(if is_complete { "?1" } else { "?0" }));
}

/// Says that the document does not survive a power cut yet. Without this header, what an answer says
/// of an upload is durable (P1, P3). Only a server whose durability is relaxed has such documents.
pub(super) const DURABLE: &str = "towline-durable";

/// How durable the document of a receipt is (P3).
pub(super) fn durability(headers: &mut HeaderMap, receipt: &Receipt) {
    if !receipt.is_durable() {
        headers.insert(DURABLE, HeaderValue::from_static("?0"));
    }
}

/// How durable the bytes before the offset are that an answer says: of an upload that is being
/// published, all of them are said to be there, whether the disk has them or not (P1).
pub(super) fn durability_of(headers: &mut HeaderMap, status: &Status) {
    let end = status.position.length.bound().end();
    if status.phase == Phase::Publishing && status.position.durable.get() < end {
        headers.insert(DURABLE, HeaderValue::from_static("?0"));
    }
}

/// The limits of uploads, for every answer of this dialect.
pub(super) fn limits(context: &Context, headers: &mut HeaderMap) {
    let max = context.shared.engine.config().max_filesize;
    let limit =
        if max < FileSize::MAX { format!("max-size={max}") } else { "min-size=0".to_owned() };
    if let Ok(limit) = HeaderValue::try_from(limit) {
        headers.insert("upload-limit", limit);
    }
}

/// The answer to a request whose bytes were taken: the upload goes on at `offset`.
pub(super) fn no_content(offset: Offset) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert("upload-offset", HeaderValue::from(offset.get()));
    response
}
