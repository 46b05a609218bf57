//! The life of a document, as the user's drawing has it: each of its arrows is taken, and no request
//! takes another one.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use towline_engine::scanning::Scanning;
use towline_tests::PATIENCE;
use towline_tests::http_client::{HttpClient, HttpUpload};
use towline_tests::process::Launch;
use towline_tests::scanned::EICAR_COMMAND;
use towline_tests::site::Site;
use towline_tests::stub_scanner::{Mood, StubScanner, UNSCANNABLE, eicar};
use towline_tests::test_file::TestFile;
use towline_types::DocumentId;

/// The arrows of the drawing; what it calls QUARANTINED/FAILED is two states.
const ARROWS: [(&str, &str); 12] = [
    ("INITIATED", "UPLOADING"),
    ("UPLOADING", "UPLOADING"),
    ("UPLOADING", "PAUSED"),
    ("PAUSED", "UPLOADING"),
    ("UPLOADING", "FINALIZING"),
    ("FINALIZING", "SCANNING"),
    ("SCANNING", "AVAILABLE"),
    ("SCANNING", "QUARANTINED"),
    ("SCANNING", "FAILED"),
    ("INITIATED", "CANCELLED"),
    ("UPLOADING", "CANCELLED"),
    ("PAUSED", "CANCELLED"),
];

/// What was seen of each upload last, and the arrows that were taken.
#[derive(Default)]
struct Seen {
    last: BTreeMap<DocumentId, (String, u64)>,
    arrows: BTreeSet<(String, String)>,
}

impl Seen {
    /// Looks at an upload. A state that follows upon another one has taken an arrow; one in which
    /// bytes have come in, the one to itself.
    async fn look(&mut self, client: &HttpClient, id: DocumentId) -> String {
        let shown = client.get(&format!("/uploads/{id}")).await.is(200).json();
        let state = shown["status"].as_str().unwrap().to_owned();
        let bytes = received(&shown);
        if let Some((before, had)) = self.last.insert(id, (state.clone(), bytes))
            && (before != state || (state == "UPLOADING" && bytes > had))
        {
            self.arrows.insert((before, state.clone()));
        }
        state
    }

    /// Looks until the upload is in that state.
    async fn until(&mut self, client: &HttpClient, id: DocumentId, state: &str) {
        let began = Instant::now();
        while self.look(client, id).await != state {
            assert!(began.elapsed() < PATIENCE, "{state}: {:?}", self.last[&id]);
            tokio::task::yield_now().await;
        }
    }

    /// Looks until so many bytes of it have come in.
    async fn until_bytes(&mut self, client: &HttpClient, id: DocumentId, bytes: u64) {
        let began = Instant::now();
        while self.last[&id].1 < bytes {
            assert_eq!(self.look(client, id).await, "UPLOADING");
            assert!(began.elapsed() < PATIENCE, "{bytes}: {:?}", self.last[&id]);
        }
    }

    /// No request but `but` changes the state of that upload.
    async fn stays(&mut self, client: &HttpClient, upload: &HttpUpload, but: &[&str]) {
        let before = self.look(client, upload.id).await;
        let complete = format!("{}/complete", upload.path);
        let whole = upload.content_range(0, upload.size);
        let behind = format!("bytes {0}-{0}/{0}", upload.size);
        for (name, method, path, range) in [
            ("complete", "POST", complete.as_str(), None),
            ("patch", "PATCH", upload.path.as_str(), Some(whole.as_str())),
            ("behind", "PATCH", upload.path.as_str(), Some(behind.as_str())),
            ("head", "HEAD", upload.path.as_str(), None),
            ("delete", "DELETE", upload.path.as_str(), None),
        ] {
            if but.contains(&name) {
                continue;
            }
            let headers: Vec<_> = range.into_iter().map(|range| ("content-range", range)).collect();
            let body = if name == "patch" { vec![1; upload.size] } else { Vec::new() };
            let body = if name == "behind" { vec![1] } else { body };
            client.send(method, path, &headers, body).await;
            assert_eq!(self.look(client, upload.id).await, before, "{name}");
        }
    }
}

fn received(shown: &Value) -> u64 {
    let ranges = shown["receivedRanges"].as_array().unwrap().iter();
    ranges.map(|range| range[1].as_u64().unwrap() + 1 - range[0].as_u64().unwrap()).sum()
}

/// A request that is still sending: its connection is open, and the rest of its bytes is to come.
struct Sending(TcpStream);

