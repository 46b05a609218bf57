//! Too many uploads, channels or connections, clients that are silent, and clients that do not
//! read.

use super::{SHORT, hurried};
use std::time::Instant;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use towline_protocol::request::{Resume, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::PATIENCE;
use towline_tests::raw_client::{
    CHUNK, Heard, RawClient, ZERO, chunk_frame, find, hello, offset, resume, upload,
};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_limit_of_unfinished_uploads() {
    let server =
        TestServer::start_with(|config| config.engine.limits.unfinished_per_user = 3).await;
    let test_file = TestFile::new(100, 120);
    let mut client = server.client().await;
    let channel = |i: u32| Channel(i);
    let mut documents = Vec::new();
    for i in 0..3 {
        let begin = Upload { channel: channel(i), ..upload(&format!("{i}.bin"), &test_file) };
        documents.push(client.upload(begin).await.document_id);
    }
    let fourth = Upload { channel: channel(3), ..upload("3.bin", &test_file) };
    client.upload_refused(fourth.clone(), Code::TooMany).await;
    // Another user has a limit of their own.
    let bob = server.site.add_user("bob").await;
    RawClient::login(server.address(), &bob.token).await.upload(fourth.clone()).await;
    client.cancel(documents[1]).await;
    client.error_on(channel(1), Code::Cancelled).await;
    client.upload(fourth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_a_limit_of_channels() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(10, 121);
    let mut client = server.client().await;
    for i in 0..1024 {
        let begin = Upload { channel: Channel(i), ..upload(&format!("{i}.bin"), &test_file) };
        client.send(&Request::Upload(begin)).await;
    }
    for i in 0..1024 {
        assert!(matches!(client.reply_on(Channel(i)).await, Reply::Upload(_)), "{i}");
    }
    let one_more = Upload { channel: Channel(5000), ..upload("more.bin", &test_file) };
    client.upload_refused(one_more.clone(), Code::TooMany).await;
    // An upload that ends makes room for another.
    client.chunk(Channel(7), 0, &test_file.bytes).await;
    client.complete(Channel(7)).await;
    client.upload(one_more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_a_limit_of_open_blocks() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(66 * BLOCK, 122);
    let mut client = server.client().await;
    let begin = Upload { blocks: true, ..upload("open.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    for index in 0..32 {
        client.chunk(ZERO, index * BLOCK, &test_file.bytes[index * BLOCK..index * BLOCK + 1]).await;
    }
    for index in 32..64 {
        client.announce(ZERO, index, test_file.value(index)).await;
    }
    client.ping().await;
    assert!(client.heard_so_far().iter().all(|h| matches!(h, Heard::Reply(Reply::Progress(_)))));
    client.announce(ZERO, 64, test_file.value(64)).await;
    client.error(Code::TooMany).await;
    let wish = Resume { blocks: true, ..resume(document_id) };
    // Blocks that were begun and not completed are forgotten; only the bytes up to the offset stay.
    assert_eq!(client.resume(wish).await.offset, offset(1));
    client.chunk(ZERO, 10 * BLOCK, &test_file.bytes[10 * BLOCK..10 * BLOCK + 10]).await;
    client.ping().await;
    assert!(client.heard_so_far().iter().all(|h| matches!(h, Heard::Reply(Reply::Progress(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_above_the_limit_is_served_once_another_has_ended() {
    let server = TestServer::start_with(|config| config.places.all = 2).await;
    let one = server.client().await;
    let two = server.client().await;
    // One more connection waits or is refused; it is served as soon as there is room.
    let mut third = RawClient::connect(server.address()).await;
    let _ = third.try_send_raw(&frame::control(&hello(&server.user.token))).await;
    drop((one, two));
    let begun = Instant::now();
    loop {
        let mut client = RawClient::connect(server.address()).await;
        let _ = client.try_send_raw(&frame::control(&hello(&server.user.token))).await;
        if matches!(client.heard().await, Heard::Reply(Reply::Welcome(_))) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no room after the others have gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_sent_away_and_one_that_pings_stays() {
    let server = hurried(|timings| timings.silence = SHORT).await;
    let test_file = TestFile::new(BLOCK, 111);
    let mut client = server.client().await;
    let document_id = client.upload(upload("silent.bin", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..CHUNK).await;
    client.error(Code::TooSlow).await;
    client.closed().await;
    let mut client = server.client().await;
    assert_eq!(client.resume(resume(document_id)).await.offset, offset(CHUNK));
    // A client that sends a ping now and then stays connected.
    let mut pings = tokio::time::interval(SHORT / 5);
    for _ in 0..12 {
        pings.tick().await;
        client.ping().await;
    }
    assert!(client.status(document_id).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_given_up() {
    let server = hurried(|timings| timings.unread = SHORT).await;
    let test_file = TestFile::new(BLOCK, 123);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let begin = Request::Upload(upload("deaf.bin", &test_file));
    let mut bytes = frame::control(&hello(&server.user.token));
    bytes.extend(frame::control(&begin));
    bytes.extend(chunk_frame(ZERO, 0, &test_file.bytes[..CHUNK]));
    stream.write_all(&bytes).await.unwrap();
    let pings = frame::control(&Request::Ping(Default::default())).repeat(1000);
    let begun = Instant::now();
    let closed = timeout(PATIENCE, async {
        let mut sent = 0;
        while stream.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
        sent
    });
    let sent = closed.await.expect("the server gives up a client that does not read");
    println!("given up after {sent} bytes of pings and {:?}", begun.elapsed());
    let mut client = server.client().await;
    let found = client.find(find("deaf.bin", test_file.filesize())).await;
    let granted = client.resume(resume(found.unfinished.unwrap().document_id)).await;
    assert_eq!(granted.offset, offset(CHUNK));
}
