//! Resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload, as of interop version 8).
//!
//! A request that could be any upload says with `Upload-Complete` that it may be continued. It is a
//! third spelling of the same uploads. An upload ends with the request that says so, and not by its
//! last byte.

use super::append::{Completes, Failed, Incoming, Taken, append, refuse_overlap};
use super::caller::Caller;
use super::client::Context;
use super::content_digest::{self, Checker};
use super::disposition;
use super::json::Json;
use super::problem::Problem;
use super::request_body::RequestBody;
use super::shared_writers::Others;
use super::shown::Shown;
use super::upload_headers::{UPLOAD_COMPLETE, durability, say};
use super::uploads::{self, DOCUMENT, ended, next_offset};
use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use towline_engine::{Begun, Completion, Length, NewUpload, Phase, SendingMode};
use towline_state::catalog::Description;
use towline_types::{DocumentId, DocumentPath, FileSize, Name, NodePath, Offset, SecondDigest};

/// The media type of the bytes of an append.
const PARTIAL: &str = "application/partial-upload";

/// The name of a file of which the client says none.
const NAMELESS: &str = "upload";

const INCONSISTENT: &str = "inconsistent-upload-length";

/// Whether a request is one of this dialect.
pub(super) fn is_spoken(headers: &HeaderMap) -> bool {
    let is_partial = |value: &HeaderValue| value == PARTIAL;
    headers.contains_key(UPLOAD_COMPLETE)
        || headers.get(header::CONTENT_TYPE).is_some_and(is_partial)
}

/// Where the file is to lie, as the URL says it.
#[derive(Debug, Default, Deserialize)]
struct Place {
    filename: Option<String>,
    #[serde(default)]
    folder: String,
}

/// `POST`: an upload begins, with all of its bytes, some or none.
pub(super) async fn create(
    context: &Context,
    caller: &Caller,
    parts: &Parts,
    body: &mut RequestBody,
) -> Result<Response, Problem> {
    caller.is_person()?;
    let headers = &parts.headers;
    let is_last = completes(headers)?.ok_or_else(no_complete)?;
    let checker = Checker::of(headers)?;
    let said = number(headers, "upload-length");
    let content_length = number(headers, "content-length");
    // A request with all bytes says the length of the file by its own.
    let length = said.or(content_length.filter(|_| is_last));
    if is_last && content_length.zip(said).is_some_and(|(body, said)| body != said) {
        return Err(inconsistent("the body has another length than Upload-Length says"));
    }
    if !is_last && content_length.zip(said).is_some_and(|(body, said)| body > said) {
        return Err(inconsistent("the body is longer than Upload-Length says"));
    }
    let filesize = length.map(FileSize::try_from).transpose().map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "size_limit", "no file can be that long")
    })?;
    let length = filesize.map_or(Length::Open { max: FileSize::MAX }, Length::Declared);
    let description = Description {
        expected_sha256: content_digest::of_whole(headers)?,
        ..Description::default()
    };
    let new = NewUpload {
        description,
        second_digest: SecondDigest::Sha256,
        ..NewUpload::new(place(parts)?, length, SendingMode::RANGES)
    };
    let Begun::Uploading(upload) = caller.account.begin(new).await? else {
        return Err(Problem::new(StatusCode::CONFLICT, "bad_state", "the file is here already"));
    };
    let id = upload.id();
    upload.pause().await;
    let end = content_length.map(|bytes| Offset::ZERO.plus(bytes));
    let completes = if is_last { Completes::WithRequest } else { Completes::Later };
    let (start, others) = (Offset::ZERO, Others::GoOn);
    let incoming = Incoming { start, end, total: None, checker, completes, others };
    let mut response = match append(context, caller, id, body, incoming).await {
        Ok(Taken::Stored(completion)) => stored(StatusCode::CREATED, id, &completion),
        Ok(Taken::Paused(position)) => {
            let mut response = StatusCode::CREATED.into_response();
            say(response.headers_mut(), position.durable.get(), false);
            response
        }
        Err(failed) => {
            // The client has not heard where the upload is.
            let _ = caller.account.cancel(id).await;
            return Err(failed.problem());
        }
    };
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/uploads/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `PATCH`: the next bytes.
pub(super) async fn patch(
    context: &Context,
    caller: &Caller,
    parts: &Parts,
    id: DocumentId,
    body: &mut RequestBody,
) -> Result<Response, Problem> {
    let headers = &parts.headers;
    let is_last = completes(headers)?.ok_or_else(no_complete)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != PARTIAL) {
        let message = "Content-Type: application/partial-upload was expected";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message));
    }
    // A value that is no number is ignored, and then there is none.
    let start = number(headers, "upload-offset").ok_or_else(|| {
        Problem::bad_request(
            "Upload-Offset",
            "Upload-Offset: the first byte of the body is missing",
        )
    })?;
    let checker = Checker::of(headers)?;
    let status = caller.account.status_when_durable(id).await?;
    ended(&status)?;
    let next = next_offset(&status);
    if status.phase == Phase::Completed {
        let message = "the upload is complete already";
        return Err(Problem::wrong_offset(message).of_type("completed-upload").at(next));
    }
    if start != next.get() {
        let message = format!("the first missing byte is {next}");
        return Err(Problem::wrong_offset(message).between(next, start));
    }
    let known = uploads::total(&status);
    let said = number(headers, "upload-length");
    if known.zip(said).is_some_and(|(known, said)| known != said) {
        return Err(inconsistent("Upload-Length is another one than before"));
    }
    let end = number(headers, "content-length").map(|bytes| start.saturating_add(bytes));
    if let (Some(total), Some(end)) = (known.or(said), end) {
        if end > total {
            // The client has another file than the one that it has announced.
            caller.account.cancel(id).await?;
            let message =
                "the bytes reach beyond the length of the file, so the upload is given up";
            return Err(Problem::new(StatusCode::CONFLICT, "size_exceeded", message));
        }
        if is_last && end < total {
            return Err(inconsistent("the last bytes do not reach the end of the file"));
        }
    }
    if let Some(end) = end {
        refuse_overlap(caller, id, &status, (next, end)).await?;
    }
    let incoming = Incoming {
        start: next,
        end: end.and_then(|end| Offset::try_from(end).ok()),
        total: said.and_then(|said| FileSize::try_from(said).ok()),
        checker,
        completes: if is_last { Completes::WithRequest } else { Completes::Later },
        others: Incoming::others(&status, next),
    };
    match append(context, caller, id, body, incoming).await {
        Ok(Taken::Stored(completion)) => Ok(stored(StatusCode::OK, id, &completion)),
        Ok(Taken::Paused(position)) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            say(response.headers_mut(), position.durable.get(), false);
            Ok(response)
        }
        Err(failed) => Err(told(caller, id, failed).await),
    }
}

