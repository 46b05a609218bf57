//! The progress reports of the server while bytes arrive.

use std::time::{Duration, Instant};
use towline_protocol::request::Upload;
use towline_protocol::{Channel, Reply};
use towline_tests::raw_client::{CHUNK, Heard, ZERO, chunk_frames, offset, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_after_the_first_chunk_in_words_for_people() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 100);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    let sent = Instant::now();
    client.chunks(ZERO, &test_file, 0..CHUNK).await;
    let mut report = client.progress().await;
    println!("first progress after {:?}", sent.elapsed());
    assert_eq!((report.document_id, report.filesize), (document_id, test_file.filesize()));
    assert!(report.received > offset(0));
    while report.received < offset(CHUNK) {
        report = client.progress().await;
    }
    assert_eq!(report.received, offset(CHUNK));
    assert_eq!(report.progress, "65536/1048576 bytes");
    while report.durable < offset(CHUNK) {
        report = client.progress().await;
    }
    println!("durable after {:?}", sent.elapsed());
    // By the server's settings it takes 1 s; the rest is for a slow disk.
    assert!(sent.elapsed() < Duration::from_secs(8));
    assert_eq!((report.received, report.durable), (offset(CHUNK), offset(CHUNK)));
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_never_leads_and_neither_goes_back() {
    let server = TestServer::start_with(|config| {
        config.engine.timings.checkpoint = Duration::from_millis(20);
        config.engine.timings.report = Duration::from_millis(1);
    })
    .await;
    let test_file = TestFile::new(12 * BLOCK, 101);
    let mut client = server.client().await;
    client.upload(upload("doc.pdf", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size() - 1).await;
    client.progress_that("all durable", |p| p.durable == offset(test_file.size() - 1)).await;
    client.chunks(ZERO, &test_file, test_file.size() - 1..test_file.size()).await;
    let mut client = {
        let success = client.complete(ZERO).await;
        assert_eq!(success.blake3, test_file.hash());
        client
    };
    let (mut received, mut durable, mut count) = (offset(0), offset(0), 0);
    for heard in client.heard_so_far() {
        let Heard::Reply(Reply::Progress(progress)) = heard else { panic!("{heard:?}") };
        assert!(progress.durable <= progress.received, "{progress:?}");
        assert!(progress.received <= offset(test_file.size()));
        assert!(progress.received >= received && progress.durable >= durable, "{progress:?}");
        (received, durable, count) = (progress.received, progress.durable, count + 1);
    }
    println!("{count} reports of progress");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_does_not_come_for_every_chunk() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(300_000, 102);
    let mut client = server.client().await;
    client.upload(upload("crumbs.bin", &test_file)).await;
    let frames: Vec<u8> =
        chunk_frames(ZERO, &test_file, 0..test_file.size(), 100).flatten().collect();
    let begun = Instant::now();
    client.send_raw(&frames).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    let reports = client.heard_so_far().len();
    println!("{reports} reports for 3000 chunks in {:?}", begun.elapsed());
    assert!(reports < 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_progress_of_a_pause_says_that_all_is_durable() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 103);
    let mut client = server.client().await;
    let mut begun = Vec::new();
    for i in 0..5u32 {
        let channel = Channel(i);
        let begin =
            Upload { channel, blocks: i % 2 == 1, ..upload(&format!("{i}.bin"), &test_file) };
        let document_id = client.upload(begin).await.document_id;
        let received = 100_003 * (i as usize + 1);
        client.chunks(channel, &test_file, 0..received).await;
        begun.push((document_id, received));
    }
    let last = client.pause().await;
    for (document_id, received) in begun {
        let report = last.iter().find(|p| p.document_id == document_id).expect("a last report");
        assert_eq!((report.received, report.durable), (offset(received), offset(received)));
        assert_eq!(report.progress, format!("{received}/2097152 bytes"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_middle_of_a_chunk_keeps_what_came_of_it() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 104);
    let mut client = server.client().await;
    client.upload(upload("doc.pdf", &test_file)).await;
    let head = towline_protocol::frame::chunk_head(ZERO, offset(0), 65_536);
    client.send_raw(&head).await;
    client.send_raw(&test_file.bytes[..50_000]).await;
    let last = client.pause().await;
    assert_eq!(last.len(), 1);
    assert_eq!((last[0].received, last[0].durable), (offset(50_000), offset(50_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_further_on_do_not_move_progress() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK, 105);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("order.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.block(ZERO, &test_file, 3).await;
    client.block(ZERO, &test_file, 1).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    assert_eq!(client.status(document_id).await.received, offset(1000));
    client.chunks(ZERO, &test_file, 1000..BLOCK).await;
    client.announce(ZERO, 0, test_file.value(0)).await;
    let status = client.status(document_id).await;
    assert_eq!(status.received, offset(2 * BLOCK));
    assert!(status.active);
    let last = client.pause().await;
    assert_eq!((last[0].received, last[0].durable), (offset(2 * BLOCK), offset(2 * BLOCK)));
}

/// 70 kB/s in pieces with gaps so short that none of them counts as a pause.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_steady_sender_gets_progress_and_checkpoints_as_others_do() {
    const STEP: usize = 1400;
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 106);
    let mut client = server.client().await;
    client.upload(upload("slow.bin", &test_file)).await;
    let began = Instant::now();
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    // The times and the number of bytes sent by then; the times and the reports received.
    let (mut sent, mut reports) = (vec![(began, 0)], Vec::new());
    while began.elapsed() < Duration::from_secs(6) {
        clock.tick().await;
        let at = sent[sent.len() - 1].1;
        client.chunk(ZERO, at, &test_file.bytes[at..at + STEP]).await;
        sent.push((Instant::now(), at + STEP));
        reports.extend(client.heard_so_far().into_iter().map(|heard| match heard {
            Heard::Reply(Reply::Progress(progress)) => (Instant::now(), progress),
            other => panic!("{other:?}"),
        }));
    }
    let heard = std::iter::once(began).chain(reports.iter().map(|(at, _)| *at));
    let silences = heard.clone().zip(heard.skip(1).chain([Instant::now()]));
    let longest = silences.map(|(from, to)| to - from).max().unwrap();
    // At each report: how long ago the first byte was sent that is not durable yet.
    let lag = reports.iter().map(|(at, progress)| {
        let first = sent.iter().find(|(_, end)| *end as u64 > progress.durable.get());
        first.map_or(Duration::ZERO, |(sent, _)| at.saturating_duration_since(*sent))
    });
    let lag = lag.max().unwrap();
    println!("{} reports, longest silence {longest:?}, oldest not durable {lag:?}", reports.len());
    assert!(reports.len() >= 15, "{} reports", reports.len());
    // Normally it takes 0.25 s; the rest is for a busy machine.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(lag < Duration::from_secs(2), "{lag:?}");
}
