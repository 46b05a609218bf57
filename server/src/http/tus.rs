//! tus 1.0.0 (<https://tus.io/protocols/resumable-upload>), with the extensions creation,
//! creation-with-upload, creation-defer-length, expiration, checksum, checksum-trailer,
//! termination and concatenation.
//!
//! It is another spelling of the same uploads: one that was begun with it goes on with
//! `Content-Range` or at the other door, and the other way round.

mod assembly;
mod concat;
mod metadata;

use super::append::{Completes, Failed, Incoming, Taken, append, refuse_overlap};
use super::caller::Caller;
use super::client::Context;
use super::content_digest::{Checker, TUS_ALGORITHMS};
use super::create::origin;
use super::problem::Problem;
use super::request_body::RequestBody;
use super::shared_writers::Others;
use super::shown::LAST_MS;
use super::upload_headers::{self, no_content};
use super::uploads::{self, DOCUMENT, ended, next_offset};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use concat::Concat;
use metadata::{Kept, Metadata};
use std::time::{Duration, UNIX_EPOCH};
use towline_engine::{Begun, Length, NewUpload, Phase, SendingMode, Status};
use towline_state::catalog::{Description, NodeRef, RemovalGuard};
use towline_types::{DocumentId, DocumentPath, FileSize, Offset, SecondDigest, Timestamp};

/// The only version.
const TUS_VERSION: &str = "1.0.0";

const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,\
                          checksum-trailer,termination,concatenation";

/// The media type of the bytes of an upload.
const BYTES: &str = "application/offset+octet-stream";

/// Whether a request is one of tus: it says the version, or has headers that nobody else sends.
pub(super) fn is_spoken(headers: &HeaderMap) -> bool {
    ["tus-resumable", "upload-defer-length", "upload-checksum", "upload-metadata"]
        .iter()
        .any(|name| headers.contains_key(*name))
        || headers.contains_key("upload-length") && !headers.contains_key("upload-complete")
}

/// A request of which a client can only say by a header what its method is.
pub(super) fn overridden(mut request: Request) -> Request {
    let method = request.headers().get("x-http-method-override");
    if let Some(method) = method.and_then(|value| Method::from_bytes(value.as_bytes()).ok())
        && request.method() == Method::POST
        && request.headers().contains_key("tus-resumable")
    {
        *request.method_mut() = method;
    }
    request
}

/// Looks at the version of a request before it is answered, and says it in the answer. `OPTIONS`
/// has none.
pub(super) async fn speak(request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS || !is_spoken(request.headers()) {
        return next.run(request).await;
    }
    let mut response = match check_version(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    describe(response.headers_mut());
    response
}

/// Refuses another version of the protocol.
fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("tus-resumable") {
        Some(version) if version == TUS_VERSION => Ok(()),
        _ => {
            let message = "Tus-Resumable: this server speaks 1.0.0";
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version_unsupported", message))
        }
    }
}

/// `OPTIONS`: what the server can do, and what is possible at the address.
pub(super) fn options(context: &Context, methods: &'static str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    describe(headers);
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(TUS_ALGORITHMS));
    upload_headers::limits(context, headers);
    let max = context.shared.engine.config().max_filesize;
    if max < FileSize::MAX {
        headers.insert("tus-max-size", HeaderValue::from(max.get()));
    }
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// The headers of every answer.
fn describe(headers: &mut HeaderMap) {
    headers.insert("tus-resumable", HeaderValue::from_static(TUS_VERSION));
    headers.insert("tus-version", HeaderValue::from_static(TUS_VERSION));
}

