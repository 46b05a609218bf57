//! `PATCH /uploads/{id}` with `Content-Range`: a range of bytes for an upload.

use super::append::{Completes, Failed, Incoming, Taken, append, refuse_overlap};
use super::caller::Caller;
use super::client::Context;
use super::content_digest::Checker;
use super::problem::Problem;
use super::request_body::RequestBody;
use super::upload_headers::{self, no_content};
use super::uploads::{self, DOCUMENT, ended, next_offset};
use super::{entity_tag, state};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use headers::HeaderMapExt as _;
use std::ops::Range;
use towline_engine::{Completion, Phase, Status};
use towline_types::{DocumentId, FileSize, Offset};

/// A range of bytes of a file, and the length of the file where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    range: Range<u64>,
    total: Option<u64>,
}

/// What the header says.
enum Said {
    Range(Wanted),
    /// `bytes */TOTAL`: the client asks where to go on.
    Probe {
        total: Option<u64>,
    },
}

fn said(parts: &Parts) -> Result<Said, Problem> {
    let unreadable = || {
        let message =
            "Content-Range: bytes FIRST-LAST/TOTAL was expected, such as bytes 0-8388607/20000000";
        Problem::bad_request("Content-Range", message)
    };
    if parts.headers.get_all(header::CONTENT_RANGE).iter().count() != 1 {
        return Err(unreadable());
    }
    let said: headers::ContentRange =
        parts.headers.typed_try_get().ok().flatten().ok_or_else(unreadable)?;
    let total = said.bytes_len();
    Ok(match said.bytes_range() {
        Some((first, last)) => {
            let end = last.checked_add(1).ok_or_else(unreadable)?;
            Said::Range(Wanted { range: first..end, total })
        }
        None => Said::Probe { total },
    })
}

/// Takes a range.
pub(super) async fn patch(
    context: &Context,
    caller: &Caller,
    parts: &Parts,
    id: DocumentId,
    body: &mut RequestBody,
) -> Result<Response, Problem> {
    let said = said(parts)?;
    let checker = Checker::of(&parts.headers)?;
    let length = parts.headers.typed_get::<headers::ContentLength>();
    let status = caller.account.status_when_durable(id).await?;
    ended(&status)?;
    let wanted = match said {
        Said::Range(wanted) => wanted,
        Said::Probe { total } => {
            check_total(&status, total)?;
            return uploads::probe(context, caller, id).await.map(|mut answer| {
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
            });
        }
    };
    if let Some(headers::ContentLength(length)) = length
        && length != wanted.range.end - wanted.range.start
    {
        let message = "the body has another length than Content-Range says";
        return Err(Problem::bad_request("Content-Length", message));
    }
    check_total(&status, wanted.total)?;
    check_place(caller, id, &status, &wanted).await?;
    let offset = |byte: u64| {
        Offset::try_from(byte).map_err(|_| Problem::out_of_range("the range lies too far behind"))
    };
    let total = wanted.total.map(FileSize::try_from).transpose();
    let start = offset(wanted.range.start)?;
    let incoming = Incoming {
        start,
        end: Some(offset(wanted.range.end)?),
        total: total.map_err(|_| Problem::out_of_range("no file can be that long"))?,
        checker,
        completes: Completes::WithLastByte,
        others: Incoming::others(&status, start),
    };
    match append(context, caller, id, body, incoming).await {
        Ok(Taken::Stored(completion)) => Ok(stored(id, &completion)),
        Ok(Taken::Paused(position)) => {
            let offset = position.durable.get();
            let mut response = no_content(offset);
            if let Some(tag) = entity_tag::of_upload(&caller.account, id, offset).await? {
                response.headers_mut().insert(header::ETAG, tag);
            }
            Ok(response)
        }
        Err(Failed::Problem(problem)) => {
            // What has come is made durable: so the offset is one that stands.
            let status = caller.account.status_when_durable(id).await?;
            Err(problem.at(next_offset(&status)))
        }
        Err(gone) => Err(gone.problem()),
    }
}

/// The answer to the request that brought the last bytes.
fn stored(id: DocumentId, completion: &Completion) -> Response {
    let receipt = &completion.receipt;
    let mut response = no_content(receipt.filesize().end());
    let headers = response.headers_mut();
    headers.insert(DOCUMENT, HeaderValue::from(id.get()));
    headers.insert(header::ETAG, entity_tag::of_document(receipt.hash()));
    upload_headers::durability(headers, receipt);
    response
}

/// The length that the client says has to be the one that is known.
fn check_total(status: &Status, total: Option<u64>) -> Result<(), Problem> {
    match (uploads::total(status), total) {
        (Some(known), Some(said)) if known != said => {
            let message = format!("the file is {known} bytes long, and not {said}");
            Err(Problem::out_of_range(message).at(next_offset(status)))
        }
        _ => Ok(()),
    }
}

/// A range begins at the first byte that is missing, there or behind any bytes that are here; or at
/// a multiple of the chunk size. None of its bytes are here.
async fn check_place(
    caller: &Caller,
    id: DocumentId,
    status: &Status,
    wanted: &Wanted,
) -> Result<(), Problem> {
    let (next, range) = (next_offset(status), &wanted.range);
    let end = wanted.total.or_else(|| uploads::total(status));
    if end.is_some_and(|end| range.end > end) {
        let message = "the range reaches beyond the end of the file";
        return Err(Problem::out_of_range(message).at(next));
    }
    if status.phase != Phase::Uploading {
        return Err(Problem::wrong_offset("the upload is complete already").at(next));
    }
    if range.start == next.get() {
        return refuse_overlap(caller, id, status, (next, range.end)).await;
    }
    let before = range.start.saturating_sub(1);
    let before = Offset::try_from(before).map_err(|_| Problem::out_of_range("too far"))?;
    let held = caller.account.received_ranges(id, before, 2).await?;
    if held.iter().any(|held| held.start < range.end && range.start < held.end) {
        let message = "a part of the range was received already";
        return Err(Problem::wrong_offset(message).at(next));
    }
    let chunk = u64::from(status.chunk_size.unwrap_or(state::CHUNK_BYTES));
    let begins_a_gap = held.iter().any(|held| held.end == range.start);
    if begins_a_gap || range.start.is_multiple_of(chunk) {
        return Ok(());
    }
    let message = format!(
        "the range begins neither where bytes are missing behind received ones, such as {next}, nor \
         at a multiple of {chunk}"
    );
    Err(Problem::wrong_offset(message).at(next))
}
