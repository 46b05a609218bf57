//! Many uploads on one connection, and nothing waited for.

use towline_protocol::limits::CHANNELS_MAX;
use towline_protocol::request::{About, Complete, Find, Hello, Ping, Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Heard, Speaker, ZERO, find, offset, resume, upload};

fn control(request: Request) -> Vec<u8> {
    frame::control(&request)
}

fn chunk(channel: Channel, at: usize, payload: &[u8]) -> Vec<u8> {
    let head = frame::chunk_head(channel, offset(at), u32::try_from(payload.len()).unwrap());
    [&head[..], payload].concat()
}

/// `upload`, chunk and `complete` of a small file.
fn whole(channel: Channel, name: &str, corpus: &Corpus) -> Vec<u8> {
    let mut bytes = control(Request::Upload(Upload { channel, ..upload(name, corpus) }));
    if corpus.size() > 0 {
        bytes.extend(chunk(channel, 0, &corpus.bytes));
    }
    bytes.extend(control(Request::Complete(Complete { channel, ..Complete::default() })));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_small_files_in_one_piece() {
    let server = TestServer::start().await;
    let hello =
        Hello { channel: ZERO, version: 1, token: server.person.token.clone(), client: None };
    let mut bytes = control(Request::Hello(hello));
    let files: Vec<Corpus> = (0..200).map(|i| Corpus::new(i * 37, 70 + i as u64)).collect();
    for (i, corpus) in files.iter().enumerate() {
        let channel = Channel(u32::try_from(i).unwrap());
        bytes.extend(whole(channel, &format!("small {i}.bin"), corpus));
    }
    let mut speaker = Speaker::connect(server.address()).await;
    speaker.send_raw(&bytes).await;
    assert!(matches!(speaker.reply_on(ZERO).await, Reply::Welcome(_)));
    for (i, corpus) in files.iter().enumerate() {
        let channel = Channel(u32::try_from(i).unwrap());
        let Reply::Upload(granted) = speaker.reply_on(channel).await else { panic!("{i}") };
        let success = speaker.success_on(channel).await;
        assert_eq!((success.document_id, success.blake3), (granted.document_id, corpus.hash()));
        server.site.assert_published(&server.person, &format!("small {i}.bin"), corpus);
    }
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_channel_for_file_after_file() {
    let server = TestServer::start().await;
    let files: Vec<Corpus> = (0..30).map(|i| Corpus::new(i * 1001, 300 + i as u64)).collect();
    let mut bytes = Vec::new();
    for (i, corpus) in files.iter().enumerate() {
        bytes.extend(whole(ZERO, &format!("{i}.bin"), corpus));
    }
    let mut speaker = server.speaker().await;
    speaker.send_raw(&bytes).await;
    for (i, corpus) in files.iter().enumerate() {
        assert!(matches!(speaker.reply_on(ZERO).await, Reply::Upload(_)), "{i}");
        assert_eq!(speaker.success_on(ZERO).await.blake3, corpus.hash());
        server.site.assert_published(&server.person, &format!("{i}.bin"), corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_by_turns_on_one_connection() {
    let server = TestServer::start().await;
    let mut chance = chance();
    let files: Vec<Corpus> = (0..12).map(|i| Corpus::new(BLOCK + 50_000 * i, 90)).collect();
    let mut speaker = server.speaker().await;
    // Numbers from the whole range.
    let channels: Vec<Channel> =
        (0..12).map(|i| Channel(if i % 2 == 0 { i } else { u32::MAX - 1 - i })).collect();
    for (i, corpus) in files.iter().enumerate() {
        let begin = Upload {
            channel: channels[i],
            blocks: i % 3 == 0,
            ..upload(&format!("turn {i}.bin"), corpus)
        };
        speaker.upload(begin).await;
    }
    let mut at = vec![0; files.len()];
    let open = |at: &[usize]| (0..12).filter(|&i| at[i] < files[i].size()).collect::<Vec<_>>();
    while let Some(i) = chance.choice(open(&at)) {
        let end = (at[i] + chance.usize(1..200_000)).min(files[i].size());
        speaker.chunk(channels[i], at[i], &files[i].bytes[at[i]..end]).await;
        if i % 3 == 0 {
            for index in at[i] / BLOCK..files[i].block_count() {
                let block_end = files[i].block_end(index);
                if block_end > at[i] && block_end <= end {
                    speaker.announce(channels[i], index, files[i].value(index)).await;
                }
            }
        }
        at[i] = end;
    }
    for channel in &channels {
        let complete = Complete { channel: *channel, ..Complete::default() };
        speaker.send(&Request::Complete(complete)).await;
    }
    for (i, corpus) in files.iter().enumerate() {
        assert_eq!(speaker.success_on(channels[i]).await.blake3, corpus.hash(), "{i}");
        server.site.assert_published(&server.person, &format!("turn {i}.bin"), corpus);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_channel_gets_one_error_and_disturbs_nobody() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(5000, 91);
    let channel = |i: u32| Channel(i);
    let mut bytes = Vec::new();
    for i in 0..40 {
        let name = format!("{i}.bin");
        match i {
            // A name that is refused.
            10 => bytes.extend(whole(channel(i), "../x", &corpus)),
            // Chunks that begin elsewhere.
            20 => {
                bytes.extend(control(Request::Upload(Upload {
                    channel: channel(i),
                    ..upload(&name, &corpus)
                })));
                bytes.extend(chunk(channel(i), 7, &corpus.bytes[7..100]));
                bytes.extend(chunk(channel(i), 100, &corpus.bytes[100..]));
                bytes.extend(control(Request::Complete(Complete {
                    channel: channel(i),
                    ..Complete::default()
                })));
            }
            // More than was announced.
            30 => {
                let less = Corpus::new(4000, 91);
                bytes.extend(control(Request::Upload(Upload {
                    channel: channel(i),
                    ..upload(&name, &less)
                })));
                bytes.extend(chunk(channel(i), 0, &corpus.bytes));
                bytes.extend(chunk(channel(i), 5000, &corpus.bytes));
                bytes.extend(control(Request::Complete(Complete {
                    channel: channel(i),
                    ..Complete::default()
                })));
            }
            _ => bytes.extend(whole(channel(i), &name, &corpus)),
        }
    }
    let mut speaker = server.speaker().await;
    speaker.send_raw(&bytes).await;
    for i in 0..40 {
        match i {
            10 => {
                speaker.error_on(channel(i), Code::BadName).await;
            }
            20 => {
                assert!(matches!(speaker.reply_on(channel(i)).await, Reply::Upload(_)));
                let error = speaker.error_on(channel(i), Code::OffsetMismatch).await;
                assert_eq!(error.expected, Some(offset(0)));
            }
            30 => {
                assert!(matches!(speaker.reply_on(channel(i)).await, Reply::Upload(_)));
                let error = speaker.error_on(channel(i), Code::SizeExceeded).await;
                assert_eq!(error.max, Some(4000));
            }
            _ => {
                assert!(matches!(speaker.reply_on(channel(i)).await, Reply::Upload(_)));
                assert_eq!(speaker.success_on(channel(i)).await.blake3, corpus.hash());
            }
        }
    }
    speaker.ping().await;
    let rest = speaker.heard_so_far();
    assert!(rest.iter().all(|h| matches!(h, Heard::Reply(Reply::Progress(_)))), "{rest:?}");
    // A refused channel is good again with the next upload.
    speaker.send_raw(&whole(channel(10), "good.bin", &corpus)).await;
    assert!(matches!(speaker.reply_on(channel(10)).await, Reply::Upload(_)));
    assert_eq!(speaker.success_on(channel(10)).await.blake3, corpus.hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_was_never_bound() {
    let server = TestServer::start().await;
    let mut speaker = server.speaker().await;
    for i in 1..4 {
        let channel = Channel(i);
        let complete = || Request::Complete(Complete { channel, ..Complete::default() });
        match i {
            1 => speaker.chunk(channel, 0, b"xyz").await,
            2 => speaker.send(&complete()).await,
            _ => speaker.send_json(r#"{"action":"withdraw","channel":3,"ranges":[[0,1]]}"#).await,
        }
        speaker.error_on(channel, Code::BadState).await;
        speaker.chunk(channel, 3, b"abc").await;
        speaker.send(&complete()).await;
        speaker.ping().await;
        assert_eq!(speaker.heard_so_far(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_success_the_channel_is_free() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(5000, 92);
    let mut speaker = server.speaker().await;
    speaker.send_raw(&whole(ZERO, "a.bin", &corpus)).await;
    speaker.reply_on(ZERO).await;
    let receipt = speaker.success_on(ZERO).await;
    // Late chunks and blocks: without a word.
    speaker.chunk(ZERO, 0, &corpus.bytes).await;
    speaker.chunk(ZERO, 9000, &corpus.bytes).await;
    speaker.announce(ZERO, 0, corpus.value(0)).await;
    assert_eq!(speaker.complete(ZERO).await, receipt, "the same receipt");
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_bound_anew_pauses_what_it_had() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 93);
    let mut speaker = server.speaker().await;
    let first = speaker.upload(upload("first.bin", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..123_456).await;
    let second = speaker.upload(upload("second.bin", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..BLOCK).await;
    assert!(!speaker.status(first).await.active);
    assert!(speaker.status(second).await.active);
    assert_eq!(speaker.complete(ZERO).await.document_id, second);
    let granted = speaker.resume(Resume { channel: ZERO, ..resume(first) }).await;
    assert_eq!(granted.offset, offset(123_456));
    speaker.chunks(ZERO, &corpus, 123_456..BLOCK).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
}

/// A connection on which as many channels are in use as may be: numbers 0 to 1023.
async fn all_bound(server: &TestServer, corpus: &Corpus) -> Speaker {
    let mut speaker = server.speaker().await;
    let channels = || (0..u32::try_from(CHANNELS_MAX).unwrap()).map(Channel);
    let mut begin = Vec::new();
    for channel in channels() {
        let upload = Upload { channel, ..upload(&format!("{channel}.bin"), corpus) };
        begin.extend(control(Request::Upload(upload)));
    }
    speaker.send_raw(&begin).await;
    for channel in channels() {
        assert!(matches!(speaker.reply_on(channel).await, Reply::Upload(_)), "{channel}");
    }
    speaker
}

/// Questions name what they are about: their channel only says where the answer goes.
#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_on_any_channel_while_all_are_in_use() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(1000, 310);
    let document_id = server.speaker().await.upload(upload("asked.bin", &corpus)).await.document_id;
    let mut speaker = all_bound(&server, &corpus).await;
    for round in 0..300 {
        let channel = Channel(5000 + round);
        let about = About { channel, document_id };
        for request in [
            Request::Status(about.clone()),
            Request::Blocks(about.clone()),
            Request::Find(Find { channel, ..find("asked.bin", corpus.filesize()) }),
            Request::Ping(Ping { channel }),
        ] {
            speaker.send(&request).await;
        }
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.push(speaker.reply_on(channel).await);
        }
        // `ping` may overtake; the others come in their order.
        heard.retain(|reply| !matches!(reply, Reply::Ping(_)));
        assert!(
            matches!(heard[..], [Reply::Status(_), Reply::Blocks(_), Reply::Find(_)]),
            "{heard:?}"
        );
    }
    // What binds a channel is refused as before, and where a question was asked too.
    let channel = Channel(5001);
    let more = Upload { channel, ..upload("more.bin", &corpus) };
    speaker.upload_refused(more, Code::TooMany).await;
    speaker.send(&Request::Cancel(About { channel, document_id })).await;
    assert!(matches!(speaker.reply_on(channel).await, Reply::Cancel(_)));
}

/// A client that has heard `SUCCESS`, or that a channel is refused, may use another channel
/// at once: the server's bookkeeping is done before it says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_free_when_success_is_said() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(1000, 311);
    let mut speaker = all_bound(&server, &corpus).await;
    // Others keep the server busy.
    let mut others = tokio::task::JoinSet::new();
    for number in 0..4 {
        let mut other = server.speaker().await;
        let corpus = corpus.clone();
        others.spawn(async move {
            for round in 0.. {
                other.send_raw(&whole(ZERO, &format!("{number} {round}"), &corpus)).await;
                assert!(matches!(other.reply_on(ZERO).await, Reply::Upload(_)));
                other.success_on(ZERO).await;
            }
        });
    }
    let mut bound: Vec<_> = (0..u32::try_from(CHANNELS_MAX).unwrap()).map(Channel).collect();
    for round in 0..400u32 {
        let place = round as usize % bound.len();
        let (channel, next) = (bound[place], Channel(10_000 + round));
        speaker.chunk(channel, 0, &corpus.bytes).await;
        speaker.send(&Request::Complete(Complete { channel, ..Complete::default() })).await;
        speaker.success_on(channel).await;
        let begin = Upload { channel: next, ..upload(&format!("next {round}"), &corpus) };
        speaker.upload(begin).await;
        bound[place] = next;
    }
    others.abort_all();
}
