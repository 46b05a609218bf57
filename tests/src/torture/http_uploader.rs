//! A client of the HTTP door, in each of its dialects: it begins uploads, goes on with those of
//! either door, and reads documents back. Each answer is recorded by a task of the round's
//! connections, so that a promise counts once it is sent, also where its caller is gone.

use super::crash_client::{ANSWER, Connections};
use super::http_record::{Known, Promise};
use super::ledger::{Entry, Ledger};
use super::uploader::any_file;
use crate::http_client::{HttpAnswer, HttpClient};
use crate::site::TestUser;
use crate::test_file::TestFile;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use towline_types::DocumentId;

/// The work of one client.
pub(super) struct HttpUploader {
    pub(super) http: HttpClient,
    pub(super) connections: Connections,
    pub(super) user: TestUser,
    pub(super) ledger: Ledger,
    pub(super) chance: fastrand::Rng,
    /// Whether some requests have bytes that are not those of their digest.
    pub(super) damages: bool,
}

/// What ends the work on an upload.
enum End {
    /// The connection has ended.
    Gone,
    /// The server has refused, with that word.
    Refused(String),
}

/// The way of speaking about uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    ContentRange,
    Tus,
    Ietf,
}

/// One upload that is being sent.
struct Cargo {
    id: DocumentId,
    path: String,
    test_file: Arc<TestFile>,
    dialect: Dialect,
    /// With which probability a body rests between its pieces, in 1/256.
    rests: u8,
}

/// A request.
struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<(Duration, Bytes)>,
}

/// What the bytes of a request are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Right,
    /// Those of the file, with the digest of them.
    Digested,
    /// Not those of the file; the digest is the one of the file's bytes.
    Damaged,
}

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

/// How often a client is told of another offset than its own before it gives the upload up for now.
const ATTEMPTS: u32 = 8;

impl HttpUploader {
    /// Uploads and reads until the server is gone.
    pub(super) async fn work(&mut self) {
        while !matches!(self.one(None).await, Err(End::Gone)) {
            if self.chance.u8(..) < 60 {
                tokio::time::sleep(Duration::from_millis(self.chance.u64(0..10))).await;
            }
        }
    }

    /// Completes one unfinished upload.
    pub(super) async fn finish(&mut self, id: DocumentId) -> Result<(), String> {
        match self.one(Some(id)).await {
            Ok(()) => Ok(()),
            Err(End::Gone) => Err("the connection ended".to_owned()),
            Err(End::Refused(code)) => Err(format!("refused over HTTP with {code}")),
        }
    }

    async fn one(&mut self, wanted: Option<DocumentId>) -> Result<(), End> {
        let is_last = wanted.is_some();
        let claimed = wanted.or_else(|| {
            // In blocks some bytes are damaged on purpose, and only the values tell.
            let again = self.chance.u8(..) < 180;
            let owner = self.user.id;
            again
                .then(|| self.ledger.claim(owner, &mut self.chance, |entry| !entry.blocks))
                .flatten()
        });
        let cargo = match claimed {
            Some(id) => self.cargo(id),
            None if self.chance.u8(..) < 80 => return self.read().await,
            None if self.chance.u8(..) < 100 => return self.throw().await,
            None => self.begin().await?,
        };
        let Some(cargo) = cargo else { return Ok(()) };
        let gives_up = !is_last && self.chance.u8(..) < 6;
        if gives_up {
            return self.cancel(&cargo).await;
        }
        for _ in 0..ATTEMPTS {
            let Some(at) = self.probe(&cargo).await? else { return Ok(()) };
            if self.fill(&cargo, at).await? || self.complete(&cargo).await? {
                return Ok(());
            }
        }
        Err(End::Refused("one offset after another".to_owned()))
    }

    /// The upload, if the test knows of it.
    fn cargo(&mut self, id: DocumentId) -> Option<Cargo> {
        let test_file = self.ledger.entry(id)?.test_file;
        let rests = [0, 40, 120][self.chance.usize(0..3)];
        let (path, dialect) = (format!("/uploads/{id}"), self.dialect());
        Some(Cargo { id, path, test_file, dialect, rests })
    }

