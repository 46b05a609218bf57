//! `GET` of the bytes of a document: whole, a range, or several.

use super::byte_ranges::{self, Wanted};
use super::caller::Caller;
use super::client::Context;
use super::conditions::{self, Outcome};
use super::disposition::{self, Use};
use super::entity_tag;
use super::extract::{At, NodeNumber, Person, Readable};
use super::files;
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;
use towline_engine::{Content, Phase, ReadRequest, ReadTarget, Status, Verifier};
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, FileHash, Offset};

/// What is known of a document before its bytes are read.
pub(super) struct Document {
    pub(super) id: DocumentId,
    pub(super) name: String,
    length: u64,
    tag: HeaderValue,
    modified: SystemTime,
}

/// `GET /documents/{id}/content`, and `GET /d/{id}/{name}`, which is the address of a link.
pub(super) async fn of_document(
    State(context): State<Context>,
    Readable { caller, id }: Readable,
    parts: Parts,
) -> Result<Response, Problem> {
    if caller.has_link() {
        refuse_removed(&caller, id).await?;
    }
    get(&context, caller, &parts, id).await
}

/// Refuses a link to a file that lies in the trash: its owner has taken it back.
async fn refuse_removed(caller: &Caller, id: DocumentId) -> Result<(), Problem> {
    if let Some(node) = caller.account.status(id).await?.node_id
        && caller.account.stat(NodeRef::Id(node)).await?.path.is_none()
    {
        let message = "the file was removed";
        return Err(Problem::new(StatusCode::GONE, "removed", message));
    }
    Ok(())
}

/// `GET /files/{id}/content`: the current version.
pub(super) async fn of_file(
    State(context): State<Context>,
    Person(caller): Person,
    NodeNumber(id): NodeNumber,
    parts: Parts,
) -> Result<Response, Problem> {
    let version = files::current(&caller, NodeRef::Id(id)).await?;
    get(&context, caller, &parts, version).await
}

/// `GET /content/{path}`: the same by its place.
pub(super) async fn at_place(
    State(context): State<Context>,
    Person(caller): Person,
    At(node): At,
    parts: Parts,
) -> Result<Response, Problem> {
    let version = files::current(&caller, node).await?;
    get(&context, caller, &parts, version).await
}

/// Sends the bytes of a document.
async fn get(
    context: &Context,
    caller: Caller,
    parts: &Parts,
    id: DocumentId,
) -> Result<Response, Problem> {
    let document = look_up(&caller, id).await?;
    let headers = &parts.headers;
    match conditions::check(headers, &document.tag, document.modified) {
        Outcome::Goes => {}
        Outcome::Failed => {
            let message = "the document is not the one that the request means";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "conflict", message));
        }
        Outcome::NotModified => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            describe(response.headers_mut(), &document);
            return Ok(response);
        }
    }
    let counts = conditions::range_counts(headers, &document.tag, document.modified);
    // For HEAD the header means nothing (RFC 9110, section 14.2).
    let counts = counts && parts.method == Method::GET;
    let range = headers.get(header::RANGE).filter(|_| counts);
    let (status, segments) = match byte_ranges::wanted(range, document.length) {
        Wanted::Whole => (StatusCode::OK, Segments::plain(std::iter::once(0..document.length))),
        Wanted::Unsatisfiable => {
            let message = format!("the document has {} bytes", document.length);
            return Err(Problem::out_of_range(message).of_content(document.length));
        }
        Wanted::Ranges(ranges) => (StatusCode::PARTIAL_CONTENT, Segments::of(ranges, &document)),
    };
    let mut response = status.into_response();
    let answer = response.headers_mut();
    describe(answer, &document);
    present(answer, &document, parts);
    if let Some(range) = &segments.content_range {
        answer.insert(header::CONTENT_RANGE, range.clone());
    }
    if let Some(boundary) = &segments.media_type {
        answer.insert(header::CONTENT_TYPE, boundary.clone());
    }
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(segments.length()));
    if parts.method != Method::HEAD {
        let stopping = context.shared.stopping.clone();
        *response.body_mut() = send(caller, stopping, document.id, segments).await?;
    }
    Ok(response)
}

pub(super) async fn look_up(caller: &Caller, id: DocumentId) -> Result<Document, Problem> {
    let status = caller.account.status(id).await?;
    let Status { phase: Phase::Completed, hash: Some(hash), .. } = &status else {
        let message = "the document is not complete: its upload is unfinished or was given up";
        return Err(Problem::new(StatusCode::CONFLICT, "bad_state", message));
    };
    if let Some(rejection) = status.held() {
        return Err(rejection.into());
    }
    Ok(Document::of(id, &status, *hash))
}

impl Document {
    fn of(id: DocumentId, status: &Status, hash: FileHash) -> Self {
        let created = status.created_at.unwrap_or(status.started_at);
        Self {
            id,
            name: status.path.filename().to_string(),
            length: status.position.length.bound().get(),
            tag: entity_tag::of_document(hash),
            // The header has whole seconds.
            modified: UNIX_EPOCH + Duration::from_secs(created.as_secs()),
        }
    }
}

/// The headers of every answer about a document, of one without its bytes as well.
fn describe(headers: &mut HeaderMap, document: &Document) {
    headers.insert(header::ETAG, document.tag.clone());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(document.modified)) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    // The bytes belong to one user, and are asked for with a token.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

