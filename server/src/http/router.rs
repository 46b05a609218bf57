//! Which handler answers which request.

use super::caller::Caller;
use super::client::Context;
use super::extract::{OfUpload, Person, Said};
use super::problem::Problem;
use super::request_body::RequestBody;
use super::{
    changes, content_range, create, cross_origin, download, files, links, rufh, tus,
    upload_headers, uploads,
};
use axum::body::Body;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use hyper::body::Incoming;
use std::convert::Infallible;
use tower::{Service, ServiceExt as _, service_fn};

/// The service of one connection.
pub(super) fn of(
    context: Context,
) -> impl Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> + Clone {
    let router = routes(context.clone()).with_state(context);
    service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move { router.oneshot(tus::overridden(request.map(Body::new))).await }
    })
}

/// Refuses what no handler may have to look at.
async fn refuse_malformed(request: Request, next: Next) -> Response {
    match well_formed(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn well_formed(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    // RFC 9112, section 3.2.
    if hosts > 1 || hosts == 0 && request.version() >= Version::HTTP_11 {
        return Err(Problem::bad_request("Host", "Host: exactly one was expected"));
    }
    let is_encoded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get(header::CONTENT_ENCODING).is_some_and(is_encoded) {
        let message = "Content-Encoding: the bytes are taken as they are, so none is possible";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message));
    }
    let is_other = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if headers.get_all(header::TRANSFER_ENCODING).iter().any(is_other) {
        let message = "Transfer-Encoding: this server knows chunked alone";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "bad_request", message));
    }
    Ok(())
}

fn routes(context: Context) -> Router<Context> {
    Router::new()
        .route("/uploads", post(begin).options(where_uploads_begin))
        .route("/uploads/{id}", get(uploads::show).head(probe).patch(append).delete(cancel))
        .route("/uploads/{id}", axum::routing::options(one_upload))
        .route("/uploads/{id}/complete", post(uploads::complete))
        .route("/uploads/{id}/token", post(uploads::renew_token))
        .route("/documents", get(files::list))
        .route("/documents/{id}", get(files::document))
        .route("/documents/{id}/content", get(download::of_document))
        .route("/d/{id}/{name}", get(download::of_document))
        .route("/download-url", post(links::make))
        .route("/files", post(make).options(where_uploads_begin))
        .route("/files/{id}", get(files::show).patch(files::relocate).delete(files::remove))
        .route("/files/{id}/content", get(download::of_file))
        .route("/files/{id}/versions", get(files::versions))
        .route("/files/{id}/restore", post(files::restore))
        .route("/content/{*path}", get(download::at_place))
        .route("/trash", get(files::trash))
        .route("/delta", get(changes::delta))
        .route("/delta/stream", get(changes::stream))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(tus::speak))
        .layer(middleware::from_fn(refuse_malformed))
        .layer(middleware::from_fn_with_state(context, cross_origin::speak))
}

async fn where_uploads_begin(State(context): State<Context>) -> Response {
    tus::options(&context, "POST, OPTIONS")
}

async fn one_upload(State(context): State<Context>) -> Response {
    tus::options(&context, "GET, HEAD, PATCH, DELETE, OPTIONS")
}

async fn no_such_page() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address")
}

async fn no_such_method(method: Method) -> Problem {
    let message = format!("{method} is not possible at this address");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// The way of speaking about uploads that a request has chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Rufh,
    Tus,
    Own,
}

impl Dialect {
    fn of(headers: &HeaderMap) -> Self {
        if rufh::is_spoken(headers) {
            Self::Rufh
        } else if tus::is_spoken(headers) {
            Self::Tus
        } else {
            Self::Own
        }
    }
}

/// `POST /uploads`: an upload begins.
async fn begin(State(context): State<Context>, request: Request) -> Response {
    let dialect = Dialect::of(request.headers());
    if dialect == Dialect::Own {
        return create_from_json(&context, request).await.into_response();
    }
    let (parts, body) = request.into_parts();
    let mut body = RequestBody::of(&context.shared, body);
    let begun = async {
        let caller = Caller::of(&context, &parts).await?;
        match dialect {
            Dialect::Rufh => rufh::create(&context, &caller, &parts, &mut body).await,
            Dialect::Tus | Dialect::Own => tus::create(&context, &caller, &parts, &mut body).await,
        }
    }
    .await;
    answer_or_drain(&context, begun, &parts, body).await
}

async fn create_from_json(context: &Context, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(context, &parts).await?;
    let headers = parts.headers.clone();
    let Said(new) = Said::from_request(Request::from_parts(parts, body), context).await?;
    create::create(context, &caller, &headers, new).await
}

/// `POST /files`: an upload of tus or of the IETF's dialect, or a new folder.
async fn make(State(context): State<Context>, request: Request) -> Response {
    if Dialect::of(request.headers()) != Dialect::Own {
        return begin(State(context), request).await;
    }
    let made = async {
        let (mut parts, body) = request.into_parts();
        let person = Person::from_request_parts(&mut parts, &context).await?;
        let said = Said::from_request(Request::from_parts(parts, body), &context).await?;
        files::make(person, said).await
    };
    made.await.into_response()
}

/// `HEAD /uploads/{id}`: where to go on.
async fn probe(
    State(context): State<Context>,
    OfUpload { caller, id }: OfUpload,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if Dialect::of(&headers) == Dialect::Tus {
        return tus::probe(&context, &caller, id).await;
    }
    if headers.contains_key("upload-offset") || headers.contains_key("upload-complete") {
        let message = "a question about an upload does not say how far it is";
        return Err(Problem::bad_request("Upload-Offset", message));
    }
    uploads::probe(&context, &caller, id).await
}

/// `DELETE /uploads/{id}`: the client gives the upload up.
async fn cancel(
    OfUpload { caller, id }: OfUpload,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match Dialect::of(&headers) {
        Dialect::Tus => tus::delete(&caller, id).await,
        Dialect::Rufh | Dialect::Own => uploads::cancel(&caller, id).await,
    }
}

/// `PATCH /uploads/{id}`: bytes.
async fn append(State(context): State<Context>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut body = RequestBody::of(&context.shared, body);
    let appended = async {
        let OfUpload { caller, id } = OfUpload::from_request_parts(&mut parts, &context).await?;
        match Dialect::of(&parts.headers) {
            Dialect::Rufh => rufh::patch(&context, &caller, &parts, id, &mut body).await,
            Dialect::Tus => tus::patch(&context, &caller, &parts, id, &mut body).await,
            Dialect::Own => content_range::patch(&context, &caller, &parts, id, &mut body).await,
        }
    }
    .await;
    answer_or_drain(&context, appended, &parts, body).await
}

/// The answer to a request with a large body. Where it is refused, the rest of the body is read, so
/// that the client hears why.
async fn answer_or_drain(
    context: &Context,
    answer: Result<Response, Problem>,
    parts: &Parts,
    body: RequestBody,
) -> Response {
    let is_rufh = Dialect::of(&parts.headers) == Dialect::Rufh;
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) => {
            body.drain(parts.headers.contains_key(header::EXPECT)).await;
            let mut response = problem.into_response();
            if is_rufh {
                let not_complete = HeaderValue::from_static("?0");
                response.headers_mut().insert("upload-complete", not_complete);
            }
            response
        }
    };
    if is_rufh {
        upload_headers::limits(context, response.headers_mut());
    }
    response
}
