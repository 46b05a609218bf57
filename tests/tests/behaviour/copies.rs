//! A file whose bytes the server has in another document is not sent again: the server makes the
//! document from those bytes, in its own place, and says so in the receipt.

use std::fs;
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::one_shot_frames::one_shot_frames;
use towline_tests::raw_client::{Heard, RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::OnConflict;

async fn put(client: &mut RawClient, name: &str, test_file: &TestFile) {
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

fn known(name: &str, test_file: &TestFile) -> Upload {
    Upload { blake3: Some(test_file.hash()), ..upload(name, test_file) }
}

fn within(folder: &str, upload: Upload) -> Upload {
    Upload { folder: vec![folder.to_owned()], ..upload }
}

/// The answer to `upload`, without progress reports.
async fn answer(client: &mut RawClient) -> Reply {
    let is_answer = |heard: &Heard| matches!(heard, Heard::Reply(reply) if !matches!(reply, Reply::Progress(_)));
    let mut heard = client.until("an answer", is_answer).await;
    match heard.pop() {
        Some(Heard::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_elsewhere_become_a_document_of_its_own() {
    let mut server = TestServer::start().await;
    for (n, size) in [0, 1, 70_000, BLOCK, 9 * BLOCK + 5].into_iter().enumerate() {
        let test_file = TestFile::new(size, 500);
        let mut client = server.client().await;
        let (old, new) = (format!("{n}.bin"), format!("new {n}.bin"));
        put(&mut client, &old, &test_file).await;
        let mut numbers = Vec::new();
        for begin in [known(&new, &test_file), within("in", known(&old, &test_file))] {
            client.send(&Request::Upload(begin.clone())).await;
            let Reply::Success(success) = answer(&mut client).await else { panic!("no copy") };
            assert!(success.copied && !success.existing && success.durable, "{success:?}");
            assert_eq!((&success.filename, &success.folder), (&begin.filename, &begin.folder));
            assert_eq!(success.blake3, test_file.hash());
            numbers.push(success.document_id);
            // The same request again is answered with the existing document.
            client.send(&Request::Upload(begin)).await;
            let Reply::Success(again) = answer(&mut client).await else { panic!("not there") };
            assert!(again.existing && !again.copied);
            assert_eq!(again.document_id, success.document_id);
        }
        for place in [old, new, format!("in/{n}.bin")] {
            server.site.assert_published(&server.user, &place, &test_file);
        }
        assert_ne!(numbers[0], numbers[1]);
        server.restart().await;
        let mut client = server.client().await;
        client.send(&Request::Upload(within("in", known(&format!("{n}.bin"), &test_file)))).await;
        assert_eq!(client.success_on(ZERO).await.document_id, numbers[1]);
    }
    server.site.state_is_empty().await;
}

/// Each document is a file of its own: a write to one changes no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_no_second_name() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 501);
    let mut client = server.client().await;
    put(&mut client, "a", &test_file).await;
    client.send(&Request::Upload(known("b", &test_file))).await;
    assert!(matches!(answer(&mut client).await, Reply::Success(success) if success.copied));
    fs::write(server.site.document(&server.user, "a"), "mine").unwrap();
    server.site.assert_published(&server.user, "b", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_dealt_with_as_for_any_upload() {
    let server = TestServer::start().await;
    let (test_file, other) = (TestFile::new(70_000, 502), TestFile::new(70_000, 503));
    let mut client = server.client().await;
    put(&mut client, "a", &test_file).await;
    put(&mut client, "b", &other).await;
    let reject = Upload { on_conflict: OnConflict::Reject, ..known("b", &test_file) };
    client.upload_refused(reject, Code::Exists).await;
    for _ in 0..3 {
        client.send(&Request::Upload(known("b", &test_file))).await;
        let Reply::Success(success) = answer(&mut client).await else { panic!("no copy") };
        assert_eq!(success.filename, "b (1)");
    }
    server.site.assert_published(&server.user, "b", &other);
    server.site.assert_published(&server.user, "b (1)", &test_file);
    assert!(!server.site.document(&server.user, "b (2)").exists());
    client.upload_refused(within("a", known("x", &test_file)), Code::Exists).await;
}

/// In a folder whose path leaves room for one digit only, no number is left for another copy. The
/// server then asks for the bytes, and its answer to `complete` says what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_left_for_a_copy() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut folder = vec!["f".repeat(254); 8];
    folder.push("ff".to_owned());
    let here = |upload: Upload| Upload { folder: folder.clone(), ..upload };
    let mut is_full = false;
    for n in 0..11 {
        let test_file = TestFile::new(100 + n, 510);
        client.upload(here(upload("a", &test_file))).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.send(&Request::Complete(Complete::default())).await;
        match answer(&mut client).await {
            Reply::Error(error) if error.code == Code::Exists => is_full = true,
            answer => assert!(matches!(answer, Reply::Success(_)), "{answer:?}"),
        }
    }
    assert!(is_full, "all eleven have found a name");
    for (n, size) in [0, 70_000, 3 * BLOCK].into_iter().enumerate() {
        let test_file = TestFile::new(size, 511);
        put(&mut client, &format!("{n}"), &test_file).await;
        client.send(&Request::Upload(here(known("a", &test_file)))).await;
        let answer = answer(&mut client).await;
        assert!(matches!(answer, Reply::Upload(_)), "{answer:?}");
        client.chunks(ZERO, &test_file, 0..size).await;
        client.complete_refused(Complete::default(), Code::Exists).await;
    }
}

/// The server does not copy a document whose file has changed: it asks the client for the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_source_is_not_copied() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (n, size) in [1, 70_000, 3 * BLOCK + 5].into_iter().enumerate() {
        let test_file = TestFile::new(size, 504);
        let (first, second) = (format!("a{n}"), format!("b{n}"));
        put(&mut client, &first, &test_file).await;
        let path = server.site.document(&server.user, &first);
        let mut bytes = test_file.bytes.clone();
        bytes[size / 2] ^= 1;
        fs::write(&path, bytes).unwrap();
        client.send(&Request::Upload(known(&second, &test_file))).await;
        assert!(matches!(answer(&mut client).await, Reply::Upload(_)), "{size}");
        client.chunks(ZERO, &test_file, 0..size).await;
        let success = client.complete(ZERO).await;
        assert!(!success.copied && !success.existing);
        server.site.assert_published(&server.user, &second, &test_file);
        // One undamaged document is enough, whichever the server reads first.
        client.send(&Request::Upload(known(&format!("c{n}"), &test_file))).await;
        assert!(matches!(answer(&mut client).await, Reply::Success(success) if success.copied));
        server.site.assert_published(&server.user, &format!("c{n}"), &test_file);
    }
    let left = server.site.staged_names();
    assert!(left.is_empty(), "{left:?}");
}

/// A small file whose bytes have arrived is published with those bytes.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_whole_needs_no_copy() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4096, 505);
    let mut client = server.client().await;
    for name in ["a", "b", "a"] {
        let wish = Upload { blocks: true, new_only: true, ..known(name, &test_file) };
        client.send_raw(&one_shot_frames(wish, &test_file)).await;
        let mut success = answer(&mut client).await;
        if let Reply::Upload(_) = success {
            success = answer(&mut client).await;
        }
        assert!(matches!(&success, Reply::Success(one) if !one.copied && one.filename == name));
    }
    server.site.assert_published(&server.user, "a", &test_file);
    server.site.assert_published(&server.user, "b", &test_file);
}

/// Bytes and `complete` that were sent before any answer are dropped, as for a document that exists
/// already.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_gets_the_receipt_twice() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5 * BLOCK + 7, 506);
    let mut client = server.client().await;
    put(&mut client, "a", &test_file).await;
    client.send(&Request::Upload(known("b", &test_file))).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    let Reply::Success(first) = answer(&mut client).await else { panic!("no copy") };
    let again = client.complete(ZERO).await;
    assert_eq!((again.document_id, again.blake3), (first.document_id, test_file.hash()));
    server.site.assert_published(&server.user, "b", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_gets_a_copy_of_another_users_document() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(70_000, 507);
    put(&mut server.client().await, "a", &test_file).await;
    let bob = server.site.add_user("bob").await;
    let mut client = RawClient::login(server.address(), &bob.token).await;
    client.send(&Request::Upload(known("a", &test_file))).await;
    assert!(matches!(answer(&mut client).await, Reply::Upload(_)));
}

/// Many clients ask for copies at the same time: each gets its document, by a copy or by sending
/// the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn many_copies_at_once_all_complete() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK, 508);
    put(&mut server.client().await, "a", &test_file).await;
    let mut wishes = Vec::new();
    for n in 0..12 {
        let mut client = server.client().await;
        let test_file = test_file.clone();
        wishes.push(tokio::spawn(async move {
            // Two clients ask for each name.
            client.send(&Request::Upload(known(&format!("b{}", n / 2), &test_file))).await;
            if let Reply::Upload(_) = answer(&mut client).await {
                client.chunks(ZERO, &test_file, 0..test_file.size()).await;
                client.complete(ZERO).await;
            }
        }));
    }
    for wish in wishes {
        wish.await.unwrap();
    }
    for n in 0..6 {
        server.site.assert_published(&server.user, &format!("b{n}"), &test_file);
    }
}