impl Sending {
    /// Begins to send everything from `start` on, and sends the first of it.
    async fn begin(
        address: SocketAddr,
        token: &str,
        upload: &HttpUpload,
        start: usize,
        first: &[u8],
    ) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = upload.size - start;
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-range: {}\r\ncontent-length: {length}\r\n\r\n",
            upload.path,
            upload.content_range(start, length),
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(first).await.unwrap();
        Self(stream)
    }

    async fn more(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_arrow_of_the_drawing_is_taken_and_no_other() {
    let mut seen = Seen::default();
    while_bytes_come(&mut seen).await;
    at_the_end(&mut seen).await;
    let arrows: BTreeSet<_> =
        ARROWS.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    assert_eq!(seen.arrows, arrows);
}

/// From the first byte to the scanner, on a server that takes its time to give a file its name.
async fn while_bytes_come(seen: &mut Seen) {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let gate = site.outside().join("gate");
    std::fs::write(&gate, "").unwrap();
    let command =
        format!("while test -e '{}'; do sleep 0.05; done; {EICAR_COMMAND}", gate.display());
    let server = Launch::over(&site)
        .arguments(&["--scan-command", &command])
        .failpoints("publish.row_publishing=wait:1500@1")
        .start()
        .await;
    let client = HttpClient::new(server.address(), &user.token);
    let (to, token) = (server.address(), user.token.as_str());
    let file = TestFile::new(3_000_000, 4100);
    let upload = client.begin("a.bin", file.size()).await;
    assert_eq!(seen.look(&client, upload.id).await, "INITIATED");
    seen.stays(&client, &upload, &["patch", "delete"]).await;
    let mut sending = Sending::begin(to, token, &upload, 0, &file.bytes[..1000]).await;
    seen.until(&client, upload.id, "UPLOADING").await;
    sending.more(&file.bytes[1000..1_500_000]).await;
    seen.until_bytes(&client, upload.id, 1_048_576).await;
    drop(sending);
    seen.until(&client, upload.id, "PAUSED").await;
    seen.stays(&client, &upload, &["delete"]).await;
    let head = client.send("HEAD", &upload.path, &[], "").await.is(200);
    let at = usize::try_from(head.upload_offset().unwrap()).unwrap();
    let mut sending = Sending::begin(to, token, &upload, at, &file.bytes[at..2_000_000]).await;
    seen.until(&client, upload.id, "UPLOADING").await;
    sending.more(&file.bytes[2_000_000..]).await;
    seen.until(&client, upload.id, "FINALIZING").await;
    seen.until(&client, upload.id, "SCANNING").await;
    seen.stays(&client, &upload, &[]).await;
    std::fs::remove_file(&gate).unwrap();
    seen.until(&client, upload.id, "AVAILABLE").await;
    seen.stays(&client, &upload, &[]).await;
    site.assert_published(&user, "a.bin", &file);
    let aborted = client.begin("b.bin", file.size()).await;
    assert_eq!(seen.look(&client, aborted.id).await, "INITIATED");
    let sending = Sending::begin(to, token, &aborted, 0, &file.bytes[..1000]).await;
    seen.until(&client, aborted.id, "UPLOADING").await;
    client.send("DELETE", &aborted.path, &[], "").await.is(204);
    seen.until(&client, aborted.id, "CANCELLED").await;
    seen.stays(&client, &aborted, &[]).await;
    drop(sending);
    server.assert_calm();
    server.gone().await;
}

/// What the scanner says, what the client gives up, and what time ends.
async fn at_the_end(seen: &mut Seen) {
    let scanner = Arc::new(StubScanner::that(Mood::Waits));
    let stub = Arc::clone(&scanner);
    let (server, client) = super::kit::server_with(move |config| {
        config.engine.scanning = Some(Scanning::with(Arc::clone(&stub) as _));
    })
    .await;
    // Numbers of another server's documents.
    seen.last.clear();
    let mut uploads = Vec::new();
    for (name, bytes) in [("e.com", eicar()), ("large", UNSCANNABLE.to_vec())] {
        let upload = client.begin(name, bytes.len()).await;
        client.patch(&upload, 0, &bytes).await.is(204);
        assert_eq!(seen.look(&client, upload.id).await, "SCANNING");
        uploads.push(upload);
    }
    scanner.now(Mood::Works);
    for (upload, state) in uploads.iter().zip(["QUARANTINED", "FAILED"]) {
        seen.until(&client, upload.id, state).await;
        seen.stays(&client, upload, &[]).await;
    }
    let upload = client.begin("never", 100).await;
    assert_eq!(seen.look(&client, upload.id).await, "INITIATED");
    client.send("DELETE", &upload.path, &[], "").await.is(204);
    assert_eq!(seen.look(&client, upload.id).await, "CANCELLED");
    seen.stays(&client, &upload, &[]).await;
    let upload = client.begin("late", 2000).await;
    client.patch(&upload, 0, &[1; 1000]).await.is(204);
    assert_eq!(seen.look(&client, upload.id).await, "PAUSED");
    server.clock.advance(Duration::from_secs(8 * 24 * 3600));
    client.patch(&upload, 1000, &[1; 1000]).await.is(410);
    assert_eq!(seen.look(&client, upload.id).await, "CANCELLED");
}
