//! Requests about one upload: how it stands, its end, its token.

use super::caller::Caller;
use super::client::Context;
use super::extract::{OfUpload, SaidOrNothing};
use super::json::Json;
use super::problem::Problem;
use super::shared_writers::Others;
use super::shown::{Shown, time_text, word};
use super::{create, entity_tag, upload_headers};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use towline_engine::{Begun, CompleteRequest, Completion, Length, Phase, RejectionKind, Status};
use towline_types::{DocumentId, FileHash, FileSize, NodeId, Offset, OnConflict, Sha256Hash};

/// The most ranges that are shown of an upload.
const RANGES_MAX: u32 = 1024;

/// An upload as the client is shown it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    #[cfg_attr(test, schema(value_type = u64))]
    upload_id: DocumentId,
    status: &'static str,
    filename: String,
    folder: String,
    /// The length of the file; none while it is not known.
    total: Option<u64>,
    /// The first byte that the client has to send, because everything before it survives a power
    /// cut.
    #[cfg_attr(test, schema(value_type = u64))]
    next_offset: Offset,
    /// The ranges that are here: first byte, last byte.
    received_ranges: Vec<[u64; 2]>,
    chunk_size: u32,
    tags: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    document_id: Option<DocumentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    file_id: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$"))]
    blake3: Option<FileHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$"))]
    sha256: Option<Sha256Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The word for the state of an upload, as the drawing of `docs/http.md` has them.
fn state(status: &Status, has_bytes: bool) -> &'static str {
    match status.phase {
        Phase::Uploading if status.is_active => "UPLOADING",
        Phase::Uploading if !has_bytes => "INITIATED",
        Phase::Uploading => "PAUSED",
        Phase::Publishing => "FINALIZING",
        Phase::Completed => word(status.availability),
        Phase::Failed => "FAILED",
        Phase::Cancelled | Phase::Expired => "CANCELLED",
    }
}

/// `GET /uploads/{id}`.
pub(super) async fn show(
    State(context): State<Context>,
    OfUpload { caller, id }: OfUpload,
) -> Result<Response, Problem> {
    let status = caller.account.status_when_durable(id).await?;
    let ranges = caller.account.received_ranges(id, Offset::ZERO, RANGES_MAX).await?;
    let is_done = status.phase == Phase::Completed;
    let shown = Upload {
        upload_id: id,
        status: state(&status, !ranges.is_empty()),
        filename: status.path.filename().to_string(),
        folder: status.path.folder_text(),
        total: total(&status),
        next_offset: next_offset(&status),
        received_ranges: ranges.iter().map(|range| [range.start, range.end - 1]).collect(),
        chunk_size: status.chunk_size.unwrap_or(super::state::CHUNK_BYTES),
        tags: caller.account.description(id).await?.tags,
        created_at: time_text(status.started_at),
        expires_at: status.expires_at.map(time_text),
        document_id: is_done.then_some(id),
        file_id: status.node_id.filter(|_| is_done),
        blake3: status.hash.filter(|_| is_done),
        sha256: status.sha256.filter(|_| is_done),
        reason: reason(&caller, id, &status).await?,
    };
    let mut response = Json(shown).into_response();
    describe(&context, response.headers_mut(), &status);
    Ok(response)
}

/// Why an upload has ended without a document, or why the document is not given out.
async fn reason(
    caller: &Caller,
    id: DocumentId,
    status: &Status,
) -> Result<Option<String>, Problem> {
    if status.held().is_none() {
        return Ok(status.reason.clone());
    }
    Ok(caller.account.verdict(id).await?.and_then(|verdict| verdict.detail))
}

