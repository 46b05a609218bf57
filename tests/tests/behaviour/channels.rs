//! Many uploads on one connection, by clients that do not wait for answers.

use towline_protocol::limits::CHANNELS_MAX;
use towline_protocol::request::{Complete, DocumentRef, Find, Ping, Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::raw_client::{
    Heard, RawClient, ZERO, chunk_frame, find, hello, offset, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

fn control(request: Request) -> Vec<u8> {
    frame::control(&request)
}

/// `upload`, chunk and `complete` of a small file.
fn whole(channel: Channel, name: &str, test_file: &TestFile) -> Vec<u8> {
    let mut bytes = control(Request::Upload(Upload { channel, ..upload(name, test_file) }));
    if test_file.size() > 0 {
        bytes.extend(chunk_frame(channel, 0, &test_file.bytes));
    }
    bytes.extend(control(Request::Complete(Complete { channel, ..Complete::default() })));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_small_files_in_one_piece() {
    let server = TestServer::start().await;
    let mut bytes = control(hello(&server.user.token));
    let files: Vec<TestFile> = (0..200).map(|i| TestFile::new(i * 37, 70 + i as u64)).collect();
    for (i, test_file) in files.iter().enumerate() {
        let channel = Channel(u32::try_from(i).unwrap());
        bytes.extend(whole(channel, &format!("small {i}.bin"), test_file));
    }
    let mut raw = RawClient::connect(server.address()).await;
    raw.send_raw(&bytes).await;
    assert!(matches!(raw.reply_on(ZERO).await, Reply::Welcome(_)));
    for (i, test_file) in files.iter().enumerate() {
        let channel = Channel(u32::try_from(i).unwrap());
        let Reply::Upload(granted) = raw.reply_on(channel).await else { panic!("{i}") };
        let success = raw.success_on(channel).await;
        assert_eq!((success.document_id, success.blake3), (granted.document_id, test_file.hash()));
        server.site.assert_published(&server.user, &format!("small {i}.bin"), test_file);
    }
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_channel_for_file_after_file() {
    let server = TestServer::start().await;
    let files: Vec<TestFile> = (0..30).map(|i| TestFile::new(i * 1001, 300 + i as u64)).collect();
    let mut bytes = Vec::new();
    for (i, test_file) in files.iter().enumerate() {
        bytes.extend(whole(ZERO, &format!("{i}.bin"), test_file));
    }
    let mut raw = server.client().await;
    raw.send_raw(&bytes).await;
    for (i, test_file) in files.iter().enumerate() {
        assert!(matches!(raw.reply_on(ZERO).await, Reply::Upload(_)), "{i}");
        assert_eq!(raw.success_on(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &format!("{i}.bin"), test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_by_turns_on_one_connection() {
    let server = TestServer::start().await;
    let mut chance = chance();
    let files: Vec<TestFile> = (0..12).map(|i| TestFile::new(BLOCK + 50_000 * i, 90)).collect();
    let mut raw = server.client().await;
    // Channel numbers from the whole range.
    let channels: Vec<Channel> =
        (0..12).map(|i| Channel(if i % 2 == 0 { i } else { u32::MAX - 1 - i })).collect();
    for (i, test_file) in files.iter().enumerate() {
        let begin = Upload {
            channel: channels[i],
            blocks: i % 3 == 0,
            ..upload(&format!("turn {i}.bin"), test_file)
        };
        raw.upload(begin).await;
    }
    let mut at = vec![0; files.len()];
    let open = |at: &[usize]| (0..12).filter(|&i| at[i] < files[i].size()).collect::<Vec<_>>();
    while let Some(i) = chance.choice(open(&at)) {
        let end = (at[i] + chance.usize(1..200_000)).min(files[i].size());
        raw.chunk(channels[i], at[i], &files[i].bytes[at[i]..end]).await;
        if i % 3 == 0 {
            for index in at[i] / BLOCK..files[i].block_count() {
                let block_end = files[i].block_end(index);
                if block_end > at[i] && block_end <= end {
                    raw.announce(channels[i], index, files[i].value(index)).await;
                }
            }
        }
        at[i] = end;
    }
    for channel in &channels {
        let complete = Complete { channel: *channel, ..Complete::default() };
        raw.send(&Request::Complete(complete)).await;
    }
    for (i, test_file) in files.iter().enumerate() {
        assert_eq!(raw.success_on(channels[i]).await.blake3, test_file.hash(), "{i}");
        server.site.assert_published(&server.user, &format!("turn {i}.bin"), test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_channel_gets_one_error_and_disturbs_nobody() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5000, 91);
    let channel = |i: u32| Channel(i);
    let mut bytes = Vec::new();
    for i in 0..40 {
        let name = format!("{i}.bin");
        match i {
            // An upload with a name that is refused.
            10 => bytes.extend(whole(channel(i), "../x", &test_file)),
            // Chunks that do not begin at the offset.
            20 => {
                bytes.extend(control(Request::Upload(Upload {
                    channel: channel(i),
                    ..upload(&name, &test_file)
                })));
                bytes.extend(chunk_frame(channel(i), 7, &test_file.bytes[7..100]));
                bytes.extend(chunk_frame(channel(i), 100, &test_file.bytes[100..]));
                bytes.extend(control(Request::Complete(Complete {
                    channel: channel(i),
                    ..Complete::default()
                })));
            }
            // More bytes than the upload has.
            30 => {
                let less = TestFile::new(4000, 91);
                bytes.extend(control(Request::Upload(Upload {
                    channel: channel(i),
                    ..upload(&name, &less)
                })));
                bytes.extend(chunk_frame(channel(i), 0, &test_file.bytes));
                bytes.extend(chunk_frame(channel(i), 5000, &test_file.bytes));
                bytes.extend(control(Request::Complete(Complete {
                    channel: channel(i),
                    ..Complete::default()
                })));
            }
            _ => bytes.extend(whole(channel(i), &name, &test_file)),
        }
    }
    let mut raw = server.client().await;
    raw.send_raw(&bytes).await;
    for i in 0..40 {
        match i {
            10 => {
                raw.error_on(channel(i), Code::BadName).await;
            }
            20 => {
                assert!(matches!(raw.reply_on(channel(i)).await, Reply::Upload(_)));
                let error = raw.error_on(channel(i), Code::OffsetMismatch).await;
                assert_eq!(error.expected, Some(offset(0)));
            }
            30 => {
                assert!(matches!(raw.reply_on(channel(i)).await, Reply::Upload(_)));
                let error = raw.error_on(channel(i), Code::SizeExceeded).await;
                assert_eq!(error.max, Some(4000));
            }
            _ => {
                assert!(matches!(raw.reply_on(channel(i)).await, Reply::Upload(_)));
                assert_eq!(raw.success_on(channel(i)).await.blake3, test_file.hash());
            }
        }
    }
    raw.ping().await;
    let rest = raw.heard_so_far();
    assert!(rest.iter().all(|h| matches!(h, Heard::Reply(Reply::Progress(_)))), "{rest:?}");
    // A refused channel can be used again for the next upload.
    raw.send_raw(&whole(channel(10), "good.bin", &test_file)).await;
    assert!(matches!(raw.reply_on(channel(10)).await, Reply::Upload(_)));
    assert_eq!(raw.success_on(channel(10)).await.blake3, test_file.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_was_never_bound_is_refused() {
    let server = TestServer::start().await;
    let mut raw = server.client().await;
    for i in 1..4 {
        let channel = Channel(i);
        let complete = || Request::Complete(Complete { channel, ..Complete::default() });
        match i {
            1 => raw.chunk(channel, 0, b"xyz").await,
            2 => raw.send(&complete()).await,
            _ => raw.send_json(r#"{"action":"withdraw","channel":3,"ranges":[[0,1]]}"#).await,
        }
        raw.error_on(channel, Code::BadState).await;
        raw.chunk(channel, 3, b"abc").await;
        raw.send(&complete()).await;
        raw.ping().await;
        assert_eq!(raw.heard_so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_success_the_channel_is_free() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5000, 92);
    let mut raw = server.client().await;
    raw.send_raw(&whole(ZERO, "a.bin", &test_file)).await;
    raw.reply_on(ZERO).await;
    let receipt = raw.success_on(ZERO).await;
    // Late chunks and blocks are dropped without an answer.
    raw.chunk(ZERO, 0, &test_file.bytes).await;
    raw.chunk(ZERO, 9000, &test_file.bytes).await;
    raw.announce(ZERO, 0, test_file.value(0)).await;
    assert_eq!(raw.complete(ZERO).await, receipt, "the same receipt");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_bound_anew_pauses_what_it_had() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 93);
    let mut raw = server.client().await;
    let first = raw.upload(upload("first.bin", &test_file)).await.document_id;
    raw.chunks(ZERO, &test_file, 0..123_456).await;
    let second = raw.upload(upload("second.bin", &test_file)).await.document_id;
    raw.chunks(ZERO, &test_file, 0..BLOCK).await;
    assert!(!raw.status(first).await.active);
    assert!(raw.status(second).await.active);
    assert_eq!(raw.complete(ZERO).await.document_id, second);
    let granted = raw.resume(Resume { channel: ZERO, ..resume(first) }).await;
    assert_eq!(granted.offset, offset(123_456));
    raw.chunks(ZERO, &test_file, 123_456..BLOCK).await;
    assert_eq!(raw.complete(ZERO).await.blake3, test_file.hash());
}

/// A connection with the largest number of channels in use: numbers 0 to 1023.
async fn all_bound(server: &TestServer, test_file: &TestFile) -> RawClient {
    let mut raw = server.client().await;
    let channels = || (0..u32::try_from(CHANNELS_MAX).unwrap()).map(Channel);
    let mut begin = Vec::new();
    for channel in channels() {
        let upload = Upload { channel, ..upload(&format!("{channel}.bin"), test_file) };
        begin.extend(control(Request::Upload(upload)));
    }
    raw.send_raw(&begin).await;
    for channel in channels() {
        assert!(matches!(raw.reply_on(channel).await, Reply::Upload(_)), "{channel}");
    }
    raw
}

/// A question names its document; its channel only says where the answer goes.
#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_on_any_channel_while_all_are_in_use() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(1000, 310);
    let document_id =
        server.client().await.upload(upload("asked.bin", &test_file)).await.document_id;
    let mut raw = all_bound(&server, &test_file).await;
    for round in 0..300 {
        let channel = Channel(5000 + round);
        let about = DocumentRef { channel, document_id };
        for request in [
            Request::Status(about.clone()),
            Request::Blocks(about.clone()),
            Request::Find(Find { channel, ..find("asked.bin", test_file.filesize()) }),
            Request::Ping(Ping { channel }),
        ] {
            raw.send(&request).await;
        }
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.push(raw.reply_on(channel).await);
        }
        // `ping` may be answered before the others; the others are answered in their order.
        heard.retain(|reply| !matches!(reply, Reply::Ping(_)));
        assert!(
            matches!(heard[..], [Reply::Status(_), Reply::Blocks(_), Reply::Find(_)]),
            "{heard:?}"
        );
    }
    // A request that needs a channel is refused as before, also on a channel on which a question
    // was asked.
    let channel = Channel(5001);
    let more = Upload { channel, ..upload("more.bin", &test_file) };
    raw.upload_refused(more, Code::TooMany).await;
    raw.send(&Request::Cancel(DocumentRef { channel, document_id })).await;
    assert!(matches!(raw.reply_on(channel).await, Reply::Cancel(_)));
}

/// A client that has received `SUCCESS` or the refusal of a channel may use another channel at
/// once: the server has freed the channel before it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_free_when_success_is_said() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(1000, 311);
    let mut raw = all_bound(&server, &test_file).await;
    // Other clients keep the server busy.
    let mut others = tokio::task::JoinSet::new();
    for number in 0..4 {
        let mut other = server.client().await;
        let test_file = test_file.clone();
        others.spawn(async move {
            for round in 0.. {
                other.send_raw(&whole(ZERO, &format!("{number} {round}"), &test_file)).await;
                assert!(matches!(other.reply_on(ZERO).await, Reply::Upload(_)));
                other.success_on(ZERO).await;
            }
        });
    }
    let mut bound: Vec<_> = (0..u32::try_from(CHANNELS_MAX).unwrap()).map(Channel).collect();
    for round in 0..400u32 {
        let place = round as usize % bound.len();
        let (channel, next) = (bound[place], Channel(10_000 + round));
        raw.chunk(channel, 0, &test_file.bytes).await;
        raw.send(&Request::Complete(Complete { channel, ..Complete::default() })).await;
        raw.success_on(channel).await;
        let begin = Upload { channel: next, ..upload(&format!("next {round}"), &test_file) };
        raw.upload(begin).await;
        bound[place] = next;
    }
    others.abort_all();
}
