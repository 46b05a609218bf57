//! Pages of other origins in a browser (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>):
//! which of them may send requests, with which methods and headers, and which headers of the answer
//! they may read.
//!
//! No cookie means anything to this door, so none is asked for: a page has a token, or nothing.

use super::client::Context;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The methods that a page may use.
const METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

/// The headers that a page may send. With `Authorization` among them `*` would not do.
const SENT: &str = "Authorization, Content-Type, Content-Range, Content-Digest, Digest, \
                    Repr-Digest, Idempotency-Key, If-Match, If-None-Match, If-Modified-Since, \
                    If-Unmodified-Since, If-Range, Range, Last-Event-ID, Prefer, Tus-Resumable, \
                    Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, \
                    Upload-Checksum, Upload-Concat, Upload-Complete, \
                    Upload-Draft-Interop-Version, X-HTTP-Method-Override, X-Requested-With, \
                    X-Request-ID";

/// The headers of an answer that a page may read.
const EXPOSED: &str = "Accept-Ranges, Content-Disposition, Content-Range, Date, ETag, \
                       Last-Modified, Location, Range, Retry-After, Towline-Document, \
                       Towline-Durable, Towline-Received, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, \
                       Tus-Checksum-Algorithm, Upload-Offset, Upload-Length, Upload-Metadata, \
                       Upload-Defer-Length, Upload-Expires, Upload-Concat, Upload-Complete, \
                       Upload-Limit";

/// How many seconds a browser may keep the answer to its question.
const KEPT_SECONDS: &str = "7200";

/// Answers the question of a browser whether a page may send a request, and says in each answer
/// whether the page may read it.
pub(super) async fn speak(
    State(context): State<Context>,
    request: Request,
    next: Next,
) -> Response {
    let origins = &context.shared.http.origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| origins.allows(origin.as_bytes()));
    let is_question = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let Some(origin) = allowed else {
        let mut response = next.run(request).await;
        vary(response.headers_mut());
        return response;
    };
    let mut response = if is_question {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
        say(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        say(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        say(header::ACCESS_CONTROL_MAX_AGE, KEPT_SECONDS);
        response
    } else {
        let mut response = next.run(request).await;
        let exposed = HeaderValue::from_static(EXPOSED);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        // The bytes of a document are for pages of the same origin, and of those that are allowed.
        let policy = HeaderValue::from_static("cross-origin");
        if response.headers().contains_key(RESOURCE_POLICY) {
            response.headers_mut().insert(RESOURCE_POLICY, policy);
        }
        response
    };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    vary(response.headers_mut());
    response
}

const RESOURCE_POLICY: &str = "cross-origin-resource-policy";

/// A cache keeps the answers for pages of different origins apart.
fn vary(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}