    fn dialect(&mut self) -> Dialect {
        [Dialect::ContentRange, Dialect::ContentRange, Dialect::Tus, Dialect::Ietf]
            [self.chance.usize(0..4)]
    }

    fn name(&mut self) -> String {
        match self.chance.u8(0..4) {
            0 => "the same.bin".to_owned(),
            _ => format!("file {}.bin", self.chance.u32(..)),
        }
    }

    fn folder(&mut self) -> String {
        match self.chance.u8(..) {
            0..60 => format!("in/folder {}", self.chance.u8(..)),
            _ => String::new(),
        }
    }

    /// Begins an upload without bytes.
    async fn begin(&mut self) -> Result<Option<Cargo>, End> {
        let mut test_file = any_file(&mut self.chance);
        if test_file.size() == 0 {
            // The request that begins it ends it as well: see `throw`.
            test_file = Arc::new(TestFile::of_seed(1, self.chance.u64(..)));
        }
        let (name, folder) = (self.name(), self.folder());
        let ask = match self.dialect() {
            Dialect::Tus => tus_begin(&name, &folder, test_file.size()),
            _ => own_begin(&name, &folder, test_file.size()),
        };
        let entry = Entry::new(self.user.id, Arc::clone(&test_file), false);
        let answer = self.ask(ask, Promise::Begun(entry)).await?;
        if answer.status != 201 {
            return Err(refused(&answer));
        }
        Ok(super::http_record::number(&answer).and_then(|id| self.cargo(id)))
    }

    /// Sends a small file with the request that begins it. Where the connection ends, its number is
    /// unknown, and the file may be published or not.
    async fn throw(&mut self) -> Result<(), End> {
        let test_file = TestFile::of_seed(self.chance.usize(0..60_000), self.chance.u64(..));
        let test_file = Arc::new(test_file);
        let (name, folder) = (self.name(), self.folder());
        let mut ask = match self.chance.u8(0..3) {
            _ if test_file.size() == 0 => own_begin(&name, &folder, 0),
            0 => tus_begin(&name, &folder, test_file.size()),
            _ => Ask::new(
                "POST",
                format!("/uploads?filename={}&folder={}", enc(&name), enc(&folder)),
            )
            .header("upload-complete", "?1"),
        };
        if test_file.size() > 0 {
            if ask.headers.iter().any(|(name, _)| *name == TUS.0) {
                ask = ask.header("content-type", "application/offset+octet-stream");
            }
            ask.pieces = self.pieces(&test_file.bytes, 40);
        }
        let owner = self.user.id;
        self.ledger.will_be_put(owner, test_file.hash());
        let entry = Entry::thrown(owner, test_file, false);
        let answer = self.ask(ask, Promise::Begun(entry)).await?;
        if answer.status == 201 { Ok(()) } else { Err(refused(&answer)) }
    }

    /// Where to go on; none where the document is complete.
    async fn probe(&mut self, cargo: &Cargo) -> Result<Option<usize>, End> {
        let mut ask = Ask::new("HEAD", cargo.path.clone());
        match cargo.dialect {
            Dialect::Tus => {
                // Where all bytes are here, this question ends the upload.
                self.ledger.change(cargo.id, |entry| entry.may_be_completed = true);
                ask = ask.header(TUS.0, TUS.1);
            }
            Dialect::ContentRange if self.chance.bool() => {
                let range = format!("bytes */{}", cargo.test_file.size());
                ask = Ask::new("PATCH", cargo.path.clone()).header("content-range", &range);
            }
            _ => {}
        }
        let answer = self.ask(ask, self.about(cargo)).await?;
        if !matches!(answer.status, 200 | 204) {
            return Err(refused(&answer));
        }
        if answer.header("towline-document").is_some() {
            return Ok(None);
        }
        Ok(Some(offset(&answer)?))
    }

