//! Which handler answers which request.

use super::caller::Caller;
use super::client::Context;
use super::create::{self, JSON_BYTES_MAX, New};
use super::problem::Problem;
use super::request_body::RequestBody;
use super::uploads::{self, Completing};
use super::{changes, content_range, download, files, rufh, tus, upload_headers};
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::timeout;
use tower::{Service, ServiceExt as _, service_fn};
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, NodeId};

/// How long the JSON body of a request may take.
const JSON_MAX: Duration = Duration::from_secs(10);

/// The service of one connection.
pub(super) fn of(
    context: Context,
) -> impl Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> + Clone {
    let router = routes().with_state(context);
    service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            match well_formed(&request) {
                Ok(()) => router.oneshot(tus::overridden(request.map(Body::new))).await,
                Err(problem) => Ok(problem.into_response()),
            }
        }
    })
}

/// Refuses what no handler may have to look at.
fn well_formed(request: &Request<Incoming>) -> Result<(), Problem> {
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

fn routes() -> Router<Context> {
    Router::new()
        .route("/uploads", post(create).options(options))
        .route("/files", post(make).options(options))
        .route("/files/{id}", get(file).patch(relocate).delete(remove))
        .route("/files/{id}/content", get(file_content))
        .route("/files/{id}/versions", get(versions))
        .route("/files/{id}/restore", post(restore))
        .route("/content/{*path}", get(content_at))
        .route("/documents", get(list))
        .route("/documents/{id}", get(document))
        .route("/trash", get(trash))
        .route("/delta", get(delta))
        .route("/delta/stream", get(change_stream))
        .route("/uploads/{id}", get(show).head(probe).patch(patch).delete(cancel).options(options))
        .route("/uploads/{id}/complete", post(complete))
        .route("/uploads/{id}/token", post(renew_token))
        .route("/documents/{id}/content", get(content))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(tus::speak))
}

async fn options(State(context): State<Context>) -> Response {
    tus::options(&context)
}

async fn no_such_page() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address")
}

async fn no_such_method(method: Method) -> Problem {
    let message = format!("{method} is not possible at this address");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// The number of a document in an address. Where it is none, there is no such document.
fn number(text: &str) -> Result<DocumentId, Problem> {
    text.parse()
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such document"))
}

async fn create(State(context): State<Context>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let is_rufh = rufh::is_spoken(&parts.headers);
    if is_rufh || tus::is_spoken(&parts.headers) {
        let mut body = RequestBody::of(&context.shared, body);
        let created = async {
            let caller = Caller::of(&context, &parts).await?;
            match is_rufh {
                true => rufh::create(&context, &caller, &parts, &mut body).await,
                false => tus::create(&context, &caller, &parts, &mut body).await,
            }
        }
        .await;
        return answer_or_drain(&context, created, &parts, body).await;
    }
    answer(async {
        let caller = Caller::of(&context, &parts).await?;
        let new: New = json(&parts, body).await?;
        create::create(&context, &caller, &parts, new).await
    })
    .await
}

async fn show(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, id) = of_upload(&context, request, &id).await?;
        uploads::show(&context, &caller, id).await
    })
    .await
}

async fn probe(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let is_tus = tus::is_spoken(request.headers());
    let says_offset = ["upload-offset", "upload-complete"]
        .iter()
        .any(|name| !is_tus && request.headers().contains_key(*name));
    answer(async {
        let (caller, id) = of_upload(&context, request, &id).await?;
        if says_offset {
            let message = "a question about an upload does not say how far it is";
            return Err(Problem::bad_request("Upload-Offset", message));
        }
        match is_tus {
            true => tus::probe(&context, &caller, id).await,
            false => uploads::probe(&context, &caller, id).await,
        }
    })
    .await
}

async fn cancel(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let is_tus = tus::is_spoken(request.headers());
    answer(async {
        let (caller, id) = of_upload(&context, request, &id).await?;
        if is_tus { tus::delete(&caller, id).await } else { uploads::cancel(&caller, id).await }
    })
    .await
}

async fn complete(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let caller = Caller::of(&context, &parts).await?;
        let id = number(&id)?;
        caller.may_write(id)?;
        let said: Completing = json_or_nothing(&parts, body).await?;
        uploads::complete(&context, &caller, id, said).await
    })
    .await
}

async fn renew_token(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    answer(async {
        let (caller, id) = of_upload(&context, request, &id).await?;
        uploads::renew_token(&context, &caller, id).await
    })
    .await
}

async fn patch(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = RequestBody::of(&context.shared, body);
    let patched = async {
        let caller = Caller::of(&context, &parts).await?;
        let id = number(&id)?;
        caller.may_write(id)?;
        if rufh::is_spoken(&parts.headers) {
            rufh::patch(&context, &caller, &parts, id, &mut body).await
        } else if tus::is_spoken(&parts.headers) {
            tus::patch(&context, &caller, &parts, id, &mut body).await
        } else {
            content_range::patch(&context, &caller, &parts, id, &mut body).await
        }
    }
    .await;
    answer_or_drain(&context, patched, &parts, body).await
}

