//! A damaged file with the size and the time of the undamaged one: after the damage was found, the
//! server no longer answers that the document exists.

use super::{told, verify};
use std::fs;
use towline_protocol::request::Upload;
use towline_protocol::{Reply, Request};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{Heard, RawClient, ZERO, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::tamper::{contents, rot};
use towline_tests::test_file::{BLOCK, TestFile};

const SIZES: [usize; 3] = [70_000, BLOCK, 3 * BLOCK + 5];

struct Fixture {
    site: Site,
    ada: TestUser,
    server: ServerProcess,
    client: RawClient,
}

impl Fixture {
    async fn start() -> Self {
        let site = Site::new();
        let ada = site.add_user("ada").await;
        let server = Launch::over(&site).start().await;
        let client = server.client(&ada).await;
        Self { site, ada, server, client }
    }

    /// Uploads a file with its hash, and sends the bytes if the server asks for them. Returns
    /// whether it asked, and the name that the document has.
    async fn put(&mut self, name: &str, test_file: &TestFile) -> (bool, String) {
        let request = Upload { blake3: Some(test_file.hash()), ..upload(name, test_file) };
        self.client.send(&Request::Upload(request)).await;
        let is_answer = |heard: &Heard| matches!(heard, Heard::Reply(reply) if !matches!(reply, Reply::Progress(_)));
        let heard = self.client.until("an answer", is_answer).await.pop();
        match heard {
            Some(Heard::Reply(Reply::Success(success))) => (false, success.filename),
            Some(Heard::Reply(Reply::Upload(_))) => {
                self.client.chunks(ZERO, test_file, 0..test_file.size()).await;
                (true, self.client.complete(ZERO).await.filename)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_seen_while_a_file_is_copied_is_remembered() {
    for size in SIZES {
        let mut fixture = Fixture::start().await;
        let test_file = TestFile::new(size, 320);
        fixture.put("a.bin", &test_file).await;
        let path = fixture.site.document(&fixture.ada, "a.bin");
        rot(&path, size / 2);
        let damaged = fs::read(&path).unwrap();
        assert_eq!(fixture.put("b.bin", &test_file).await, (true, "b.bin".to_owned()));
        let words = ["ERROR", "is damaged", "a.bin", "user=1", "document=1", "verify --repair"];
        fixture.server.says_in_one_line(&words).await;
        // The server made it from the other document, whose bytes are undamaged.
        assert_eq!(fixture.put("a.bin", &test_file).await, (false, "a (1).bin".to_owned()));
        fixture.site.assert_published(&fixture.ada, "a (1).bin", &test_file);
        assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is written over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_seen_by_verify_is_known_to_the_server() {
    for size in SIZES {
        let mut fixture = Fixture::start().await;
        let test_file = TestFile::new(size, 321);
        fixture.put("a.bin", &test_file).await;
        rot(&fixture.site.document(&fixture.ada, "a.bin"), size / 2);
        let before = contents(&fixture.site.uploads());
        let verified = verify(&fixture.site, &[]).await;
        assert_eq!(verified.kinds(), ["damaged uploads/1/a.bin"]);
        assert_eq!(verified.findings[0]["done"], "doubted");
        assert_eq!(verified.summary["repaired"], 0);
        assert_eq!(contents(&fixture.site.uploads()), before, "no file was changed");
        assert_eq!(fixture.put("a.bin", &test_file).await, (true, "a (1).bin".to_owned()));
        // `verify` finds the damage again, and had recorded it once.
        let (code, text) = told(&fixture.site, &[]).await;
        assert_eq!(code, Some(1));
        assert!(text.contains("DAMAGED") && !text.contains("any more"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_seen_by_verify_is_told_to_the_operator() {
    let mut fixture = Fixture::start().await;
    let test_file = TestFile::new(70_000, 322);
    fixture.put("a.bin", &test_file).await;
    rot(&fixture.site.document(&fixture.ada, "a.bin"), 5);
    let (_, text) = told(&fixture.site, &[]).await;
    assert!(text.contains("does not call this file uploaded any more"), "{text}");
    assert!(text.contains("no file was changed"), "{text}");
    fixture.server.gone().await;
    assert_eq!(verify(&fixture.site, &["--repair"]).await.findings[0]["done"], "set_aside");
}