    /// Sends everything from `at` on. Returns whether the document is stored; not where the server
    /// has another offset.
    async fn fill(&mut self, cargo: &Cargo, mut at: usize) -> Result<bool, End> {
        let size = cargo.test_file.size();
        while at < size {
            let end = (at + self.piece_length()).min(size);
            let answer = self.piece(cargo, at, end).await?;
            if answer.header("towline-document").is_some() {
                return Ok(true);
            }
            match answer.status {
                200 | 204 => at = offset(&answer)?,
                // The digest was wrong on purpose, or another client is ahead.
                400 | 409 if answer.upload_offset().is_some() => return Ok(false),
                _ => return Err(refused(&answer)),
            }
        }
        Ok(false)
    }

    /// Sends one range.
    async fn piece(&mut self, cargo: &Cargo, at: usize, end: usize) -> Result<HttpAnswer, End> {
        let mut bytes = cargo.test_file.bytes[at..end].to_vec();
        let (size, is_end) = (cargo.test_file.size(), end == cargo.test_file.size());
        let sent = match self.chance.u8(..) {
            0..12 if self.damages => Sent::Damaged,
            0..60 => Sent::Digested,
            _ => Sent::Right,
        };
        let mut ask = Ask::new("PATCH", cargo.path.clone());
        if sent != Sent::Right {
            let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
            let sum = STANDARD.encode(sum);
            ask = match cargo.dialect {
                Dialect::Tus => ask.header("upload-checksum", &format!("sha256 {sum}")),
                _ => ask.header("content-digest", &format!("sha-256=:{sum}:")),
            };
        }
        if sent == Sent::Damaged {
            let turned = self.chance.usize(0..bytes.len());
            bytes[turned] ^= 1 << self.chance.u8(0..8);
        }
        // In the dialect of the IETF the end of the bytes need not be the end of the upload.
        let ends = is_end && (cargo.dialect != Dialect::Ietf || self.chance.bool());
        ask = match cargo.dialect {
            Dialect::ContentRange => {
                ask.header("content-range", &format!("bytes {at}-{}/{size}", end - 1))
            }
            Dialect::Tus => ask
                .header(TUS.0, TUS.1)
                .header("content-type", "application/offset+octet-stream")
                .header("upload-offset", &at.to_string()),
            Dialect::Ietf => ask
                .header("content-type", "application/partial-upload")
                .header("upload-offset", &at.to_string())
                .header("upload-complete", if ends { "?1" } else { "?0" }),
        };
        if ends {
            self.ledger.change(cargo.id, |entry| entry.may_be_completed = true);
        }
        ask.pieces = self.pieces(&bytes, cargo.rests);
        let answer = self.ask(ask, self.about(cargo)).await?;
        if sent == Sent::Damaged && answer.status < 300 {
            let id = cargo.id;
            self.ledger.breach(format!("{id}: bytes with a wrong digest are taken: {answer:?}"));
        }
        Ok(answer)
    }

    /// Completes the upload. Returns whether it is complete; not where bytes are missing.
    async fn complete(&mut self, cargo: &Cargo) -> Result<bool, End> {
        let mut ask = Ask::new("POST", format!("{}/complete", cargo.path));
        if self.chance.bool() {
            let said = json!({ "blake3": cargo.test_file.hash().to_string() });
            ask = ask.header("content-type", "application/json").body(said.to_string());
        }
        self.ledger.change(cargo.id, |entry| entry.may_be_completed = true);
        let answer = self.ask(ask, self.about(cargo)).await?;
        match answer.status {
            200 | 201 => Ok(true),
            409 if answer.upload_offset().is_some() => Ok(false),
            _ => Err(refused(&answer)),
        }
    }

    async fn cancel(&mut self, cargo: &Cargo) -> Result<(), End> {
        self.ledger.change(cargo.id, |entry| entry.may_be_cancelled = true);
        let ask = Ask::new("DELETE", cargo.path.clone());
        let answer = self.ask(ask, Promise::Cancelled(cargo.id)).await?;
        if answer.status == 204 { Ok(()) } else { Err(refused(&answer)) }
    }

