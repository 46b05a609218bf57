//! The server has done what it was asked, and its answer was lost.

use std::time::Instant;
use towline_protocol::request::{Complete, Resume};
use towline_protocol::{Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::CliFixture;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{RawClient, ZERO, offset, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

fn deaf() -> Faults {
    Faults { drop_replies: true, ..Faults::none() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_checkpoint_sends_no_byte_twice() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(3 * BLOCK + 5, 140);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut curious = server.client().await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    let document_id = client.upload(upload("a.bin", &test_file)).await.document_id;
    let mut sent = 0;
    let mut delivered = 0;
    for round in 0..5 {
        let link = proxy.link(round).await;
        link.change(|faults| *faults = deaf());
        let before = link.passed();
        let end = sent + 500_000;
        client.chunks(ZERO, &test_file, sent..end).await;
        // The bytes become durable, and the report about that is lost.
        let began = Instant::now();
        while curious.status(document_id).await.durable < offset(end) {
            assert!(began.elapsed() < PATIENCE, "it never becomes durable");
        }
        delivered += link.passed() - before;
        link.cut();
        link.ended().await;
        // A new connection asks, and continues from that offset.
        client = RawClient::login(proxy.address(), &server.user.token).await;
        let status = client.status(document_id).await;
        assert_eq!((status.received, status.durable), (offset(end), offset(end)));
        let wish = Resume { offset: Some(status.durable), ..resume(document_id) };
        sent = position(client.resume(wish).await.offset);
        assert_eq!(sent, end);
    }
    let link = proxy.link(5).await;
    let before = link.passed();
    client.chunks(ZERO, &test_file, sent..test_file.size()).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    delivered += link.passed() - before;
    let heads = delivered - test_file.size() as u64;
    println!("{heads} bytes of framing for {} of file", test_file.size());
    assert!(heads < 2000, "bytes were sent twice");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_checkpoint_does_not_stop_towline_put() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(12 * BLOCK, 141);
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    // No byte passes after a block and a half, so the test knows which bytes have arrived.
    let arrived = 3 * BLOCK / 2;
    proxy.plan([Faults { stall_after: Some(arrived as u64), ..Faults::none() }]);
    let run = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    let link = proxy.link(0).await;
    link.change(|faults| faults.drop_replies = false);
    link.has_passed(arrived as u64).await;
    let mut curious = server.client().await;
    let began = Instant::now();
    let find = towline_tests::raw_client::find("a.bin", test_file.filesize());
    // All bytes except the framing are durable, and the client has had no report.
    loop {
        let found = curious.find(find.clone()).await.unfinished;
        if found.is_some_and(|found| position(found.offset) > BLOCK + BLOCK / 3) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it never becomes durable");
    }
    link.cut();
    run.end().await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &test_file);
    let again = proxy.link(1).await.passed() + link.passed() - test_file.size() as u64;
    println!("{again} bytes beyond the file, framing and questions and all");
    // The bytes that had arrived of a block that was cut in two count as well.
    assert!(again < 20_000, "{again} bytes were sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_complete_is_given_again_for_ever() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 1, 142);
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut client = RawClient::login(proxy.address(), &server.user.token).await;
    let document_id = client.upload(upload("a.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    proxy.link(0).await.change(|faults| *faults = deaf());
    client.send(&Request::Complete(Complete::default())).await;
    let mut curious = server.client().await;
    let began = Instant::now();
    while curious.status(document_id).await.status != "completed" {
        assert!(began.elapsed() < PATIENCE, "it is never completed");
    }
    proxy.link(0).await.cut();
    drop(client);

    let by_number = || Complete { document_id: Some(document_id), ..Complete::default() };
    let mut other = server.client().await;
    let receipt = other.complete_with(by_number()).await;
    assert_eq!((receipt.document_id, receipt.blake3), (document_id, test_file.hash()));
    assert_eq!((receipt.filename.as_str(), receipt.durable), ("a.bin", true));
    // By its number, on its channel, with a `resume`, and from a server that was restarted.
    assert_eq!(other.complete(ZERO).await, receipt);
    other.send(&Request::Resume(resume(document_id))).await;
    assert_eq!(other.success_on(ZERO).await, receipt);
    server.restart().await;
    let mut other = server.client().await;
    assert_eq!(other.complete_with(by_number()).await, receipt);
    other.send(&Request::Resume(resume(document_id))).await;
    assert!(matches!(other.reply().await, Reply::Success(success) if success == receipt));
    let published: Vec<_> = server.site.on_disk().into_values().filter(|size| *size > 0).collect();
    assert_eq!(published, [test_file.size() as u64], "it is there once");
}