/// What a client is told whose bytes were not taken, or not all of them.
async fn told(caller: &Caller, id: DocumentId, failed: Failed) -> Problem {
    let problem = failed.problem();
    match caller.account.status_when_durable(id).await {
        Ok(status) => problem.at(next_offset(&status)),
        Err(_) => problem,
    }
}

fn stored(code: StatusCode, id: DocumentId, completion: &Completion) -> Response {
    let receipt = &completion.receipt;
    let mut response = (code, Json(Shown::of_receipt(receipt))).into_response();
    let headers = response.headers_mut();
    say(headers, receipt.filesize().end(), true);
    headers.insert(DOCUMENT, HeaderValue::from(id.get()));
    durability(headers, receipt);
    response
}

/// What `Upload-Complete` says: a boolean of RFC 9651; none where it is absent.
fn completes(headers: &HeaderMap) -> Result<Option<bool>, Problem> {
    match headers.get(UPLOAD_COMPLETE) {
        None => Ok(None),
        Some(value) if value == "?1" => Ok(Some(true)),
        Some(value) if value == "?0" => Ok(Some(false)),
        Some(_) => Err(no_complete()),
    }
}

fn no_complete() -> Problem {
    Problem::bad_request("Upload-Complete", "Upload-Complete: ?1 or ?0 was expected")
}

fn inconsistent(message: &'static str) -> Problem {
    Problem::bad_request("Upload-Length", message).of_type(INCONSISTENT)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Where the file is to lie: as the URL says it, or `Content-Disposition`.
fn place(parts: &Parts) -> Result<DocumentPath, Problem> {
    let Query(place) = Query::<Place>::try_from_uri(&parts.uri).unwrap_or_default();
    let disposition = parts.headers.get(header::CONTENT_DISPOSITION);
    let name = place.filename.or_else(|| disposition.and_then(disposition::filename));
    let name = Name::new(name.as_deref().unwrap_or(NAMELESS))?;
    let folder = NodePath::typed(&place.folder)?;
    let names = folder.names().iter().map(|name| Name::new(name.as_str()));
    let names = names.collect::<Result<_, _>>()?;
    Ok(DocumentPath::new(names, name)?)
}
