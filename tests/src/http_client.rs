//! An HTTP client that sends whatever a test needs: each request on a connection of its own, with
//! the headers that the test gives.

mod paced_body;

use crate::PATIENCE;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use paced_body::PacedBody;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use towline_types::DocumentId;

/// See the module's description.
#[derive(Debug, Clone)]
pub struct HttpClient {
    address: SocketAddr,
    /// What is sent as `Authorization: Bearer`; empty for nothing.
    token: String,
}

/// An answer.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The number.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An upload that was begun.
#[derive(Debug, Clone)]
pub struct HttpUpload {
    /// Its number.
    pub id: DocumentId,
    /// Its path, without the token.
    pub path: String,
    /// The token for it alone.
    pub token: String,
    /// Its length in bytes.
    pub size: usize,
}

impl HttpClient {
    /// A client with that token.
    #[must_use]
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned() }
    }

    /// The same client with another token; an empty one is not sent.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { address: self.address, token: token.to_owned() }
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> HttpAnswer {
        let sending = self.try_send(method, path, headers, body.into());
        let answer = timeout(PATIENCE, sending).await.expect("an answer in time");
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same; an error where the server does not listen, or the connection ends before the answer
    /// does.
    ///
    /// # Errors
    /// As the system or hyper tells it.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<HttpAnswer> {
        self.exchange(method, path, headers, Full::new(body)).await
    }

    /// The same with a body that comes in pieces, each of them after a rest.
    ///
    /// # Errors
    /// As the system or hyper tells it.
    pub async fn try_send_slowly(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        pieces: Vec<(Duration, Bytes)>,
    ) -> anyhow::Result<HttpAnswer> {
        self.exchange(method, path, headers, PacedBody::new(pieces)).await
    }

    async fn exchange<B>(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
    ) -> anyhow::Result<HttpAnswer>
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with the request, also where that is dropped.
        let _driving = AbortOnDropHandle::new(tokio::spawn(connection));
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", self.address.to_string());
        }
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> HttpAnswer {
        self.send("GET", path, &[], "").await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> HttpAnswer {
        let json = [("content-type", "application/json")];
        self.send("POST", path, &json, body.to_string()).await
    }

    /// Begins an upload of a file with that name and length.
    pub async fn begin(&self, filename: &str, size: usize) -> HttpUpload {
        self.begin_with(serde_json::json!({ "filename": filename, "size": size })).await
    }

    /// Begins an upload of which the client says this.
    ///
    /// # Panics
    /// Where it does not begin.
    pub async fn begin_with(&self, said: Value) -> HttpUpload {
        let answer = self.post("/uploads", &said).await.is(201);
        let id: u64 = answer.json()["uploadId"].as_u64().expect("a number");
        HttpUpload {
            id: DocumentId::try_from(id).expect("a number of a document"),
            path: format!("/uploads/{id}"),
            token: answer.json()["token"].as_str().expect("a token").to_owned(),
            size: usize::try_from(said["size"].as_u64().unwrap_or(0)).expect("a small file"),
        }
    }

    /// Sends a range of the upload: these bytes, which begin at `start`.
    pub async fn patch(&self, upload: &HttpUpload, start: usize, bytes: &[u8]) -> HttpAnswer {
        self.patch_with(upload, start, bytes, &[]).await
    }

    /// The same with more headers.
    pub async fn patch_with(
        &self,
        upload: &HttpUpload,
        start: usize,
        bytes: &[u8],
        headers: &[(&str, &str)],
    ) -> HttpAnswer {
        let range = upload.content_range(start, bytes.len());
        let headers = [&[("content-range", range.as_str())], headers].concat();
        self.send("PATCH", &upload.path, &headers, bytes.to_vec()).await
    }

    /// Sends the head of a request that promises `promised` bytes, and only these bytes of them,
    /// and closes the connection.
    ///
    /// # Panics
    /// Where the server does not take the bytes.
    pub async fn patch_cut(
        &self,
        upload: &HttpUpload,
        start: usize,
        promised: usize,
        bytes: &[u8],
        headers: &str,
    ) {
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Range: {}\r\n\
             Content-Length: {promised}\r\n{headers}\r\n",
            upload.path,
            self.token,
            upload.content_range(start, promised)
        );
        cut(self.address, &[head.as_bytes(), bytes].concat()).await;
    }
}

impl HttpUpload {
    /// The header `Content-Range` for so many bytes from `start` on.
    #[must_use]
    pub fn content_range(&self, start: usize, length: usize) -> String {
        format!("bytes {start}-{}/{}", start + length - 1, self.size)
    }

    /// The address of the upload with its token in it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}?token={}", self.path, self.token)
    }
}

impl HttpAnswer {
    /// The same answer, which has to have that number.
    ///
    /// # Panics
    /// Where it has another one.
    #[allow(clippy::must_use_candidate, clippy::return_self_not_must_use, reason = "it checks")]
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The path of the address in `Location`, which may be a whole address.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn location(&self) -> String {
        let location = self.header("location").expect("a Location");
        match location.split_once("://") {
            Some((_, rest)) => rest[rest.find('/').expect("a path")..].to_owned(),
            None => location.to_owned(),
        }
    }

    /// A header of it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The header `Upload-Offset`.
    #[must_use]
    pub fn upload_offset(&self) -> Option<u64> {
        self.header("upload-offset").and_then(|text| text.parse().ok())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The word of a problem.
    ///
    /// # Panics
    /// Where the answer is no problem document.
    #[must_use]
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{self:?}");
        json["code"].as_str().expect("a code").to_owned()
    }
}

/// Sends these bytes, and returns all that comes until the server closes the connection.
///
/// # Panics
/// Where the server does not close it.
pub async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(request).await.expect("the request is taken");
    let mut answer = Vec::new();
    let reading = timeout(PATIENCE, stream.read_to_end(&mut answer));
    let _ = reading.await.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends these bytes and ends the connection; returns when the server has ended it as well.
///
/// # Panics
/// Where the server does not.
pub async fn cut(address: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(request).await.expect("the request is taken");
    stream.shutdown().await.expect("the connection ends");
    let mut rest = Vec::new();
    // The server reads all that came, and closes then.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end in time");
}
