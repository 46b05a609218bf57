//! The server has done what it was asked, and nobody heard of it.

use std::time::Instant;
use towline_protocol::request::{Complete, Resume};
use towline_protocol::{Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::desk::Desk;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::speaker::{Speaker, ZERO, offset, position, resume, upload};

fn deaf() -> Faults {
    Faults { drop_replies: true, ..Faults::none() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_checkpoint_and_not_a_byte_is_sent_twice() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(3 * BLOCK + 5, 140);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut curious = server.speaker().await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    let document_id = speaker.upload(upload("a.bin", &corpus)).await.document_id;
    let mut sent = 0;
    let mut delivered = 0;
    for round in 0..5 {
        let link = proxy.link(round).await;
        link.change(|faults| *faults = deaf());
        let before = link.passed();
        let end = sent + 500_000;
        speaker.chunks(ZERO, &corpus, sent..end).await;
        // It becomes durable, and the word of it is lost.
        let began = Instant::now();
        while curious.status(document_id).await.durable < offset(end) {
            assert!(began.elapsed() < PATIENCE, "it never becomes durable");
        }
        delivered += link.passed() - before;
        link.cut();
        link.ended().await;
        // A new connection asks, and goes on from there.
        speaker = Speaker::login(proxy.address(), &server.person.token).await;
        let status = speaker.status(document_id).await;
        assert_eq!((status.received, status.durable), (offset(end), offset(end)));
        let wish = Resume { offset: Some(status.durable), ..resume(document_id) };
        sent = position(speaker.resume(wish).await.offset);
        assert_eq!(sent, end);
    }
    let link = proxy.link(5).await;
    let before = link.passed();
    speaker.chunks(ZERO, &corpus, sent..corpus.size()).await;
    assert_eq!(speaker.complete(ZERO).await.blake3, corpus.hash());
    delivered += link.passed() - before;
    let heads = delivered - corpus.size() as u64;
    println!("{heads} bytes of framing for {} of file", corpus.size());
    assert!(heads < 2000, "bytes were sent twice");
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_checkpoint_through_towline_put() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(12 * BLOCK, 141);
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    // Nothing passes behind a block and a half, so that what has arrived is known.
    let arrived = 3 * BLOCK / 2;
    proxy.plan([Faults { stall_after: Some(arrived as u64), ..Faults::none() }]);
    let run = desk.start(desk.put(&desk.write("a.bin", &corpus)));
    let link = proxy.link(0).await;
    link.change(|faults| faults.drop_replies = false);
    link.has_passed(arrived as u64).await;
    let mut curious = server.speaker().await;
    let began = Instant::now();
    let find = towline_tests::speaker::find("a.bin", corpus.filesize());
    // All but the framing of it is durable, and the client has not heard of it.
    loop {
        let found = curious.find(find.clone()).await.unfinished;
        if found.is_some_and(|found| position(found.offset) > BLOCK + BLOCK / 3) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it never becomes durable");
    }
    link.cut();
    run.end().await.assert_done();
    server.site.assert_published(&server.person, "a.bin", &corpus);
    let again = proxy.link(1).await.passed() + link.passed() - corpus.size() as u64;
    println!("{again} bytes beyond the file, framing and questions and all");
    // What had arrived of a block that was cut in two counts as well.
    assert!(again < 20_000, "{again} bytes were sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_complete_and_the_receipt_is_the_same_for_ever() {
    let mut server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 1, 142);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut speaker = Speaker::login(proxy.address(), &server.person.token).await;
    let document_id = speaker.upload(upload("a.bin", &corpus)).await.document_id;
    speaker.chunks(ZERO, &corpus, 0..corpus.size()).await;
    proxy.link(0).await.change(|faults| *faults = deaf());
    speaker.send(&Request::Complete(Complete::default())).await;
    let mut curious = server.speaker().await;
    let began = Instant::now();
    while curious.status(document_id).await.status != "completed" {
        assert!(began.elapsed() < PATIENCE, "it is never completed");
    }
    proxy.link(0).await.cut();
    drop(speaker);

    let by_number = || Complete { document_id: Some(document_id), ..Complete::default() };
    let mut other = server.speaker().await;
    let receipt = other.complete_with(by_number()).await;
    assert_eq!((receipt.document_id, receipt.blake3), (document_id, corpus.hash()));
    assert_eq!((receipt.filename.as_str(), receipt.durable), ("a.bin", true));
    // By number, on the channel, by a resume, from a server that was restarted.
    assert_eq!(other.complete(ZERO).await, receipt);
    other.send(&Request::Resume(resume(document_id))).await;
    assert_eq!(other.success_on(ZERO).await, receipt);
    server.restart().await;
    let mut other = server.speaker().await;
    assert_eq!(other.complete_with(by_number()).await, receipt);
    other.send(&Request::Resume(resume(document_id))).await;
    assert!(matches!(other.reply().await, Reply::Success(success) if success == receipt));
    let published: Vec<_> = server.site.on_disk().into_values().filter(|size| *size > 0).collect();
    assert_eq!(published, [corpus.size() as u64], "it is there once");
}