/// `POST`: an upload begins, with its first bytes or without.
pub(super) async fn create(
    context: &Context,
    caller: &Caller,
    parts: &Parts,
    body: &mut RequestBody,
) -> Result<Response, Problem> {
    caller.is_person()?;
    let headers = &parts.headers;
    let concat = match Concat::of(headers)? {
        Some(concat @ Concat::Final(_)) => {
            return assemble(context, caller, headers, concat).await;
        }
        concat => concat,
    };
    let length = length_of_new(headers)?;
    let content_length = content_length(headers)?;
    let has_bytes = content_length != Some(0);
    let is_bytes = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == BYTES);
    if has_bytes && !is_bytes && headers.contains_key(header::CONTENT_TYPE) {
        return Err(no_bytes());
    }
    if let (Length::Declared(filesize), Some(bytes)) = (length, content_length)
        && bytes > filesize.get()
    {
        return Err(too_long());
    }
    let metadata = Metadata::of(headers)?;
    let path = DocumentPath::new(metadata.folder()?, metadata.filename()?)?;
    let checker = if is_bytes { Checker::of_tus(headers)? } else { None };
    let is_part = concat.is_some();
    let kept = Kept { metadata: metadata.text(), concat: concat.map(|one| one.text()) };
    let description = Description { metadata: kept.text()?, ..Description::default() };
    let new = NewUpload {
        description,
        second_digest: SecondDigest::Sha256,
        ..NewUpload::new(path, length, SendingMode::RANGES)
    };
    let Begun::Uploading(upload) = caller.account.begin(new).await? else {
        return Err(Problem::new(StatusCode::CONFLICT, "bad_state", "the file is here already"));
    };
    let id = upload.id();
    let is_empty = matches!(length, Length::Declared(filesize) if filesize.get() == 0) && !is_part;
    let mut offset = Offset::ZERO;
    let mut response = StatusCode::CREATED.into_response();
    let answer = response.headers_mut();
    if is_empty {
        let mut upload = upload;
        let completion = upload.complete(None).await?;
        upload_headers::durability(answer, &completion.receipt);
    } else {
        upload.pause().await;
        if has_bytes && is_bytes {
            let end = content_length.map(|bytes| Offset::ZERO.plus(bytes));
            let completes = completes(is_part);
            let (start, others) = (Offset::ZERO, Others::GoOn);
            let incoming = Incoming { start, end, total: None, checker, completes, others };
            match append(context, caller, id, body, incoming).await {
                Ok(Taken::Stored(completion)) => {
                    offset = completion.receipt.filesize().end();
                    upload_headers::durability(answer, &completion.receipt);
                }
                Ok(Taken::Paused(position)) => offset = position.durable.get(),
                Err(failed) => {
                    // The client has not heard where the upload is.
                    let _ = caller.account.cancel(id).await;
                    return Err(failed.problem());
                }
            }
        }
    }
    locate(context, headers, id, answer);
    answer.insert("upload-offset", HeaderValue::from(offset.get()));
    expires(answer, &caller.account.status(id).await?);
    Ok(response)
}

/// What ends an upload of tus: its last byte, but for a part of a file, which is no file.
const fn completes(is_part: bool) -> Completes {
    if is_part { Completes::Later } else { Completes::WithLastByte }
}

/// `POST` with `Upload-Concat: final`: one file is made of uploads that have all their bytes, and
/// these are given up then. Where it fails they stay as they are (P1).
async fn assemble(
    context: &Context,
    caller: &Caller,
    headers: &HeaderMap,
    concat: Concat,
) -> Result<Response, Problem> {
    if headers.contains_key("upload-length") || headers.contains_key("upload-defer-length") {
        let message = "Upload-Length: a file that is made of parts is as long as they are";
        return Err(Problem::bad_request("Upload-Length", message));
    }
    let metadata = Metadata::of(headers)?;
    let path = DocumentPath::new(metadata.folder()?, metadata.filename()?)?;
    let kept = Kept { metadata: metadata.text(), concat: Some(concat.text()) };
    let made = assembly::make(context, caller, path, kept.text()?, concat).await?;
    let mut response = StatusCode::CREATED.into_response();
    let answer = response.headers_mut();
    locate(context, headers, made.id, answer);
    answer.insert("upload-offset", HeaderValue::from(made.filesize.get()));
    answer.insert(DOCUMENT, HeaderValue::from(made.id.get()));
    Ok(response)
}

