//! Uploads over HTTP, sent while a fault happens to the server: one in two requests with bytes and
//! a `complete`, one that is given up, and a request whose digest is wrong. As a
//! [`Scenario`](crate::scenario::Scenario) it records every promise, and checks later that each of
//! them was kept.

use crate::http_client::{HttpAnswer, HttpClient};
use crate::scenario::AllowedLoss;
use crate::site::{Site, TestUser};
use crate::test_file::{BLOCK, TestFile};
use bytes::Bytes;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// When the length of the file is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthTold {
    /// When the upload begins: its last byte ends it, and `complete` asks for the receipt.
    AtTheBeginning,
    /// With `complete`, which ends it.
    AtTheEnd,
}

/// See the module's description.
#[derive(Debug)]
pub struct HttpScenario {
    user: TestUser,
    test_file: TestFile,
    length_told: LengthTold,
    /// The number of the upload, once its beginning was answered.
    number: Option<u64>,
    /// The number of the upload that is given up.
    dropped: Option<u64>,
    /// The highest `Upload-Offset` of a 2xx: the promise (P1).
    promised: u64,
    is_end_asked: bool,
    /// An answer has said that the document is stored (P3).
    is_stored: bool,
    is_cancelled: bool,
    errors: Vec<String>,
}

const NAME: &str = "large.bin";
const FOLDER: &str = "new/deep";

/// Where the first request with bytes ends.
const FIRST: usize = BLOCK + BLOCK / 2 + 7;

/// The server is gone, or refuses to go on.
struct Stopped;

impl HttpScenario {
    /// Uploads of that user.
    #[must_use]
    pub fn new(user: &TestUser, length_told: LengthTold) -> Self {
        Self {
            user: user.clone(),
            test_file: TestFile::new(2 * BLOCK + BLOCK / 2, 905),
            length_told,
            number: None,
            dropped: None,
            promised: 0,
            is_end_asked: false,
            is_stored: false,
            is_cancelled: false,
            errors: Vec::new(),
        }
    }

    /// All steps, as far as the server permits them.
    pub async fn travel(&mut self, address: SocketAddr) {
        self.set_out(address).await;
        self.go_on(address).await;
    }

    /// The first half: both uploads begin, one is given up, and the other gets its first bytes.
    pub async fn set_out(&mut self, address: SocketAddr) {
        let http = HttpClient::new(address, &self.user.token);
        let _ = self.try_set_out(&http).await;
    }

    /// The second half: the upload goes on to its end.
    pub async fn go_on(&mut self, address: SocketAddr) {
        let http = HttpClient::new(address, &self.user.token);
        let _ = self.try_go_on(&http).await;
    }

