//! TCP keeps the order of bytes and nothing else: a frame may arrive in pieces, several may arrive
//! together, or a half.

use towline_protocol::frame;
use towline_protocol::request::{Complete, Resume, Upload};
use towline_protocol::{Reply, Request};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{
    Heard, RawClient, ZERO, chunk_frames, hello, position, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

/// A frame of each kind, in the order in which an upload sends them.
fn whole_upload(token: &str, begin: Request, test_file: &TestFile, from: usize) -> Vec<Vec<u8>> {
    let mut frames = vec![frame::control(&hello(token)), frame::control(&begin)];
    for index in from / BLOCK..test_file.block_count() {
        let rest = from.max(index * BLOCK)..test_file.block_end(index);
        frames.extend(chunk_frames(ZERO, test_file, rest, 50_001));
        let number = towline_types::BlockIndex::new(index as u64).unwrap();
        frames.push(frame::block(ZERO, number, test_file.value(index)).to_vec());
    }
    let complete = Complete { blake3: Some(test_file.hash()), ..Complete::default() };
    frames.push(frame::control(&Request::Complete(complete)));
    frames
}

/// Waits for the receipt, and drops other messages before it.
async fn receipt(raw: &mut RawClient, test_file: &TestFile) {
    let heard =
        raw.until("SUCCESS", |heard| matches!(heard, Heard::Reply(Reply::Success(_)))).await;
    let Some(Heard::Reply(Reply::Success(success))) = heard.last() else { unreachable!() };
    assert_eq!(success.blake3, test_file.hash());
    let is_error = |heard: &Heard| matches!(heard, Heard::Reply(Reply::Error(_)));
    assert!(!heard.iter().any(is_error), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_frames_in_one_piece() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK + 77, 100);
    let begin = Request::Upload(Upload { blocks: true, ..upload("a.bin", &test_file) });
    let frames = whole_upload(&server.user.token, begin, &test_file, 0).concat();
    let mut raw = RawClient::connect(server.address()).await;
    raw.send_raw(&frames).await;
    receipt(&mut raw, &test_file).await;
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

/// Both directions pass byte by byte, with a cut in the middle of each kind of frame.
#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time_through_cuts_in_every_frame() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3000, 101);
    let one_byte = || Faults { segment: Some(1), ..Faults::none() };
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(one_byte());
    let mut first = server.client().await;
    let begin = Upload { blocks: true, ..upload("a.bin", &test_file) };
    let document_id = first.upload(begin).await.document_id;
    drop(first);

    // The frames of a resume, with a cut in the length, the kind, the head and the body of each.
    let mut from = 0;
    let mut cuts = 0;
    for number in 0..4 {
        for within in [1, 4, 5, 12, 17, 20] {
            let wish = Resume { blocks: true, ..resume(document_id) };
            let frames = whole_upload(&server.user.token, Request::Resume(wish), &test_file, from);
            // `complete` is left out, because it would complete the upload, cut or not.
            let Some(frame) = frames[..frames.len() - 1].get(number) else { continue };
            if within >= frame.len() {
                continue;
            }
            let before: usize = frames[..number].iter().map(Vec::len).sum();
            proxy.plan([Faults { cut_after: Some((before + within) as u64), ..one_byte() }]);
            let mut raw = RawClient::connect(proxy.address()).await;
            let _ = raw.try_send_raw(&frames.concat()).await;
            raw.ended().await;
            cuts += 1;
            // Exactly the bytes that arrived of a cut chunk count.
            let sent = if number == 2 { within.saturating_sub(17) } else { 0 };
            let whole = if number > 2 { test_file.size() - from } else { 0 };
            let mut other = server.client().await;
            // The server may still be handling them.
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
    let frames = whole_upload(&server.user.token, wish, &test_file, from);
    let mut raw = RawClient::connect(proxy.address()).await;
    raw.send_raw(&frames.concat()).await;
    receipt(&mut raw, &test_file).await;
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

/// Pieces of any length, with cuts anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_any_length_through_cuts_anywhere() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK + 12_345, 102);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut chance = chance();
    let mut first = server.client().await;
    let document_id = first.upload(upload("a.bin", &test_file)).await.document_id;
    drop(first);
    let (mut received, mut sent) = (0, 0);
    for _ in 0..20 {
        // The remaining file must be longer than any cut, or the upload would be completed.
        if test_file.size() - received < 250_000 {
            break;
        }
        let cut = chance.u64(1..200_000);
        let segment = Some(chance.usize(1..3000));
        proxy.plan([Faults { cut_after: Some(cut), segment, ..Faults::none() }]);
        let mut raw = RawClient::connect(proxy.address()).await;
        let begin = Request::Resume(resume(document_id));
        let mut frames = whole_upload(&server.user.token, begin, &test_file, received).concat();
        frames.truncate(usize::try_from(cut).unwrap() + 10);
        let _ = raw.try_send_raw(&frames).await;
        raw.ended().await;
        let mut other = server.client().await;
        let now = position(other.resume(resume(document_id)).await.offset);
        // The server may have read the last bytes of an earlier connection only now.
        sent = sent.max(received + usize::try_from(cut).unwrap());
        assert!((received..=sent).contains(&now), "{received} → {now}, {sent} were sent");
        received = now;
    }
    let mut raw = server.client().await;
    let received = position(raw.resume(resume(document_id)).await.offset);
    raw.chunks(ZERO, &test_file, received..test_file.size()).await;
    assert_eq!(raw.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