/// The answer to a request with a large body. Where it is refused, the rest of the body is read, so
/// that the client hears why.
async fn answer_or_drain(
    context: &Context,
    answer: Result<Response, Problem>,
    parts: &Parts,
    body: RequestBody,
) -> Response {
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) => {
            body.drain(parts.headers.contains_key(header::EXPECT)).await;
            let mut response = problem.into_response();
            if rufh::is_spoken(&parts.headers) {
                let not_complete = HeaderValue::from_static("?0");
                response.headers_mut().insert("upload-complete", not_complete);
            }
            response
        }
    };
    if rufh::is_spoken(&parts.headers) {
        upload_headers::limits(context, response.headers_mut());
    }
    response
}

/// `POST /files`: an upload of tus, or a new folder.
async fn make(State(context): State<Context>, request: Request) -> Response {
    if tus::is_spoken(request.headers()) || rufh::is_spoken(request.headers()) {
        return create(State(context), request).await;
    }
    let (parts, body) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::make(&caller, json(&parts, body).await?).await
    })
    .await
}

async fn file(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::show(&caller, node(&id)?).await
    })
    .await
}

async fn relocate(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        let new = json(&parts, body).await?;
        files::relocate(&caller, &parts.headers, node(&id)?, new).await
    })
    .await
}

async fn remove(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::remove(&caller, &parts.headers, node(&id)?, query(&parts)?).await
    })
    .await
}

async fn versions(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::versions(&caller, node(&id)?, query(&parts)?).await
    })
    .await
}

async fn restore(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        let said = json_or_nothing(&parts, body).await?;
        files::restore(&caller, node(&id)?, said).await
    })
    .await
}

async fn list(State(context): State<Context>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::list(&caller, query(&parts)?).await
    })
    .await
}

async fn trash(State(context): State<Context>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::trash(&caller, query(&parts)?).await
    })
    .await
}

async fn document(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        files::document(&caller, number(&id)?).await
    })
    .await
}

async fn delta(State(context): State<Context>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        changes::delta(&caller, query(&parts)?).await
    })
    .await
}

async fn change_stream(State(context): State<Context>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async { Ok(changes::stream(person(&context, &parts).await?)) }).await
}

async fn file_content(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        let version = files::current(&caller, NodeRef::Id(node(&id)?)).await?;
        download::get(&context, caller, &parts, version).await
    })
    .await
}

async fn content_at(
    State(context): State<Context>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        let version = files::current(&caller, files::at(&path)?).await?;
        download::get(&context, caller, &parts, version).await
    })
    .await
}

/// The caller of a request for which a person's token is needed.
async fn person(context: &Context, parts: &Parts) -> Result<Caller, Problem> {
    let caller = Caller::of(context, parts).await?;
    caller.is_person()?;
    Ok(caller)
}

/// The number of a file, folder or link in an address.
fn node(text: &str) -> Result<NodeId, Problem> {
    text.parse().map_err(|_| {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such file or folder")
    })
}

/// The parameters of a URL.
fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T, Problem> {
    let read = Query::try_from_uri(&parts.uri);
    read.map(|Query(query)| query)
        .map_err(|error| Problem::bad_request("query", format!("the parameters: {error}")))
}

async fn content(
    State(context): State<Context>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let caller = person(&context, &parts).await?;
        let id = number(&id)?;
        download::get(&context, caller, &parts, id).await
    })
    .await
}

/// The caller of a request without a body, and the upload that it is about.
async fn of_upload(
    context: &Context,
    request: Request,
    id: &str,
) -> Result<(Caller, DocumentId), Problem> {
    let (parts, _) = request.into_parts();
    let caller = Caller::of(context, &parts).await?;
    let id = number(id)?;
    caller.may_write(id)?;
    Ok((caller, id))
}

async fn answer(answering: impl Future<Output = Result<Response, Problem>>) -> Response {
    answering.await.unwrap_or_else(IntoResponse::into_response)
}

/// The JSON body of a request.
async fn json<T: DeserializeOwned>(parts: &Parts, body: Body) -> Result<T, Problem> {
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().ok().and_then(|text| text.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    };
    if !parts.headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        let message = "the body has to be JSON, with the header Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message));
    }
    parse(&read(body).await?)
}

/// The same where the body may be left out.
async fn json_or_nothing<T: DeserializeOwned + Default>(
    parts: &Parts,
    body: Body,
) -> Result<T, Problem> {
    if parts.headers.contains_key(header::CONTENT_TYPE) {
        return json(parts, body).await;
    }
    let bytes = read(body).await?;
    if bytes.is_empty() { Ok(T::default()) } else { parse(&bytes) }
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