    /// Whether the document is stored, as far as the server has said.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_stored
    }

    /// The errors that the server answered with, in short, for the output of the test.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.errors.clone()
    }

    async fn try_set_out(&mut self, http: &HttpClient) -> Result<(), Stopped> {
        self.number = Some(self.begin(http).await?);
        let said = json!({ "filename": "dropped.bin", "size": 9000 });
        let begun = self.post(http, "/uploads", said).await?;
        let dropped = begun.json()["uploadId"].as_u64().ok_or(Stopped)?;
        self.dropped = Some(dropped);
        let range = [("content-range", "bytes 0-999/9000")];
        let path = format!("/uploads/{dropped}");
        self.ask(http, "PATCH", &path, &range, vec![7; 1000]).await?;
        self.ask(http, "DELETE", &path, &[], Vec::new()).await?;
        self.is_cancelled = true;
        self.patch(http, 0, FIRST).await
    }

    async fn try_go_on(&mut self, http: &HttpClient) -> Result<(), Stopped> {
        let Some(number) = self.number.filter(|_| !self.is_stored) else { return Ok(()) };
        let path = format!("/uploads/{number}");
        let probed = self.ask(http, "HEAD", &path, &[], Vec::new()).await?;
        self.hear(&probed);
        if probed.header("towline-document").is_none() {
            let at = offset(&probed).ok_or(Stopped)?;
            self.refused_digest(http, at).await?;
            self.patch(http, at, self.test_file.size()).await?;
        }
        self.complete(http).await
    }

    async fn begin(&mut self, http: &HttpClient) -> Result<u64, Stopped> {
        let mut said = json!({ "filename": NAME, "folder": FOLDER });
        if self.length_told == LengthTold::AtTheBeginning {
            said["size"] = self.test_file.size().into();
        }
        let begun = self.post(http, "/uploads", said).await?;
        begun.json()["uploadId"].as_u64().ok_or(Stopped)
    }

    /// Bytes that do not have the digest of their request: not one of them counts.
    async fn refused_digest(&mut self, http: &HttpClient, at: usize) -> Result<(), Stopped> {
        let end = (at + 5000).min(self.test_file.size() - 1);
        if at >= end {
            return Ok(());
        }
        let range = self.content_range(at, end);
        let digest = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
        let headers = [("content-range", range.as_str()), ("content-digest", digest)];
        let path = format!("/uploads/{}", self.number.unwrap_or_default());
        let sent = self.ask(http, "PATCH", &path, &headers, vec![7; end - at]).await;
        assert!(sent.is_err(), "bytes with a wrong digest are taken");
        // What follows finds out whether the server still answers.
        Ok(())
    }

    async fn patch(&mut self, http: &HttpClient, at: usize, end: usize) -> Result<(), Stopped> {
        if at >= end {
            return Ok(());
        }
        let is_end = end == self.test_file.size();
        self.is_end_asked |= is_end && self.length_told == LengthTold::AtTheBeginning;
        let range = self.content_range(at, end);
        let bytes = self.test_file.bytes[at..end].to_vec();
        let path = format!("/uploads/{}", self.number.unwrap_or_default());
        let answer = self.ask(http, "PATCH", &path, &[("content-range", &range)], bytes).await?;
        self.hear(&answer);
        Ok(())
    }

    fn content_range(&self, at: usize, end: usize) -> String {
        match self.length_told {
            LengthTold::AtTheBeginning => {
                format!("bytes {at}-{}/{}", end - 1, self.test_file.size())
            }
            LengthTold::AtTheEnd => format!("bytes {at}-{}/*", end - 1),
        }
    }

    async fn complete(&mut self, http: &HttpClient) -> Result<(), Stopped> {
        let size = self.test_file.size();
        let said = json!({ "size": size, "blake3": self.test_file.hash().to_string() });
        self.is_end_asked = true;
        let path = format!("/uploads/{}/complete", self.number.unwrap_or_default());
        let answer = self.post(http, &path, said).await?;
        assert_eq!(answer.json()["blake3"], self.test_file.hash().to_string(), "{answer:?}");
        self.is_stored = true;
        Ok(())
    }

    /// Records what a 2xx promises.
    fn hear(&mut self, answer: &HttpAnswer) {
        let offset = answer.upload_offset().expect("each 2xx about an upload says how far it is");
        assert!(offset >= self.promised, "{answer:?} after a promise of {}", self.promised);
        self.promised = offset;
        self.is_stored |= answer.header("towline-document").is_some();
    }

    async fn post(
        &mut self,
        http: &HttpClient,
        path: &str,
        said: Value,
    ) -> Result<HttpAnswer, Stopped> {
        let json = [("content-type", "application/json")];
        self.ask(http, "POST", path, &json, said.to_string().into_bytes()).await
    }

    /// Sends a request. An answer that is no 2xx stops the scenario, as the end of the connection
    /// does.
    async fn ask(
        &mut self,
        http: &HttpClient,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<HttpAnswer, Stopped> {
        let sending = http.try_send(method, path, headers, Bytes::from(body));
        let answer = tokio::time::timeout(crate::PATIENCE, sending).await;
        let answer = answer.expect("an answer or an end in time").map_err(|_| Stopped)?;
        if answer.status < 300 {
            return Ok(answer);
        }
        let word = serde_json::from_slice(&answer.body).ok();
        let word = word.and_then(|body: Value| body["code"].as_str().map(str::to_owned));
        self.errors.push(format!("{method}: {}", word.unwrap_or(answer.status.to_string())));
        Err(Stopped)
    }

    // The checks.

    /// Checks every promise on a server that no longer has a fault, and completes the upload.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub async fn arrive(&mut self, address: SocketAddr, site: &Site, allowed_loss: AllowedLoss) {
        self.assert_only_whole_files(site);
        let http = HttpClient::new(address, &self.user.token);
        if let Some(number) = self.number {
            let shown = http.get(&format!("/uploads/{number}")).await.is(200).json();
            let offset = shown["nextOffset"].as_u64().expect("an offset");
            match shown["status"].as_str().expect("a word") {
                "AVAILABLE" => assert!(self.is_end_asked, "complete, and nobody asked: {shown}"),
                "FAILED" => {
                    let is_excused = match allowed_loss {
                        AllowedLoss::None => false,
                        AllowedLoss::PowerCut => self.promised == 0,
                        AllowedLoss::FailedSync => true,
                    };
                    assert!(is_excused && !self.is_stored, "{shown}; {self:?}");
                    (self.number, self.promised) = (None, 0);
                }
                "INITIATED" | "PAUSED" => {
                    assert!(!self.is_stored && offset >= self.promised, "{shown}; {self:?}");
                }
                other => panic!("{other} after a start; {self:?}"),
            }
        }
        if let (Some(dropped), true) = (self.dropped, self.is_cancelled) {
            let shown = http.get(&format!("/uploads/{dropped}")).await.is(200).json();
            assert_eq!(shown["status"], "CANCELLED", "a cancel was undone");
        }
        self.finish(&http).await;
        self.assert_only_whole_files(site);
        site.assert_published(&self.user, &format!("{FOLDER}/{NAME}"), &self.test_file);
        let number = self.number.expect("a document");
        let content = http.get(&format!("/documents/{number}/content")).await.is(200);
        assert!(content.body[..] == self.test_file.bytes, "other bytes are given out");
    }

    async fn finish(&mut self, http: &HttpClient) {
        if self.number.is_none() {
            let begun = self.begin(http).await;
            self.number = Some(begun.unwrap_or_else(|Stopped| panic!("{self:?}")));
        }
        self.is_stored = false;
        let finished = self.try_go_on(http).await;
        assert!(finished.is_ok() && self.is_stored, "{self:?}");
    }

    /// Checks a server that still runs after a failed sync (P5): it takes nothing new, the upload has
    /// no document, and one whose own bytes were not synced (`hit` has the names of the staging
    /// files) is given up.
    ///
    /// # Panics
    /// Where the server treats a failed sync as done.
    pub async fn assert_closed(&self, address: SocketAddr, hit: &[String]) {
        let http = HttpClient::new(address, &self.user.token);
        let probe = http.post("/uploads", &json!({ "filename": "probe", "size": 1000 })).await;
        assert_eq!(probe.is(503).problem(), "storage_read_only");
        assert!(!self.is_stored, "stored behind a failed sync: {self:?}");
        let Some(number) = self.number.filter(|number| hit.contains(&format!("{number}.tmp")))
        else {
            return;
        };
        let given_up = async {
            let path = format!("/uploads/{number}");
            // The call may have failed only a moment ago.
            while http.get(&path).await.is(200).json()["status"] != "FAILED" {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, given_up).await.expect("its sync failed");
    }

    /// P2: every file with a published name is complete.
    ///
    /// # Panics
    /// Where a file is not complete.
    pub fn assert_only_whole_files(&self, site: &Site) {
        let documents = site.documents(&self.user);
        for path in site.on_disk().into_keys() {
            if path.is_dir() || !path.starts_with(&documents) {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a published file");
            assert!(bytes == self.test_file.bytes, "{} is not whole", path.display());
        }
    }
}

fn offset(answer: &HttpAnswer) -> Option<usize> {
    answer.upload_offset().and_then(|offset| usize::try_from(offset).ok())
}