/// The headers that say what a browser may do with the bytes, which other people have uploaded:
/// nothing but save them, or show them where they are a picture, a film or a PDF and the request
/// asks for it.
fn present(headers: &mut HeaderMap, document: &Document, parts: &Parts) {
    let media_type = disposition::media_type(&document.name);
    let is_inline =
        parts.uri.query().is_some_and(|query| query.split('&').any(|one| one == "inline=1"));
    let what = if is_inline && media_type.is_some() { Use::Show } else { Use::Save };
    let media_type = HeaderValue::from_static(media_type.unwrap_or("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONTENT_DISPOSITION, disposition::of(what, &document.name));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    // The address may have a token in it.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

/// A part of the body of an answer.
enum Segment {
    /// The head of a part of several, or the end of the last one.
    Text(Bytes),
    /// Bytes of the document.
    Bytes(Range<u64>),
}

/// The body of an answer.
struct Segments {
    list: VecDeque<Segment>,
    content_range: Option<HeaderValue>,
    /// The type of an answer of several parts.
    media_type: Option<HeaderValue>,
}

impl Segments {
    fn plain(ranges: impl Iterator<Item = Range<u64>>) -> Self {
        let list = ranges.filter(|range| range.start < range.end).map(Segment::Bytes).collect();
        Self { list, content_range: None, media_type: None }
    }

    fn of(ranges: Vec<Range<u64>>, document: &Document) -> Self {
        let content_range = |range: &Range<u64>| {
            format!("bytes {}-{}/{}", range.start, range.end - 1, document.length)
        };
        if let [range] = ranges.as_slice() {
            let content_range = HeaderValue::try_from(content_range(range)).ok();
            return Self { content_range, ..Self::plain(std::iter::once(range.clone())) };
        }
        // The bytes of a document are not known here, so the boundary is one that nobody guesses.
        let boundary = format!("{:032x}", fastrand::u128(..));
        let media_type =
            disposition::media_type(&document.name).unwrap_or("application/octet-stream");
        let mut list = VecDeque::new();
        for (index, range) in ranges.into_iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\r\n" };
            let head = format!(
                "{line_end}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {}\r\n\r\n",
                content_range(&range)
            );
            list.push_back(Segment::Text(head.into()));
            list.push_back(Segment::Bytes(range));
        }
        list.push_back(Segment::Text(format!("\r\n--{boundary}--\r\n").into()));
        let media_type =
            HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")).ok();
        Self { list, content_range: None, media_type }
    }

    fn length(&self) -> u64 {
        let length = |segment: &Segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::Bytes(range) => range.end - range.start,
        };
        self.list.iter().map(length).sum()
    }
}

/// An answer on its way.
struct Sending {
    caller: Caller,
    stopping: CancellationToken,
    id: DocumentId,
    list: VecDeque<Segment>,
    open: Option<Content>,
}

/// The body. The first range is open when this returns: so a document that cannot be read has an
/// answer that says so.
async fn send(
    caller: Caller,
    stopping: CancellationToken,
    id: DocumentId,
    segments: Segments,
) -> Result<Body, Problem> {
    let mut sending = Sending { caller, stopping, id, list: segments.list, open: None };
    if let Some(Segment::Bytes(range)) = sending.list.front().map(Segment::clone_of) {
        sending.open = Some(sending.open(range).await?);
        sending.list.pop_front();
    }
    let body = stream::unfold(Some(sending), |sending| async {
        let mut sending = sending?;
        match sending.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(sending))),
            Ok(None) => None,
            Err(problem) => {
                tracing::debug!(code = problem.code(), "a download was cut off");
                // The connection ends before the length that was said: so the client knows.
                Some((Err(io::Error::other("the download was cut off")), None))
            }
        }
    });
    Ok(Body::from_stream(body))
}

impl Segment {
    fn clone_of(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.clone()),
            Self::Bytes(range) => Self::Bytes(range.clone()),
        }
    }
}

impl Sending {
    async fn open(&self, range: Range<u64>) -> Result<Content, Problem> {
        let too_far = |_| Problem::out_of_range("the range lies too far behind");
        let request = ReadRequest {
            target: ReadTarget::Version(self.id),
            offset: Offset::try_from(range.start).map_err(too_far)?,
            length_bytes: Some(range.end - range.start),
            verifier: Verifier::Engine,
        };
        Ok(self.caller.account.read(request).await?)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some(content) = &mut self.open {
                let piece = tokio::select! {
                    biased;
                    problem = self.caller.ends() => return Err(problem),
                    () = self.stopping.cancelled() => return Err(stopping()),
                    piece = content.next() => piece?,
                };
                match piece {
                    // The buffer of the pool is free again when hyper has sent the bytes.
                    Some(piece) => return Ok(Some(Bytes::from_owner(piece))),
                    None => self.open = None,
                }
            }
            match self.list.pop_front() {
                Some(Segment::Text(text)) => return Ok(Some(text)),
                Some(Segment::Bytes(range)) => self.open = Some(self.open(range).await?),
                None => return Ok(None),
            }
        }
    }
}

fn stopping() -> Problem {
    let message = "the server is stopping; go on later from where it ended";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message)
}