    /// Reads a document that has to be there, or a range of it.
    async fn read(&mut self) -> Result<(), End> {
        let stored = self.ledger.of(self.user.id, Entry::is_confirmed);
        let Some(id) = self.chance.choice(stored) else { return Ok(()) };
        let Some(entry) = self.ledger.entry(id) else { return Ok(()) };
        let mut ask = Ask::new("GET", format!("/documents/{id}/content"));
        let size = entry.test_file.size();
        let mut range = 0..size;
        if size > 0 && self.chance.bool() {
            let start = self.chance.usize(0..size);
            range = start..self.chance.usize(start..size) + 1;
            ask = ask.header("range", &format!("bytes={}-{}", range.start, range.end - 1));
        }
        self.ask(ask, Promise::Bytes(id, entry.test_file, range)).await.map(drop)
    }

    fn about(&self, cargo: &Cargo) -> Promise {
        Promise::Upload(Known::of(&self.ledger, cargo.id))
    }

    /// Sends a request. Its answer is read and recorded also where this is dropped meanwhile.
    async fn ask(&self, ask: Ask, promise: Promise) -> Result<HttpAnswer, End> {
        let (answered, answer) = oneshot::channel();
        let (http, ledger, user) = (self.http.clone(), self.ledger.clone(), self.user.id);
        self.connections.spawn(async move {
            let Ask { method, path, headers, pieces } = ask;
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let sending = http.try_send_slowly(method, &path, &headers, pieces);
            match timeout(ANSWER, sending).await {
                Ok(Ok(answer)) => {
                    promise.record(&ledger, user, &answer);
                    let _ = answered.send(answer);
                }
                // The connection ended before its answer did.
                Ok(Err(_)) => {}
                Err(_) => ledger.breach(format!("{method} {path}: no answer comes")),
            }
        });
        answer.await.map_err(|_| End::Gone)
    }

    fn piece_length(&mut self) -> usize {
        match self.chance.u8(0..4) {
            0 => self.chance.usize(1..5000),
            1 => 64 << 10,
            _ => self.chance.usize(1..1_500_000),
        }
    }

    fn pieces(&mut self, bytes: &[u8], rests: u8) -> Vec<(Duration, Bytes)> {
        let mut rest = || match self.chance.u8(..) < rests {
            true => Duration::from_millis(self.chance.u64(0..30)),
            false => Duration::ZERO,
        };
        bytes.chunks(64 << 10).map(|piece| (rest(), Bytes::copy_from_slice(piece))).collect()
    }
}

impl Ask {
    fn new(method: &'static str, path: String) -> Self {
        Self { method, path, headers: Vec::new(), pieces: Vec::new() }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn body(mut self, text: String) -> Self {
        self.pieces = vec![(Duration::ZERO, text.into())];
        self
    }
}

fn own_begin(name: &str, folder: &str, size: usize) -> Ask {
    let said = json!({ "filename": name, "folder": folder, "size": size });
    Ask::new("POST", "/uploads".to_owned())
        .header("content-type", "application/json")
        .body(said.to_string())
}

fn tus_begin(name: &str, folder: &str, size: usize) -> Ask {
    let mut metadata = format!("filename {}", STANDARD.encode(name));
    if !folder.is_empty() {
        let path = STANDARD.encode(format!("{folder}/{name}"));
        metadata = format!("{metadata},relativePath {path}");
    }
    Ask::new("POST", "/files".to_owned())
        .header(TUS.0, TUS.1)
        .header("upload-length", &size.to_string())
        .header("upload-metadata", &metadata)
}

/// A text in the query of an address: the names of this test have spaces alone.
fn enc(text: &str) -> String {
    text.replace(' ', "%20")
}

fn offset(answer: &HttpAnswer) -> Result<usize, End> {
    let offset = answer.upload_offset().and_then(|offset| usize::try_from(offset).ok());
    offset.ok_or_else(|| End::Refused("no offset".to_owned()))
}

fn refused(answer: &HttpAnswer) -> End {
    End::Refused(super::http_record::code(answer).unwrap_or_else(|| answer.status.to_string()))
}
