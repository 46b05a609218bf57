//! A small file that is sent at once. It takes the one-shot path, which a client can tell only by
//! the shorter time. An error in it is answered as on the resumable path.

use crate::verify::verify;
use std::fs;
use towline_engine::Durability;
use towline_protocol::reply::Success;
use towline_protocol::request::{Complete, Find, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::one_shot_frames::one_shot_frames;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, about, find, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;
use towline_types::{DocumentId, OnConflict, UserId};

async fn sent(client: &mut RawClient, upload: Upload, test_file: &TestFile) -> Success {
    let channel = upload.channel;
    client.send_raw(&one_shot_frames(upload, test_file)).await;
    let reply = client.reply_on(channel).await;
    let Reply::Upload(granted) = reply else { panic!("{reply:?}") };
    let success = client.success_on(channel).await;
    assert_eq!(success.document_id, granted.document_id);
    assert_eq!((granted.offset.get(), granted.filesize), (0, test_file.filesize()));
    success
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_shot_upload_has_the_usual_receipt_and_row() {
    for durability in BOTH {
        let mut server =
            TestServer::start_with(move |config| config.engine.durability = durability).await;
        let mut client = server.client().await;
        let test_file = TestFile::new(60_000, 1000);
        let wish = Upload { folder: vec!["a".into(), "b".into()], ..upload("doc", &test_file) };
        let first = sent(&mut client, wish, &test_file).await;
        let is_durable = durability == Durability::Durable;
        assert_eq!(
            (first.durable, first.existing, first.blake3),
            (is_durable, false, test_file.hash())
        );
        // Another client gets the same receipt, also after a restart.
        for _ in 0..2 {
            let id = Some(first.document_id);
            let again = Complete { document_id: id, ..Complete::default() };
            let mut other = server.client().await;
            let second = other.complete_with(again).await;
            assert!(second.durable);
            let what = |success: &Success| (success.created_at, success.folder.clone());
            assert_eq!(what(&second), what(&first));
            let status = other.status(first.document_id).await;
            let durable = status.durable.get();
            assert_eq!((status.status.as_str(), durable), ("completed", 60_000));
            server.restart().await;
        }
        server.site.assert_published(&server.user, "a/b/doc", &test_file);
    }
}

const BOTH: [Durability; 2] = [Durability::Durable, Durability::Relaxed];

#[tokio::test(flavor = "multi_thread")]
async fn a_one_shot_upload_of_a_taken_name_gets_a_number_or_is_refused() {
    for durability in BOTH {
        let server =
            TestServer::start_with(move |config| config.engine.durability = durability).await;
        let mut client = server.client().await;
        let [first, second] = [1001, 1002].map(|seed| TestFile::new(100, seed));
        assert_eq!(sent(&mut client, upload("doc", &first), &first).await.filename, "doc");
        assert_eq!(sent(&mut client, upload("doc", &second), &second).await.filename, "doc (1)");
        let reject = |name| Upload { on_conflict: OnConflict::Reject, ..upload(name, &second) };
        client.send_raw(&one_shot_frames(reject("doc"), &second)).await;
        client.error_on(ZERO, Code::Exists).await;
        // A file of another program, which has no row, stays, and the document gets another name.
        let note = server.site.document(&server.user, "note");
        fs::write(&note, "of a person").unwrap();
        let success = sent(&mut client, upload("note", &second), &second).await;
        assert_eq!(success.filename, "note (1)");
        // Where no other name is allowed, no upload begins.
        client.send_raw(&one_shot_frames(reject("note"), &second)).await;
        let error = client.error_on(ZERO, Code::Exists).await;
        assert_eq!(error.document_id, None);
        assert_eq!(fs::read(note).unwrap(), b"of a person");
        assert_eq!(server.site.staged_names(), [""; 0]);
    }
}

/// `complete` may be about another document, with a request that was waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_about_another_document_ends_no_one_shot_upload() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let [first, second] = [1008, 1009].map(|seed| TestFile::new(100, seed));
    let done = sent(&mut client, upload("first", &first), &first).await.document_id;
    let mut frames = one_shot_frames(upload("second", &second), &second);
    let complete = (0..2).fold(0, |at, _| at + frame_length(&frames[at..]));
    frames.truncate(complete);
    let about = Complete { document_id: Some(done), ..Complete::default() };
    frames.extend_from_slice(&frame::control(&Request::Complete(about)));
    client.send_raw(&frames).await;
    let reply = client.reply_on(ZERO).await;
    let Reply::Upload(granted) = reply else { panic!("{reply:?}") };
    assert_eq!(client.success_on(ZERO).await.document_id, done);
    assert_eq!(client.status(granted.document_id).await.status, "uploading");
    assert_eq!(client.complete(ZERO).await.filename, "second");
}

/// Every error is found on the resumable path, which answers it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_one_shot_upload_is_answered_as_a_long_one() {
    let limit = towline_types::FileSize::try_from(50_000).unwrap();
    let server = TestServer::start_with(move |config| config.engine.max_filesize = limit).await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100, 1003);
    let large = TestFile::new(50_001, 1004);
    let stranger = UserId::try_from(99).unwrap();
    let wrong = [
        (upload("doc", &large), &large, Code::SizeLimit),
        (upload("../doc", &test_file), &test_file, Code::BadName),
        (
            Upload { user_id: Some(stranger), ..upload("doc", &test_file) },
            &test_file,
            Code::WrongUser,
        ),
    ];
    for (wish, test_file, code) in wrong {
        client.send_raw(&one_shot_frames(wish, test_file)).await;
        client.error_on(ZERO, code).await;
    }
    assert_eq!(server.site.staged_names(), [""; 0]);
    sent(&mut client, upload("other", &test_file), &test_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_shot_upload_through_a_document_is_refused() {
    for durability in BOTH {
        let server =
            TestServer::start_with(move |config| config.engine.durability = durability).await;
        let mut client = server.client().await;
        let test_file = TestFile::new(100, 1010);
        sent(&mut client, upload("doc", &test_file), &test_file).await;
        for _ in 0..3 {
            let through = Upload { folder: vec!["doc".into()], ..upload("below", &test_file) };
            client.send_raw(&one_shot_frames(through, &test_file)).await;
            client.error_on(ZERO, Code::Exists).await;
        }
        // No row and no file are left of it, and it has not taken the name.
        let below = Find { folder: vec!["doc".into()], ..find("below", test_file.filesize()) };
        assert_eq!(client.find(below).await.unfinished, None);
        assert_eq!(server.site.staged_names(), [""; 0]);
        server.site.assert_published(&server.user, "doc", &test_file);
    }
}

/// Bytes with another hash than the client has named: the upload waits for other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_one_shot_upload_with_another_hash_is_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100, 1005);
    let mut frames = one_shot_frames(upload("doc", &test_file), &test_file);
    let at = frames.windows(100).position(|bytes| bytes == test_file.bytes).unwrap();
    frames[at + 7] ^= 1;
    client.send_raw(&frames).await;
    let reply = client.reply_on(ZERO).await;
    let Reply::Upload(granted) = reply else { panic!("{reply:?}") };
    let error = client.error_on(ZERO, Code::HashMismatch).await;
    assert_eq!(error.document_id, Some(granted.document_id));
    assert!(!server.site.document(&server.user, "doc").exists());
}

