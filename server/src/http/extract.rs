//! What a handler takes from a request: who sends it, what its address names, and what it says.
//! Handlers name these as arguments; axum fills them in from left to right, so the caller, who
//! stands first, is checked before anything else is looked at.

use super::caller::Caller;
use super::client::Context;
use super::problem::Problem;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, NodeId, NodePath};

/// The most bytes of a JSON body.
const JSON_BYTES_MAX: usize = 64 << 10;

/// How long the JSON body of a request may take.
const JSON_MAX: Duration = Duration::from_secs(10);

/// The caller of a request for which a person's token is needed.
pub(super) struct Person(pub(super) Caller);

impl FromRequestParts<Context> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let caller = Caller::of(context, parts).await?;
        caller.is_person()?;
        Ok(Self(caller))
    }
}

/// The upload in an address, and a caller whose token is good for it.
pub(super) struct OfUpload {
    pub(super) caller: Caller,
    pub(super) id: DocumentId,
}

impl FromRequestParts<Context> for OfUpload {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let caller = Caller::of(context, parts).await?;
        let DocumentNumber(id) = DocumentNumber::from_request_parts(parts, context).await?;
        caller.may_write(id)?;
        Ok(Self { caller, id })
    }
}

/// The document in an address, and a caller whose token is good for its bytes.
pub(super) struct Readable {
    pub(super) caller: Caller,
    pub(super) id: DocumentId,
}

impl FromRequestParts<Context> for Readable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let caller = Caller::of(context, parts).await?;
        let DocumentNumber(id) = DocumentNumber::from_request_parts(parts, context).await?;
        caller.may_read(id)?;
        Ok(Self { caller, id })
    }
}

/// The number of a document in an address.
pub(super) struct DocumentNumber(pub(super) DocumentId);

impl FromRequestParts<Context> for DocumentNumber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        // Where it is no number, there is no such document.
        let number = in_address(parts, context).await.and_then(|text| text.parse().ok());
        number.map(Self).ok_or_else(|| not_found("there is no such document"))
    }
}

/// The number of a file, folder or link in an address.
pub(super) struct NodeNumber(pub(super) NodeId);

impl FromRequestParts<Context> for NodeNumber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let number = in_address(parts, context).await.and_then(|text| text.parse().ok());
        number.map(Self).ok_or_else(|| not_found("there is no such file or folder"))
    }
}

/// The place in an address, with `/` between names.
pub(super) struct At(pub(super) NodeRef);

impl FromRequestParts<Context> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let path = in_address(parts, context).await;
        let path = path.ok_or_else(|| not_found("there is no such file or folder"))?;
        Ok(Self(NodeRef::Path(NodePath::typed(&path)?)))
    }
}

/// The first part of an address that its route leaves open.
async fn in_address(parts: &mut Parts, context: &Context) -> Option<String> {
    let taken = RawPathParams::from_request_parts(parts, context).await.ok()?;
    taken.iter().next().map(|(_, text)| text.to_owned())
}

fn not_found(message: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", message)
}

/// The parameters of a URL.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Context> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, Problem> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(query)| Self(query))
            .map_err(|error| Problem::bad_request("query", format!("the parameters: {error}")))
    }
}

/// The JSON body of a request.
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Context> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Context) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        json(&parts.headers, body).await.map(Self)
    }
}

/// The same where the body may be left out.
pub(super) struct SaidOrNothing<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Context> for SaidOrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Context) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if parts.headers.contains_key(header::CONTENT_TYPE) {
            return json(&parts.headers, body).await.map(Self);
        }
        let bytes = read(body).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().ok().and_then(|text| text.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    };
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        let message = "the body has to be JSON, with the header Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message));
    }
    parse(&read(body).await?)
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let reading = timeout(JSON_MAX, Limited::new(body, JSON_BYTES_MAX).collect()).await;
    let too_slow = "the body of the request did not come in time";
    let read = reading
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", too_slow))?
        .map_err(|_| {
            let message = format!("the body is cut off, or longer than {JSON_BYTES_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", message)
        })?;
    Ok(read.to_bytes().to_vec())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_json", format!("the body: {error}"))
    })
}
