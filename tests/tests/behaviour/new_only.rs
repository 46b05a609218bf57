//! A wish for a new upload alone, with the whole file right behind it: it begins, it is
//! answered with what is there already, and it never makes a second copy.

use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Reply, Request, frame};
use towline_tests::corpus::Corpus;
use towline_tests::parcel::parcel;
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, offset, upload};

/// Says all of it in one go.
async fn throw(speaker: &mut Speaker, name: &str, corpus: &Corpus) {
    let wish = Upload {
        blake3: Some(corpus.hash()),
        blocks: true,
        new_only: true,
        ..upload(name, corpus)
    };
    speaker.send_raw(&parcel(wish, corpus)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_one_trip_and_the_same_words_again_make_no_copy() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(4096, 300);
    let mut speaker = server.speaker().await;
    throw(&mut speaker, "doc.bin", &corpus).await;
    let Reply::Upload(granted) = speaker.reply_on(ZERO).await else { panic!("it is new") };
    let success = speaker.success_on(ZERO).await;
    assert_eq!((success.document_id, success.existing), (granted.document_id, false));
    for _ in 0..2 {
        // As a client does that never heard SUCCESS. `complete` is answered as well.
        throw(&mut speaker, "doc.bin", &corpus).await;
        for existing in [true, false] {
            let again = speaker.success_on(ZERO).await;
            assert_eq!((again.document_id, again.existing), (granted.document_id, existing));
        }
        server.restart().await;
        speaker = server.speaker().await;
    }
    server.site.assert_published(&server.person, "doc.bin", &corpus);
    let there = std::fs::read_dir(server.site.documents(&server.person)).unwrap();
    assert_eq!(there.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_beside_an_upload_that_waits() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(4096, 301);
    let mut speaker = server.speaker().await;
    let begun = speaker.upload(upload("doc.bin", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..1000).await;
    speaker.pause().await;

    let mut speaker = server.speaker().await;
    throw(&mut speaker, "doc.bin", &corpus).await;
    let Reply::Find(found) = speaker.reply_on(ZERO).await else { panic!("one waits") };
    let unfinished = found.unfinished.unwrap();
    assert_eq!((unfinished.document_id, unfinished.offset), (begun, offset(1000)));
    // The rest was dropped without a word, and the channel takes the next.
    throw(&mut speaker, "other.bin", &corpus).await;
    assert!(matches!(speaker.reply_on(ZERO).await, Reply::Upload(_)));
    assert_eq!(speaker.success_on(ZERO).await.filename, "other.bin");
    assert_eq!(speaker.status(begun).await.received, offset(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_need_not_be_used_twice() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(10, 302);
    let mut speaker = server.speaker().await;
    let mut waiting = std::collections::VecDeque::new();
    // Far more than may be in use, and never waiting for the one before.
    for number in 0..3000 {
        let channel = towline_protocol::Channel(number);
        let wish = Upload { channel, ..upload(&format!("{number}.bin"), &corpus) };
        let complete = Complete { channel, ..Complete::default() };
        let mut bytes = frame::control(&Request::Upload(wish));
        bytes.extend_from_slice(&frame::chunk_head(channel, offset(0), 10));
        bytes.extend_from_slice(&corpus.bytes);
        bytes.extend_from_slice(&frame::control(&Request::Complete(complete)));
        speaker.send_raw(&bytes).await;
        waiting.push_back(channel);
        if waiting.len() > 200 {
            hear(&mut speaker, waiting.pop_front().unwrap(), &corpus).await;
        }
    }
    for channel in waiting {
        hear(&mut speaker, channel, &corpus).await;
    }
}

async fn hear(speaker: &mut Speaker, channel: towline_protocol::Channel, corpus: &Corpus) {
    let reply = speaker.reply_on(channel).await;
    assert!(matches!(reply, Reply::Upload(_)), "{channel}: {reply:?}");
    assert_eq!(speaker.success_on(channel).await.blake3, corpus.hash(), "{channel}");
}