/// A client can guess the upload's number as soon as it has a row.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_about_a_one_shot_upload_waits_until_it_is_published() {
    for arguments in [&[][..], &["--durability", "relaxed"]] {
        let site = Site::new();
        let user = site.add_user("ada").await;
        let launch = Launch::without_reserve(&site).arguments(arguments);
        let launch = launch.failpoints("publish.row_publishing=wait:2000@1");
        let server = launch.start().await;
        let test_file = TestFile::new(4096, 1006);
        let mut writer = server.client(&user).await;
        let mut guesser = server.client(&user).await;
        writer.send_raw(&one_shot_frames(upload("doc", &test_file), &test_file)).await;
        server.says("a failpoint waits").await;
        let first = DocumentId::MIN;
        // `verify`, which looks at the disk meanwhile, does not report it as missing.
        assert!(verify(&site, &[]).await.is_well());
        assert!(writer.heard_so_far().is_empty(), "it was still waiting");
        guesser.send(&Request::Resume(resume(first))).await;
        assert_eq!(guesser.success_on(ZERO).await.blake3, test_file.hash());
        assert_eq!(guesser.status(first).await.status, "completed");
        guesser.send(&Request::Cancel(about(first))).await;
        guesser.error(Code::BadState).await;
        assert!(matches!(writer.reply_on(ZERO).await, Reply::Upload(_)));
        assert_eq!(writer.success_on(ZERO).await.blake3, test_file.hash());
        server.assert_calm();
        server.gone().await;
    }
}

/// The rest of a small file may come later: then the file takes the resumable path.
#[tokio::test(flavor = "multi_thread")]
async fn a_one_shot_upload_cut_between_any_two_frames_completes() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(2000, 1007);
    for cut in 1..4 {
        let channel = Channel(cut);
        let wish = Upload { channel, blocks: true, ..upload(&format!("doc {cut}"), &test_file) };
        let frames = one_shot_frames(wish, &test_file);
        let cut = (0..cut).fold(0, |at, _| at + frame_length(&frames[at..]));
        client.send_raw(&frames[..cut]).await;
        // The answer comes after the server has handled everything that was sent before.
        client.ping().await;
        client.send_raw(&frames[cut..]).await;
        let reply = client.reply_on(channel).await;
        assert!(matches!(reply, Reply::Upload(_)), "{cut}: {reply:?}");
        assert_eq!(client.success_on(channel).await.blake3, test_file.hash());
    }
}

fn frame_length(bytes: &[u8]) -> usize {
    4 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
}
