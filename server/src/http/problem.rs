//! What a client is told of a request that was not done: a document of RFC 9457, with the code words
//! of the other doors. The one place of this door that gives a rejection its number.

use super::item::Item;
use super::json::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use towline_engine::{Rejection, RejectionKind};
use towline_protocol::ErrorReply;
use towline_state::catalog::ResetReason;
use towline_types::{BadName, Offset};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: Box<Body>,
    /// Where the client is to go on, for the header `Upload-Offset`.
    upload_offset: Option<Offset>,
    /// The length of the content of which a range was wanted that it does not have.
    content_length: Option<u64>,
}

/// The document itself.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[cfg_attr(test, schema(as = Problem))]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    title: &'static str,
    status: u16,
    /// A word that stays.
    #[cfg_attr(test, schema(value_type = String))]
    code: Cow<'static, str>,
    /// A sentence for people.
    #[cfg_attr(test, schema(value_type = String))]
    detail: Cow<'static, str>,
    #[serde(rename = "expected-offset", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    expected_offset: Option<Offset>,
    #[serde(rename = "provided-offset", skip_serializing_if = "Option::is_none")]
    provided_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let body = Body {
            kind: None,
            title,
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            expected_offset: None,
            provided_offset: None,
            field: None,
            max: None,
            missing: None,
            current: None,
            count: None,
            reason: None,
        };
        Self { status, body: Box::new(body), upload_offset: None, content_length: None }
    }

    /// A request that makes no sense; `field` is the header, parameter or member that is wrong.
    pub(super) fn bad_request(
        field: impl Into<String>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "bad_request", detail);
        problem.body.field = Some(field.into());
        problem
    }

    /// The bytes do not begin where they are wanted.
    pub(super) fn wrong_offset(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "offset_mismatch", detail)
    }

    /// The range is none of the file.
    pub(super) fn out_of_range(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail)
    }

    /// The same problem; the client goes on at `offset`.
    pub(super) fn at(mut self, offset: Offset) -> Self {
        self.body.expected_offset = Some(offset);
        self.upload_offset = Some(offset);
        self
    }

    /// The same problem, with its name among those that IANA keeps.
    pub(super) fn of_type(mut self, name: &str) -> Self {
        self.body.kind = Some(format!("https://iana.org/assignments/http-problem-types#{name}"));
        self
    }

    /// The bytes begin at `provided`, and the client goes on at `expected`.
    pub(super) fn between(mut self, expected: Offset, provided: u64) -> Self {
        self.body.provided_offset = Some(provided);
        self.of_type("mismatching-upload-offset").at(expected)
    }

    /// The same problem, with what is there instead.
    pub(super) fn with_current(mut self, item: Item) -> Self {
        self.body.current = Some(item);
        self
    }

    /// The same problem of a range of content that is so long.
    pub(super) fn of_content(mut self, length: u64) -> Self {
        self.content_length = Some(length);
        self
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn code(&self) -> &str {
        &self.body.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"towline\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
            // Tokens are not tried one after another on one connection.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("TLS/1.3"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, close"));
        }
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if let Some(offset) = self.upload_offset {
            headers.insert("upload-offset", HeaderValue::from(offset.get()));
        }
        if let Some(length) = self.content_length
            && let Ok(value) = HeaderValue::try_from(format!("bytes */{length}"))
        {
            headers.insert(header::CONTENT_RANGE, value);
        }
        response
    }
}

/// What the parts that all doors share say of a login.
impl From<ErrorReply> for Problem {
    fn from(error: ErrorReply) -> Self {
        let status = StatusCode::from_u16(error.number).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, error.code.as_str(), error.message)
    }
}

impl From<BadName> for Problem {
    fn from(error: BadName) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_name", error.to_string())
    }
}

impl From<Rejection> for Problem {
    fn from(Rejection { kind, message }: Rejection) -> Self {
        let (status, code) = status(&kind);
        let mut problem = Self::new(status, code, message);
        match kind {
            RejectionKind::SizeLimit { max } => problem.body.max = max.map(u64::from),
            RejectionKind::SizeExceeded { filesize } => problem.body.max = Some(filesize.get()),
            RejectionKind::TooMany { max } => problem.body.max = Some(max),
            RejectionKind::QuotaUsedUp { limit } => problem.body.max = Some(limit),
            RejectionKind::NoSpace { missing_bytes } => problem.body.missing = missing_bytes,
            RejectionKind::OffsetMismatch { expected } | RejectionKind::Incomplete { expected } => {
                problem.body.expected_offset = Some(expected);
            }
            RejectionKind::NodeExists { node }
            | RejectionKind::RemovedWithFolder { node }
            | RejectionKind::Conflict { node: Some(node) } => {
                problem.body.current = Some(Item::of(&node));
            }
            RejectionKind::Unseen { count } => problem.body.count = Some(count),
            RejectionKind::CursorReset { reason } => {
                problem.body.reason = Some(match reason {
                    ResetReason::Expired => "expired",
                    ResetReason::Restored => "restored",
                });
            }
            RejectionKind::BadRequest { field, max } => {
                problem.body.field = field;
                problem.body.max = max;
            }
            _ => {}
        }
        problem
    }
}

