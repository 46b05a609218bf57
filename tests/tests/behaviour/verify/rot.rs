//! A damaged file with the size and the time of the whole one: once the damage was seen,
//! the server does not answer any more that the document is there.

use super::{told, verify};
use std::fs;
use towline_protocol::request::Upload;
use towline_protocol::{Reply, Request};
use towline_tests::by_hand::{contents, rot};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::site::{Person, Site};
use towline_tests::speaker::{Heard, Speaker, ZERO, upload};

const SIZES: [usize; 3] = [70_000, BLOCK, 3 * BLOCK + 5];

struct Scene {
    site: Site,
    ada: Person,
    server: ServerProcess,
    speaker: Speaker,
}

impl Scene {
    async fn start() -> Self {
        let site = Site::new();
        let ada = site.add_user("ada").await;
        let server = Launch::over(&site).start().await;
        let speaker = server.speaker(&ada).await;
        Self { site, ada, server, speaker }
    }

    /// Puts a file with its hash, and sends the bytes if the server asks for them. Says
    /// whether it did, and under which name the file is.
    async fn put(&mut self, name: &str, corpus: &Corpus) -> (bool, String) {
        let request = Upload { blake3: Some(corpus.hash()), ..upload(name, corpus) };
        self.speaker.send(&Request::Upload(request)).await;
        let is_answer = |heard: &Heard| matches!(heard, Heard::Reply(reply) if !matches!(reply, Reply::Progress(_)));
        let heard = self.speaker.until("an answer", is_answer).await.pop();
        match heard {
            Some(Heard::Reply(Reply::Success(success))) => (false, success.filename),
            Some(Heard::Reply(Reply::Upload(_))) => {
                self.speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
                (true, self.speaker.complete(ZERO).await.filename)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seen_while_it_is_copied() {
    for size in SIZES {
        let mut scene = Scene::start().await;
        let corpus = Corpus::new(size, 320);
        scene.put("a.bin", &corpus).await;
        let path = scene.site.document(&scene.ada, "a.bin");
        rot(&path, size / 2);
        let damaged = fs::read(&path).unwrap();
        assert_eq!(scene.put("b.bin", &corpus).await, (true, "b.bin".to_owned()));
        let lines = scene.server.said();
        let line = lines.iter().find(|line| line.contains("is damaged")).expect("a line");
        for word in ["ERROR", "a.bin", "user=1", "document=1", "verify --repair"] {
            assert!(line.contains(word), "{word}: {line}");
        }
        // Made from the other document, whose bytes are whole.
        assert_eq!(scene.put("a.bin", &corpus).await, (false, "a (1).bin".to_owned()));
        scene.site.assert_published(&scene.ada, "a (1).bin", &corpus);
        assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is written over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seen_by_verify_beside_the_server() {
    for size in SIZES {
        let mut scene = Scene::start().await;
        let corpus = Corpus::new(size, 321);
        scene.put("a.bin", &corpus).await;
        rot(&scene.site.document(&scene.ada, "a.bin"), size / 2);
        let before = contents(&scene.site.uploads());
        let verified = verify(&scene.site, &[]).await;
        assert_eq!(verified.kinds(), ["damaged uploads/1/a.bin"]);
        assert_eq!(verified.findings[0]["done"], "doubted");
        assert_eq!(verified.summary["repaired"], 0);
        assert_eq!(contents(&scene.site.uploads()), before, "no file was changed");
        assert_eq!(scene.put("a.bin", &corpus).await, (true, "a (1).bin".to_owned()));
        // It is found again, and was recorded once.
        let (code, text) = told(&scene.site, &[]).await;
        assert_eq!(code, Some(1));
        assert!(text.contains("DAMAGED") && !text.contains("any more"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seen_by_verify_and_told_to_a_person() {
    let mut scene = Scene::start().await;
    let corpus = Corpus::new(70_000, 322);
    scene.put("a.bin", &corpus).await;
    rot(&scene.site.document(&scene.ada, "a.bin"), 5);
    let (_, text) = told(&scene.site, &[]).await;
    assert!(text.contains("does not call this file uploaded any more"), "{text}");
    assert!(text.contains("no file was changed"), "{text}");
    scene.server.gone().await;
    assert_eq!(verify(&scene.site, &["--repair"]).await.findings[0]["done"], "set_aside");
}