/// Says where the upload is. Some clients (aiotus) take a whole address alone.
fn locate(context: &Context, asked: &HeaderMap, id: DocumentId, answer: &mut HeaderMap) {
    let address = format!("{}/uploads/{id}", origin(context, asked));
    if let Ok(location) = HeaderValue::try_from(address) {
        answer.insert(header::LOCATION, location);
    }
}

/// `HEAD`: where to go on.
pub(super) async fn probe(
    context: &Context,
    caller: &Caller,
    id: DocumentId,
) -> Result<Response, Problem> {
    let mut status = caller.account.status(id).await?;
    refuse_removed(caller, id, &status).await?;
    let kept = Kept::of(caller.account.description(id).await?.metadata);
    let is_whole = uploads::total(&status) == Some(status.position.received.get());
    if is_whole && status.phase == Phase::Uploading && !status.is_active && !kept.is_part() {
        // A client of tus takes an upload whose bytes are all here for a complete one.
        finish(context, caller, id).await?;
        status = caller.account.status(id).await?;
    }
    let mut response = uploads::probe(context, caller, id).await?;
    let headers = response.headers_mut();
    if uploads::total(&status).is_none() {
        headers.insert("upload-defer-length", HeaderValue::from_static("1"));
    }
    if let Some(Ok(metadata)) = kept.metadata.map(HeaderValue::try_from) {
        headers.insert("upload-metadata", metadata);
    }
    if let Some(Ok(concat)) = kept.concat.map(HeaderValue::try_from) {
        headers.insert("upload-concat", concat);
    }
    expires(headers, &status);
    Ok(response)
}

/// Completes an upload whose last request was cut off behind its last byte.
async fn finish(context: &Context, caller: &Caller, id: DocumentId) -> Result<(), Problem> {
    let opened = context.state.writers.open(&caller.account, id, Others::GoOn).await?;
    if let (_share, Begun::Uploading(mut upload)) = opened
        && let Err(rejection) = upload.complete(None).await
    {
        upload.pause().await;
        return Err(rejection.into());
    }
    Ok(())
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
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != BYTES) {
        return Err(no_bytes());
    }
    let start = number(headers, "upload-offset")?.ok_or_else(|| {
        Problem::bad_request(
            "Upload-Offset",
            "Upload-Offset: the first byte of the body is missing",
        )
    })?;
    let checker = Checker::of_tus(headers)?;
    let status = caller.account.status_when_durable(id).await?;
    ended(&status)?;
    refuse_removed(caller, id, &status).await?;
    let kept = Kept::of(caller.account.description(id).await?.metadata);
    if kept.is_final() {
        let message = "the file was made of parts, and takes no bytes";
        return Err(Problem::new(StatusCode::FORBIDDEN, "bad_state", message));
    }
    let total = match (uploads::total(&status), number(headers, "upload-length")?) {
        (Some(known), Some(said)) if known != said => {
            let message = format!("Upload-Length: the file is {known} bytes long, and not {said}");
            return Err(Problem::new(StatusCode::CONFLICT, "file_changed", message));
        }
        (known, said) => known.or(said),
    };
    let next = next_offset(&status);
    if start != next.get() || status.phase != Phase::Uploading && total != Some(start) {
        let message = format!("the first missing byte is {next}");
        return Err(Problem::wrong_offset(message).at(next));
    }
    let content_length = content_length(headers)?;
    let end = content_length.map(|bytes| start.saturating_add(bytes));
    if total.zip(end).is_some_and(|(total, end)| end > total) {
        return Err(too_long());
    }
    if status.phase != Phase::Uploading {
        // A client that did not hear the answer to the last bytes asks once more.
        let mut response = stored(id, next);
        upload_headers::durability_of(response.headers_mut(), &status);
        return Ok(response);
    }
    if let Some(end) = end {
        refuse_overlap(caller, id, &status, (next, end)).await?;
    }
    let total = total.map(FileSize::try_from).transpose().map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "size_limit", "no file can be that long")
    })?;
    let incoming = Incoming {
        start: next,
        end: end.and_then(|end| Offset::try_from(end).ok()),
        total,
        checker,
        completes: completes(kept.is_part()),
        others: Incoming::others(&status, next),
    };
    match append(context, caller, id, body, incoming).await {
        Ok(Taken::Stored(completion)) => {
            let mut response = stored(id, completion.receipt.filesize().end());
            upload_headers::durability(response.headers_mut(), &completion.receipt);
            Ok(response)
        }
        Ok(Taken::Paused(position)) => {
            let mut response = no_content(position.durable.get());
            expires(response.headers_mut(), &caller.account.status(id).await?);
            Ok(response)
        }
        Err(Failed::Problem(problem)) => {
            let status = caller.account.status_when_durable(id).await?;
            Err(problem.at(next_offset(&status)))
        }
        Err(gone) => Err(gone.problem()),
    }
}

