//! The bytes of one request, on their way into an upload that other requests may write to as well.

use super::caller::Caller;
use super::client::Context;
use super::content_digest::Checker;
use super::problem::Problem;
use super::request_body::{Cut, RequestBody};
use super::shared_writers::Others;
use axum::http::StatusCode;
use towline_engine::{
    Begun, Completion, Length, Position, Rejection, RejectionKind, RequestEnd, Status, UploadHandle,
};
use towline_types::{DocumentId, FileSize, Offset};

/// What the request says of its bytes.
pub(super) struct Incoming {
    /// Where the first of them belongs.
    pub(super) start: Offset,
    /// Where they end, if it says so: then a body of another length is refused.
    pub(super) end: Option<Offset>,
    /// The length of the whole file, if it says so.
    pub(super) total: Option<FileSize>,
    /// What they are compared with.
    pub(super) checker: Option<Checker>,
    pub(super) completes: Completes,
    /// What becomes of other requests for the upload.
    pub(super) others: Others,
}

impl Incoming {
    /// What becomes of other requests where this one begins at the first byte that is missing: where
    /// bytes have come that are not confirmed yet, they belong to an earlier try of this request.
    pub(super) fn others(status: &Status, start: Offset) -> Others {
        let Position { received, durable, .. } = status.position;
        if start == durable.get() && received > start { Others::End } else { Others::GoOn }
    }
}

/// What ends an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completes {
    /// The last byte of the file, in whichever request it comes.
    WithLastByte,
    /// This request: its last byte is the last one of the file.
    WithRequest,
    /// A later request.
    Later,
}

/// What became of them.
pub(super) enum Taken {
    /// All bytes of the file are here, and it is in its place.
    Stored(Completion),
    /// The upload waits for more; what came survives a power cut.
    Paused(Position),
}

/// Why they were not taken, or not all of them.
pub(super) enum Failed {
    Problem(Problem),
    /// The client is gone.
    Gone,
}

impl Failed {
    /// The answer. A client that is gone does not read it.
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Gone => Problem::new(StatusCode::BAD_REQUEST, "gone", "the request was cut off"),
        }
    }
}

impl<T: Into<Problem>> From<T> for Failed {
    fn from(problem: T) -> Self {
        Self::Problem(problem.into())
    }
}

impl From<Cut> for Failed {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Gone => Self::Gone,
            Cut::Told(problem) => Self::Problem(problem),
        }
    }
}

/// Writes the body into the upload. After the last byte of the file, the file is verified and
/// published (P2, P3). Otherwise the upload is paused, which makes durable what came (P1); also
/// where the request fails.
pub(super) async fn append(
    context: &Context,
    caller: &Caller,
    id: DocumentId,
    body: &mut RequestBody,
    incoming: Incoming,
) -> Result<Taken, Failed> {
    let others = incoming.others;
    let (share, begun) = context.state.writers.open(&caller.account, id, others).await?;
    body.end_with(share.end());
    let mut upload = match begun {
        Begun::Uploading(upload) => *upload,
        Begun::Stored(_) | Begun::Unfinished(_) => {
            return Err(Problem::wrong_offset("the upload is complete already").into());
        }
    };
    let completes = incoming.completes;
    if let Err(failed) = fill(caller, &mut upload, body, incoming).await {
        upload.pause().await;
        return Err(failed);
    }
    let mut position = upload.position().await?;
    if completes == Completes::WithRequest
        && matches!(position.length, Length::Open { .. })
        && let Ok(filesize) = FileSize::try_from(position.received.get())
    {
        position = upload.declare(filesize).await?;
    }
    let is_whole =
        matches!(position.length, Length::Declared(size) if size.end() == position.received);
    if is_whole && completes != Completes::Later {
        return match upload.complete(None).await {
            Ok(completion) => Ok(Taken::Stored(completion)),
            // Bytes of another request that has not ended may still be taken back.
            Err(Rejection { kind: RejectionKind::Incomplete { .. }, .. }) => {
                paused(context, upload, position).await
            }
            Err(rejection) => {
                upload.pause().await;
                Err(rejection.into())
            }
        };
    }
    paused(context, upload, position).await
}

/// Makes durable what came (P1). Where the sync or its record fails, the bytes were not taken,
/// whatever came before (P5).
async fn paused(
    context: &Context,
    upload: UploadHandle,
    position: Position,
) -> Result<Taken, Failed> {
    let paused_at = upload.pause_durably().await?.unwrap_or(position);
    // Of bytes that are not durable, some may be those of another request that has not ended.
    if paused_at.durable.get() < position.received
        && let Err(unready) = context.shared.engine.ready().await
    {
        let code = "storage_read_only";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, unready.to_string()).into());
    }
    Ok(Taken::Paused(paused_at))
}

/// With a digest the bytes count only once all of them are there and compared.
async fn fill(
    caller: &Caller,
    upload: &mut UploadHandle,
    body: &mut RequestBody,
    Incoming { start, end, total, mut checker, .. }: Incoming,
) -> Result<(), Failed> {
    if let (Length::Open { .. }, Some(total)) = (upload.length(), total) {
        upload.declare(total).await?;
    }
    let is_checked = checker.is_some();
    if is_checked {
        upload.begin_request(start).await?;
    }
    let bound = end.unwrap_or(Offset::MAX);
    let (count, done) = body.store(upload, (start, bound), checker.as_mut(), caller).await;
    let is_short = end.is_some_and(|end| start.get() + count < end.get());
    let checked = match (done, checker) {
        (Err(cut), _) => Err(Failed::from(cut)),
        (Ok(()), _) if is_short => {
            let message = "the body is shorter than the request says";
            Err(Problem::bad_request("Content-Length", message).into())
        }
        (Ok(()), Some(checker)) => checker.check(body.trailers()).map_err(Failed::from),
        (Ok(()), None) => Ok(()),
    };
    if is_checked {
        let end = if checked.is_ok() { RequestEnd::Confirmed } else { RequestEnd::TakenBack };
        upload.end_request(end).await?;
    }
    checked
}

/// Refuses a range of which bytes are here already, before any of it is written.
pub(super) async fn refuse_overlap(
    caller: &Caller,
    id: DocumentId,
    status: &Status,
    (start, end): (Offset, u64),
) -> Result<(), Problem> {
    // What is there and not vouched for is sent again.
    let from = match Incoming::others(status, start) {
        Others::End => status.position.received,
        Others::GoOn => start,
    };
    let held = caller.account.received_ranges(id, from, 1).await?;
    if held.first().is_some_and(|held| held.start < end) {
        let message = "a part of the range was received already";
        return Err(Problem::wrong_offset(message).at(status.position.durable.get()));
    }
    Ok(())
}