/// Exhaustive on purpose: a new kind has to find its number here before it compiles.
const fn status(kind: &RejectionKind) -> (StatusCode, &'static str) {
    match kind {
        RejectionKind::NotFound | RejectionKind::NoSuchFolder => {
            (StatusCode::NOT_FOUND, "not_found")
        }
        RejectionKind::SizeLimit { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "size_limit"),
        RejectionKind::NoSpace { .. } => (StatusCode::INSUFFICIENT_STORAGE, "no_space"),
        RejectionKind::QuotaUsedUp { .. } => (StatusCode::INSUFFICIENT_STORAGE, "quota"),
        RejectionKind::NameTaken
        | RejectionKind::FolderTaken
        | RejectionKind::NodeExists { .. } => (StatusCode::CONFLICT, "exists"),
        RejectionKind::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
        RejectionKind::Unseen { .. } => (StatusCode::CONFLICT, "unseen"),
        RejectionKind::Cycle => (StatusCode::CONFLICT, "cycle"),
        RejectionKind::NotEmpty => (StatusCode::CONFLICT, "not_empty"),
        RejectionKind::Busy => (StatusCode::CONFLICT, "busy"),
        RejectionKind::BadCursor => (StatusCode::BAD_REQUEST, "bad_cursor"),
        RejectionKind::CursorReset { .. } => (StatusCode::GONE, "cursor_reset"),
        RejectionKind::OffsetMismatch { .. } => (StatusCode::CONFLICT, "offset_mismatch"),
        RejectionKind::SizeExceeded { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "size_exceeded"),
        RejectionKind::BlockMismatch { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "block_mismatch"),
        RejectionKind::NoSuchBlock { .. }
        | RejectionKind::BadRequest { .. }
        | RejectionKind::NotAFolder => (StatusCode::BAD_REQUEST, "bad_request"),
        RejectionKind::Incomplete { .. } => (StatusCode::CONFLICT, "incomplete"),
        RejectionKind::HashMismatch => (StatusCode::UNPROCESSABLE_ENTITY, "hash_mismatch"),
        RejectionKind::Superseded => (StatusCode::CONFLICT, "superseded"),
        RejectionKind::NotShared
        | RejectionKind::NoBytes
        | RejectionKind::RemovedWithFolder { .. }
        | RejectionKind::LengthUnknown
        | RejectionKind::NoActiveUpload
        | RejectionKind::WrongPhase { .. } => (StatusCode::CONFLICT, "bad_state"),
        RejectionKind::FileChanged => (StatusCode::CONFLICT, "file_changed"),
        RejectionKind::Expired => (StatusCode::GONE, "expired"),
        RejectionKind::Cancelled => (StatusCode::GONE, "cancelled"),
        RejectionKind::Failed => (StatusCode::GONE, "failed"),
        RejectionKind::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
        RejectionKind::StorageRefused => (StatusCode::INTERNAL_SERVER_ERROR, "storage_refused"),
        RejectionKind::StorageFailed => (StatusCode::INTERNAL_SERVER_ERROR, "storage_failed"),
        RejectionKind::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        RejectionKind::Scanning => (StatusCode::CONFLICT, "scanning"),
        RejectionKind::Quarantined => (StatusCode::FORBIDDEN, "quarantined"),
        RejectionKind::Unscanned => (StatusCode::FORBIDDEN, "unscanned"),
        RejectionKind::StorageReadOnly => (StatusCode::SERVICE_UNAVAILABLE, "storage_read_only"),
        RejectionKind::Contended | RejectionKind::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
        RejectionKind::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        RejectionKind::UserGone => (StatusCode::UNAUTHORIZED, "unauthorized"),
        RejectionKind::BadName => (StatusCode::UNPROCESSABLE_ENTITY, "bad_name"),
        RejectionKind::WrongUser => (StatusCode::FORBIDDEN, "wrong_user"),
    }
}
