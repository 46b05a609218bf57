//! TCP keeps the order of bytes and nothing else: frames come in pieces, several at
//! once, or half.

use towline_protocol::frame;
use towline_protocol::request::{Complete, Hello, Resume, Upload};
use towline_protocol::{Reply, Request};
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Heard, Speaker, ZERO, offset, position, resume, upload};

/// A frame of each kind, in the order in which an upload sends them.
fn whole_upload(token: &str, begin: Request, corpus: &Corpus, from: usize) -> Vec<Vec<u8>> {
    let hello = Hello { channel: ZERO, version: 1, token: token.to_owned(), client: None };
    let mut frames = vec![frame::control(&Request::Hello(hello)), frame::control(&begin)];
    for index in from / BLOCK..corpus.block_count() {
        let mut at = from.max(index * BLOCK);
        while at < corpus.block_end(index) {
            let end = (at + 50_001).min(corpus.block_end(index));
            let length = u32::try_from(end - at).unwrap();
            let head = frame::chunk_head(ZERO, offset(at), length);
            frames.push([&head[..], &corpus.bytes[at..end]].concat());
            at = end;
        }
        let number = towline_types::BlockIndex::new(index as u64).unwrap();
        frames.push(frame::block(ZERO, number, corpus.value(index)).to_vec());
    }
    let complete = Complete { blake3: Some(corpus.hash()), ..Complete::default() };
    frames.push(frame::control(&Request::Complete(complete)));
    frames
}

/// Waits for the receipt, whatever else is said before.
async fn receipt(speaker: &mut Speaker, corpus: &Corpus) {
    let heard =
        speaker.until("SUCCESS", |heard| matches!(heard, Heard::Reply(Reply::Success(_)))).await;
    let Some(Heard::Reply(Reply::Success(success))) = heard.last() else { unreachable!() };
    assert_eq!(success.blake3, corpus.hash());
    let is_error = |heard: &Heard| matches!(heard, Heard::Reply(Reply::Error(_)));
    assert!(!heard.iter().any(is_error), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_frames_in_one_piece() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK + 77, 100);
    let begin = Request::Upload(Upload { blocks: true, ..upload("a.bin", &corpus) });
    let frames = whole_upload(&server.person.token, begin, &corpus, 0).concat();
    let mut speaker = Speaker::connect(server.address()).await;
    speaker.send_raw(&frames).await;
    receipt(&mut speaker, &corpus).await;
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

/// Both directions, byte by byte, through a cut in the middle of every kind of frame.
#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time_through_cuts_in_every_frame() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3000, 101);
    let one_byte = || Faults { segment: Some(1), ..Faults::none() };
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(one_byte());
    let mut first = server.speaker().await;
    let begin = Upload { blocks: true, ..upload("a.bin", &corpus) };
    let document_id = first.upload(begin).await.document_id;
    drop(first);

    // The frames of a resume, with a cut in length, kind, head and body of each.
    let mut from = 0;
    let mut cuts = 0;
    for number in 0..4 {
        for within in [1, 4, 5, 12, 17, 20] {
            let wish = Resume { blocks: true, ..resume(document_id) };
            let frames = whole_upload(&server.person.token, Request::Resume(wish), &corpus, from);
            // `complete` is left out: cut or not, it would be the end.
            let Some(frame) = frames[..frames.len() - 1].get(number) else { continue };
            if within >= frame.len() {
                continue;
            }
            let before: usize = frames[..number].iter().map(Vec::len).sum();
            proxy.plan([Faults { cut_after: Some((before + within) as u64), ..one_byte() }]);
            let mut speaker = Speaker::connect(proxy.address()).await;
            let _ = speaker.try_send_raw(&frames.concat()).await;
            speaker.ended().await;
            cuts += 1;
            // What has come of a chunk that was cut counts, and not a byte more.
            let sent = if number == 2 { within.saturating_sub(17) } else { 0 };
            let whole = if number > 2 { corpus.size() - from } else { 0 };
            let mut other = server.speaker().await;
            // The server may still be at it.
            other.has_received(document_id, from + sent + whole).await;
            let wish = Resume { blocks: true, ..resume(document_id) };
            let now = position(other.resume(wish).await.offset);
            assert_eq!(now, from + sent + whole, "cut in frame {number} after {within} bytes");
            from = now;
        }
    }
    println!("{cuts} cuts");
    assert!(cuts >= 15, "only {cuts} cuts");
    let wish = Request::Resume(Resume { blocks: true, ..resume(document_id) });
    let frames = whole_upload(&server.person.token, wish, &corpus, from);
    let mut speaker = Speaker::connect(proxy.address()).await;
    speaker.send_raw(&frames.concat()).await;
    receipt(&mut speaker, &corpus).await;
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

/// Pieces of any length, cut anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_any_length_through_cuts_anywhere() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(2 * BLOCK + 12_345, 102);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut chance = chance();
    let mut first = server.speaker().await;
    let document_id = first.upload(upload("a.bin", &corpus)).await.document_id;
    drop(first);
    let (mut received, mut sent) = (0, 0);
    for _ in 0..20 {
        // What is left reaches beyond any cut, or the upload would be completed.
        if corpus.size() - received < 250_000 {
            break;
        }
        let cut = chance.u64(1..200_000);
        let segment = Some(chance.usize(1..3000));
        proxy.plan([Faults { cut_after: Some(cut), segment, ..Faults::none() }]);
        let mut speaker = Speaker::connect(proxy.address()).await;
        let begin = Request::Resume(resume(document_id));
        let mut frames = whole_upload(&server.person.token, begin, &corpus, received).concat();
        frames.truncate(usize::try_from(cut).unwrap() + 10);
        let _ = speaker.try_send_raw(&frames).await;
        speaker.ended().await;
        let mut other = server.speaker().await;
        let now = position(other.resume(resume(document_id)).await.offset);
        // An earlier connection may have been heard to its end only now.
        sent = sent.max(received + usize::try_from(cut).unwrap());
        assert!((received..=sent).contains(&now), "{received} → {now}, {sent} were sent");
        received = now;
    }
    let mut speaker = server.speaker().await;
    let received = position(speaker.resume(resume(document_id)).await.offset);
    speaker.chunks(ZERO, &corpus, received..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    server.site.assert_published(&server.person, "a.bin", &corpus);
}