/// The headers that say how far an upload is, in the words of each dialect.
fn describe(context: &Context, headers: &mut HeaderMap, status: &Status) {
    upload_headers::say(headers, next_offset(status), status.phase == Phase::Completed);
    upload_headers::limits(context, headers);
    upload_headers::durability_of(headers, status);
    if let Some(total) = total(status) {
        headers.insert("upload-length", HeaderValue::from(total));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// `HEAD /uploads/{id}`: where to go on.
pub(super) async fn probe(
    context: &Context,
    caller: &Caller,
    id: DocumentId,
) -> Result<Response, Problem> {
    let status = caller.account.status_when_durable(id).await?;
    ended(&status)?;
    let offset = next_offset(&status);
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    describe(context, headers, &status);
    if offset > Offset::ZERO
        && let Ok(range) = HeaderValue::try_from(format!("bytes=0-{}", offset.get() - 1))
    {
        headers.insert(header::RANGE, range);
    }
    if status.position.received > offset {
        headers.insert("towline-received", HeaderValue::from(status.position.received.get()));
    }
    if status.phase == Phase::Completed {
        headers.insert(DOCUMENT, HeaderValue::from(id.get()));
    }
    if let Some(tag) = tag(caller, id, &status).await? {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The header that names the document that an upload has become.
pub(super) const DOCUMENT: &str = "towline-document";

async fn tag(
    caller: &Caller,
    id: DocumentId,
    status: &Status,
) -> Result<Option<HeaderValue>, Problem> {
    match (status.phase, status.hash) {
        (Phase::Completed, Some(hash)) => Ok(Some(entity_tag::of_document(hash))),
        _ => Ok(entity_tag::of_upload(&caller.account, id, next_offset(status)).await?),
    }
}

/// `DELETE /uploads/{id}`: the client gives the upload up.
pub(super) async fn cancel(caller: &Caller, id: DocumentId) -> Result<Response, Problem> {
    match caller.account.cancel(id).await {
        Ok(()) => {}
        // It has ended already, as the client wants it.
        Err(rejection)
            if matches!(
                rejection.kind,
                RejectionKind::Cancelled | RejectionKind::Expired | RejectionKind::Failed
            ) => {}
        Err(rejection) => return Err(rejection.into()),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What a client may say when it completes an upload.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Completing {
    /// The length of the file in bytes, where it was not told before.
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    size: Option<FileSize>,
    /// The SHA-256 hash of the whole file.
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$"))]
    sha256: Option<Sha256Hash>,
    /// The BLAKE3 hash of the whole file.
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$"))]
    blake3: Option<FileHash>,
    /// What to do where the name is taken; none is what the client said when the upload began.
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^(rename|reject|replace|skip)$"))]
    on_conflict: Option<OnConflict>,
}

/// `POST /uploads/{id}/complete`.
pub(super) async fn complete(
    State(context): State<Context>,
    OfUpload { caller, id }: OfUpload,
    SaidOrNothing(said): SaidOrNothing<Completing>,
) -> Result<Response, Problem> {
    if said.on_conflict.is_some() && caller.has_upload_token() {
        let message = "onConflict: the token of an upload does nothing to other documents";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let status = caller.account.status(id).await?;
    ended(&status)?;
    if status.phase != Phase::Uploading {
        let completion = caller.account.receipt(id).await?;
        compare(&said, &completion)?;
        return Ok(shown(StatusCode::OK, &completion));
    }
    let (_share, begun) = context.state.writers.open(&caller.account, id, Others::GoOn).await?;
    let (completion, code) = match begun {
        Begun::Uploading(mut upload) => {
            let request = CompleteRequest {
                filesize: said.size,
                hash: said.blake3,
                sha256: said.sha256,
                on_conflict: said.on_conflict,
                ..CompleteRequest::default()
            };
            match upload.complete_with(request).await {
                Ok(completion) => (completion, StatusCode::CREATED),
                Err(rejection) => {
                    let problem = Problem::from(rejection);
                    let offset = upload.pause().await.map(|position| position.durable.get());
                    return Err(match offset {
                        Some(offset) => problem.at(offset),
                        None => problem,
                    });
                }
            }
        }
        Begun::Stored(completion) => {
            compare(&said, &completion)?;
            (completion, StatusCode::OK)
        }
        Begun::Unfinished(_) => {
            return Err(Problem::new(StatusCode::CONFLICT, "bad_state", "it is unfinished"));
        }
    };
    Ok(shown(code, &completion))
}

/// The document that an upload has become.
fn shown(code: StatusCode, completion: &Completion) -> Response {
    let receipt = &completion.receipt;
    let mut response = (code, Json(Shown::of_receipt(receipt))).into_response();
    upload_headers::durability(response.headers_mut(), receipt);
    response
}

/// Compares what a client says of a file with the document that it has become.
fn compare(said: &Completing, completion: &Completion) -> Result<(), Problem> {
    let receipt = &completion.receipt;
    if said.sha256.is_some() && receipt.sha256().is_none() {
        let message = "sha256: the server does not know this hash of the document; say blake3";
        return Err(Problem::new(StatusCode::CONFLICT, "bad_state", message));
    }
    let is_other = said.blake3.is_some_and(|hash| hash != receipt.hash())
        || said.sha256.is_some_and(|hash| Some(hash) != receipt.sha256())
        || said.size.is_some_and(|size| size != receipt.filesize());
    if is_other {
        let message = "the document is complete, and its bytes are other ones";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "hash_mismatch", message));
    }
    Ok(())
}

/// A new token for an upload.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    token: String,
    expires_at: String,
}

/// `POST /uploads/{id}/token`: another token, which is good for longer.
pub(super) async fn renew_token(
    State(context): State<Context>,
    OfUpload { caller, id }: OfUpload,
) -> Result<Response, Problem> {
    let status = caller.account.status(id).await?;
    ended(&status)?;
    if status.phase == Phase::Completed {
        let message = "the upload is complete, so it needs no token";
        return Err(Problem::new(StatusCode::CONFLICT, "bad_state", message));
    }
    let (token, expires_at) = create::token(&context, &caller, id)?;
    let mut response = (StatusCode::CREATED, Json(Token { token, expires_at })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Refuses a request about an upload that has ended without a document.
pub(super) fn ended(status: &Status) -> Result<(), Problem> {
    let (code, what) = match status.phase {
        Phase::Uploading | Phase::Publishing | Phase::Completed => return Ok(()),
        Phase::Cancelled => ("cancelled", "the upload was cancelled"),
        Phase::Expired => ("expired", "no byte came for too long, so the upload was given up"),
        Phase::Failed => ("failed", "the upload has failed"),
    };
    let reason = status.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let message = format!("{what}{reason}; begin a new one");
    Err(Problem::new(StatusCode::GONE, code, message))
}

/// The first byte that the client has to send.
pub(super) fn next_offset(status: &Status) -> Offset {
    match (status.phase, status.position.length) {
        (Phase::Publishing | Phase::Completed, length) => length.bound().end(),
        (_, Length::Declared(_) | Length::Open { .. }) => status.position.durable.get(),
    }
}

/// The length of the file, as far as it is known.
pub(super) fn total(status: &Status) -> Option<u64> {
    match status.position.length {
        Length::Declared(filesize) => Some(filesize.get()),
        Length::Open { .. } => None,
    }
}