/// `DELETE`: the upload ends, and a complete one goes to the trash.
pub(super) async fn delete(caller: &Caller, id: DocumentId) -> Result<Response, Problem> {
    let status = caller.account.status(id).await?;
    if status.phase != Phase::Completed || caller.has_upload_token() {
        ended(&status)?;
        return uploads::cancel(caller, id).await;
    }
    refuse_removed(caller, id, &status).await?;
    if let Some(node) = status.node_id {
        let guard = RemovalGuard { version: Some(id), ..RemovalGuard::default() };
        caller.account.remove(NodeRef::Id(node), guard).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Refuses a request about a document that lies in the trash.
async fn refuse_removed(caller: &Caller, id: DocumentId, status: &Status) -> Result<(), Problem> {
    let Some(node) = status.node_id.filter(|_| status.phase == Phase::Completed) else {
        return Ok(());
    };
    let placed = caller.account.stat(NodeRef::Id(node)).await?;
    let is_version = placed.node.version.is_some_and(|version| version.document_id == id);
    if placed.path.is_some() && is_version {
        return Ok(());
    }
    let message = "the file was removed, or has another version now";
    Err(Problem::new(StatusCode::GONE, "cancelled", message))
}

/// The answer to the request that brought the last bytes.
fn stored(id: DocumentId, end: Offset) -> Response {
    let mut response = no_content(end);
    response.headers_mut().insert(DOCUMENT, HeaderValue::from(id.get()));
    response
}

/// When the upload is given up if no byte comes.
fn expires(headers: &mut HeaderMap, status: &Status) {
    let date = |at: Timestamp| {
        let at = Duration::from_millis(at.get().min(LAST_MS));
        httpdate::fmt_http_date(UNIX_EPOCH + at)
    };
    if let Some(Ok(date)) = status.expires_at.map(date).map(HeaderValue::try_from) {
        headers.insert("upload-expires", date);
    }
}

/// How long the file of a new upload is.
fn length_of_new(headers: &HeaderMap) -> Result<Length, Problem> {
    let length = number(headers, "upload-length")?;
    match (length, headers.get("upload-defer-length")) {
        (Some(length), None) => {
            let filesize = FileSize::try_from(length).map_err(|_| {
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "size_limit",
                    "no file can be that long",
                )
            })?;
            Ok(Length::Declared(filesize))
        }
        (None, Some(defer)) if defer == "1" => Ok(Length::Open { max: FileSize::MAX }),
        (None, Some(_)) => {
            Err(Problem::bad_request("Upload-Defer-Length", "Upload-Defer-Length: can only be 1"))
        }
        (Some(_), Some(_)) | (None, None) => {
            let message = "one of Upload-Length and Upload-Defer-Length is needed, and not both";
            Err(Problem::bad_request("Upload-Length", message))
        }
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    number(headers, "content-length")
}

/// The number that a header says.
fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = text.and_then(|text| text.parse().ok());
    let bad = || Problem::bad_request(name, format!("{name}: a number of bytes was expected"));
    number.map(Some).ok_or_else(bad)
}

fn no_bytes() -> Problem {
    let message = "Content-Type: application/offset+octet-stream was expected";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message)
}

fn too_long() -> Problem {
    let message = "the bytes reach beyond the length of the upload";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "size_exceeded", message)
}
