//! Bytes that the server has elsewhere are not sent again: it makes the document from them,
//! in its own place, and says so.

use std::fs;
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::parcel::parcel;
use towline_tests::server::TestServer;
use towline_tests::speaker::{Heard, Speaker, ZERO, upload};
use towline_types::OnConflict;

async fn put(speaker: &mut Speaker, name: &str, corpus: &Corpus) {
    speaker.upload(upload(name, corpus)).await;
    speaker.chunks(ZERO, corpus, 0..corpus.size()).await;
    speaker.complete(ZERO).await;
}

fn known(name: &str, corpus: &Corpus) -> Upload {
    Upload { blake3: Some(corpus.hash()), ..upload(name, corpus) }
}

fn within(folder: &str, upload: Upload) -> Upload {
    Upload { folder: vec![folder.to_owned()], ..upload }
}

/// The answer to `upload`, without what is said of the progress.
async fn answer(speaker: &mut Speaker) -> Reply {
    let is_answer = |heard: &Heard| matches!(heard, Heard::Reply(reply) if !matches!(reply, Reply::Progress(_)));
    let mut heard = speaker.until("an answer", is_answer).await;
    match heard.pop() {
        Some(Heard::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_elsewhere_become_a_document_of_its_own() {
    let mut server = TestServer::start().await;
    for (n, size) in [0, 1, 70_000, BLOCK, 9 * BLOCK + 5].into_iter().enumerate() {
        let corpus = Corpus::new(size, 500);
        let mut speaker = server.speaker().await;
        let (old, new) = (format!("{n}.bin"), format!("new {n}.bin"));
        put(&mut speaker, &old, &corpus).await;
        let mut numbers = Vec::new();
        for begin in [known(&new, &corpus), within("in", known(&old, &corpus))] {
            speaker.send(&Request::Upload(begin.clone())).await;
            let Reply::Success(success) = answer(&mut speaker).await else { panic!("no copy") };
            assert!(success.copied && !success.existing && success.durable, "{success:?}");
            assert_eq!((&success.filename, &success.folder), (&begin.filename, &begin.folder));
            assert_eq!(success.blake3, corpus.hash());
            numbers.push(success.document_id);
            // Said again, it is there.
            speaker.send(&Request::Upload(begin)).await;
            let Reply::Success(again) = answer(&mut speaker).await else { panic!("not there") };
            assert!(again.existing && !again.copied);
            assert_eq!(again.document_id, success.document_id);
        }
        for place in [old, new, format!("in/{n}.bin")] {
            server.site.assert_published(&server.person, &place, &corpus);
        }
        assert_ne!(numbers[0], numbers[1]);
        server.restart().await;
        let mut speaker = server.speaker().await;
        speaker.send(&Request::Upload(within("in", known(&format!("{n}.bin"), &corpus)))).await;
        assert_eq!(speaker.success_on(ZERO).await.document_id, numbers[1]);
    }
    server.site.state_is_empty().await;
}

/// Each is a file of its own: to write to one changes no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_no_second_name() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK, 501);
    let mut speaker = server.speaker().await;
    put(&mut speaker, "a", &corpus).await;
    speaker.send(&Request::Upload(known("b", &corpus))).await;
    assert!(matches!(answer(&mut speaker).await, Reply::Success(success) if success.copied));
    fs::write(server.site.document(&server.person, "a"), "mine").unwrap();
    server.site.assert_published(&server.person, "b", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_dealt_with_as_for_any_upload() {
    let server = TestServer::start().await;
    let (corpus, other) = (Corpus::new(70_000, 502), Corpus::new(70_000, 503));
    let mut speaker = server.speaker().await;
    put(&mut speaker, "a", &corpus).await;
    put(&mut speaker, "b", &other).await;
    let reject = Upload { on_conflict: OnConflict::Reject, ..known("b", &corpus) };
    speaker.upload_refused(reject, Code::Exists).await;
    for _ in 0..3 {
        speaker.send(&Request::Upload(known("b", &corpus))).await;
        let Reply::Success(success) = answer(&mut speaker).await else { panic!("no copy") };
        assert_eq!(success.filename, "b (1)");
    }
    server.site.assert_published(&server.person, "b", &other);
    server.site.assert_published(&server.person, "b (1)", &corpus);
    assert!(!server.site.document(&server.person, "b (2)").exists());
    speaker.upload_refused(within("a", known("x", &corpus)), Code::Exists).await;
}

/// In a folder that leaves room for one digit only, no number is left for another copy. The
/// bytes are asked for then, and the answer to `complete` says what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_left_for_a_copy() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    let mut folder = vec!["f".repeat(254); 8];
    folder.push("ff".to_owned());
    let here = |upload: Upload| Upload { folder: folder.clone(), ..upload };
    let mut is_full = false;
    for n in 0..11 {
        let corpus = Corpus::new(100 + n, 510);
        speaker.upload(here(upload("a", &corpus))).await;
        speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
        speaker.send(&Request::Complete(Complete::default())).await;
        match answer(&mut speaker).await {
            Reply::Error(error) if error.code == Code::Exists => is_full = true,
            answer => assert!(matches!(answer, Reply::Success(_)), "{answer:?}"),
        }
    }
    assert!(is_full, "all eleven have found a name");
    for (n, size) in [0, 70_000, 3 * BLOCK].into_iter().enumerate() {
        let corpus = Corpus::new(size, 511);
        put(&mut speaker, &format!("{n}"), &corpus).await;
        speaker.send(&Request::Upload(here(known("a", &corpus)))).await;
        let answer = answer(&mut speaker).await;
        assert!(matches!(answer, Reply::Upload(_)), "{answer:?}");
        speaker.chunks(ZERO, &corpus, 0..size).await;
        speaker.complete_refused(Complete::default(), Code::Exists).await;
    }
}

/// Nothing is copied that is not what it was: the client is asked for the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_source_is_not_copied() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    for (n, size) in [1, 70_000, 3 * BLOCK + 5].into_iter().enumerate() {
        let corpus = Corpus::new(size, 504);
        let (first, second) = (format!("a{n}"), format!("b{n}"));
        put(&mut speaker, &first, &corpus).await;
        let path = server.site.document(&server.person, &first);
        let mut bytes = corpus.bytes.clone();
        bytes[size / 2] ^= 1;
        fs::write(&path, bytes).unwrap();
        speaker.send(&Request::Upload(known(&second, &corpus))).await;
        assert!(matches!(answer(&mut speaker).await, Reply::Upload(_)), "{size}");
        speaker.chunks(ZERO, &corpus, 0..size).await;
        let success = speaker.complete(ZERO).await;
        assert!(!success.copied && !success.existing);
        server.site.assert_published(&server.person, &second, &corpus);
        // One good source is enough, whichever is looked at first.
        speaker.send(&Request::Upload(known(&format!("c{n}"), &corpus))).await;
        assert!(matches!(answer(&mut speaker).await, Reply::Success(success) if success.copied));
        server.site.assert_published(&server.person, &format!("c{n}"), &corpus);
    }
    let left = server.site.staged_names();
    assert!(left.is_empty(), "{left:?}");
}

/// A small file whose bytes have come is published with these.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_whole_needs_no_copy() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(4096, 505);
    let mut speaker = server.speaker().await;
    for name in ["a", "b", "a"] {
        let wish = Upload { blocks: true, new_only: true, ..known(name, &corpus) };
        speaker.send_raw(&parcel(wish, &corpus)).await;
        let mut success = answer(&mut speaker).await;
        if let Reply::Upload(_) = success {
            success = answer(&mut speaker).await;
        }
        assert!(matches!(&success, Reply::Success(one) if !one.copied && one.filename == name));
    }
    server.site.assert_published(&server.person, "a", &corpus);
    server.site.assert_published(&server.person, "b", &corpus);
}

