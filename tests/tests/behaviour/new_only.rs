//! An `upload` with `new_only`, sent together with the whole file: it begins a new upload, or is
//! answered with what exists already, and it never makes a second copy.

use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Reply, Request, frame};
use towline_tests::one_shot_frames::one_shot_frames;
use towline_tests::raw_client::{RawClient, ZERO, offset, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

/// Sends `upload`, the bytes and `complete` at once.
async fn throw(client: &mut RawClient, name: &str, test_file: &TestFile) {
    let wish = Upload {
        blake3: Some(test_file.hash()),
        blocks: true,
        new_only: true,
        ..upload(name, test_file)
    };
    client.send_raw(&one_shot_frames(wish, test_file)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_one_trip_and_the_same_words_again_make_no_copy() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(4096, 300);
    let mut client = server.client().await;
    throw(&mut client, "doc.bin", &test_file).await;
    let Reply::Upload(granted) = client.reply_on(ZERO).await else { panic!("it is new") };
    let success = client.success_on(ZERO).await;
    assert_eq!((success.document_id, success.existing), (granted.document_id, false));
    for _ in 0..2 {
        // As from a client that never received SUCCESS. `complete` is answered as well.
        throw(&mut client, "doc.bin", &test_file).await;
        for existing in [true, false] {
            let again = client.success_on(ZERO).await;
            assert_eq!((again.document_id, again.existing), (granted.document_id, existing));
        }
        server.restart().await;
        client = server.client().await;
    }
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    let there = std::fs::read_dir(server.site.documents(&server.user)).unwrap();
    assert_eq!(there.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_beside_an_upload_that_waits() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4096, 301);
    let mut client = server.client().await;
    let begun = client.upload(upload("doc.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.pause().await;

    let mut client = server.client().await;
    throw(&mut client, "doc.bin", &test_file).await;
    let Reply::Find(found) = client.reply_on(ZERO).await else { panic!("one waits") };
    let unfinished = found.unfinished.unwrap();
    assert_eq!((unfinished.document_id, unfinished.offset), (begun, offset(1000)));
    // The rest was dropped without an answer, and the channel accepts the next upload.
    throw(&mut client, "other.bin", &test_file).await;
    assert!(matches!(client.reply_on(ZERO).await, Reply::Upload(_)));
    assert_eq!(client.success_on(ZERO).await.filename, "other.bin");
    assert_eq!(client.status(begun).await.received, offset(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_need_not_be_used_twice() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(10, 302);
    let mut client = server.client().await;
    let mut waiting = std::collections::VecDeque::new();
    // Many more channels than may be in use at a time, each used once; the client waits for no
    // earlier answer.
    for number in 0..3000 {
        let channel = towline_protocol::Channel(number);
        let wish = Upload { channel, ..upload(&format!("{number}.bin"), &test_file) };
        let complete = Complete { channel, ..Complete::default() };
        let mut bytes = frame::control(&Request::Upload(wish));
        bytes.extend_from_slice(&frame::chunk_head(channel, offset(0), 10));
        bytes.extend_from_slice(&test_file.bytes);
        bytes.extend_from_slice(&frame::control(&Request::Complete(complete)));
        client.send_raw(&bytes).await;
        waiting.push_back(channel);
        if waiting.len() > 200 {
            hear(&mut client, waiting.pop_front().unwrap(), &test_file).await;
        }
    }
    for channel in waiting {
        hear(&mut client, channel, &test_file).await;
    }
}

async fn hear(client: &mut RawClient, channel: towline_protocol::Channel, test_file: &TestFile) {
    let reply = client.reply_on(channel).await;
    assert!(matches!(reply, Reply::Upload(_)), "{channel}: {reply:?}");
    assert_eq!(client.success_on(channel).await.blake3, test_file.hash(), "{channel}");
}