/// Bytes and `complete` that were sent without waiting are dropped, as for a document
/// that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_gets_the_receipt_twice() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(5 * BLOCK + 7, 506);
    let mut speaker = server.speaker().await;
    put(&mut speaker, "a", &corpus).await;
    speaker.send(&Request::Upload(known("b", &corpus))).await;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    let Reply::Success(first) = answer(&mut speaker).await else { panic!("no copy") };
    let again = speaker.complete(ZERO).await;
    assert_eq!((again.document_id, again.blake3), (first.document_id, corpus.hash()));
    server.site.assert_published(&server.person, "b", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_copy_of_what_is_anothers() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(70_000, 507);
    put(&mut server.speaker().await, "a", &corpus).await;
    let bob = server.site.add_user("bob").await;
    let mut speaker = Speaker::login(server.address(), &bob.token).await;
    speaker.send(&Request::Upload(known("a", &corpus))).await;
    assert!(matches!(answer(&mut speaker).await, Reply::Upload(_)));
}

/// Many want copies at once: each gets its document, by a copy or by being asked.
#[tokio::test(flavor = "multi_thread")]
async fn many_copies_at_once() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK, 508);
    put(&mut server.speaker().await, "a", &corpus).await;
    let mut wishes = Vec::new();
    for n in 0..12 {
        let mut speaker = server.speaker().await;
        let corpus = corpus.clone();
        wishes.push(tokio::spawn(async move {
            // Two of each name.
            speaker.send(&Request::Upload(known(&format!("b{}", n / 2), &corpus))).await;
            if let Reply::Upload(_) = answer(&mut speaker).await {
                speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
                speaker.complete(ZERO).await;
            }
        }));
    }
    for wish in wishes {
        wish.await.unwrap();
    }
    for n in 0..6 {
        server.site.assert_published(&server.person, &format!("b{n}"), &corpus);
    }
}
