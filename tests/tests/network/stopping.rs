//! A server that is told to stop while it is busy.

use rustix::process::Signal;
use std::time::{Duration, Instant};
use towline_protocol::request::Upload;
use towline_protocol::{Channel, Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::CliFixture;
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{CHUNK, RawClient, ZERO, offset, position, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// The promised limit for a stop.
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Fifty clients that send as fast as they can, ten whose link is down and ten that do not read:
/// none of them keeps the server from stopping.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_ten_seconds_at_most_with_any_clients() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let test_file = TestFile::new(8 * BLOCK, 160);
    let mut uploads = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    let mut stalled = Vec::new();
    for number in 0..70 {
        let address = if number < 50 { server.address() } else { proxy.address() };
        let mut client = RawClient::login(address, &user.token).await;
        let begin =
            Upload { blocks: number % 2 == 0, ..upload(&format!("{number}.bin"), &test_file) };
        let document_id = client.upload(begin).await.document_id;
        uploads.push(document_id);
        if number >= 50 {
            let link = proxy.link(proxy.connections() - 1).await;
            client.chunks(ZERO, &test_file, 0..CHUNK).await;
            if number < 60 {
                link.stall();
            } else {
                link.change(|faults| faults.drop_replies = true);
            }
            stalled.push(client);
            continue;
        }
        let test_file = test_file.clone();
        running.spawn(async move {
            let _ = client.try_chunks(ZERO, &test_file, 0..test_file.size()).await;
            client.ended().await
        });
    }
    // The uploads are under way.
    let mut curious = RawClient::login(server.address(), &user.token).await;
    curious.has_received(uploads[0], CHUNK).await;
    drop(curious);
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    let took = asked.elapsed();
    println!("stopped after {took:?} with 70 connections");
    assert_eq!(status.code(), Some(0), "{:#?}", server.said());
    assert!(took < TEN_SECONDS, "{took:?}");
    while let Some(told) = running.join_next().await {
        told.unwrap();
    }
    drop(stalled);
    // The state file has every upload, and each can be continued.
    let state = site.state();
    for document_id in &uploads {
        assert!(state.find(*document_id, None).is_some(), "{document_id} is written down");
    }
    server.start_again().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    for document_id in &uploads {
        let (_, entry) = state.find(*document_id, None).unwrap();
        assert_eq!(client.resume(resume(*document_id)).await.offset, entry.offset);
    }
    let from = position(client.resume(resume(uploads[0])).await.offset);
    println!("the first one goes on at {from}");
}

/// The person who uploads a file sees that it continues without their help.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_the_user_of_put_nothing_to_do() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(12 * BLOCK, 161);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults::slow(4_000_000));
    let cli = CliFixture::new(&site, &user, proxy.address());
    let mut run = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    run.until(|event| event["received"].as_u64() >= Some(BLOCK as u64)).await;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    println!("stopped after {:?}", asked.elapsed());
    assert!(asked.elapsed() < TEN_SECONDS);
    let promised = site.state().uploads.values().next().unwrap().offset.get();
    // The client tries to connect, and no server answers.
    let began = Instant::now();
    while proxy.arrivals().len() < 3 {
        assert!(began.elapsed() < PATIENCE, "it does not try again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.start_again().await;
    let resumed = run.until(|event| event["event"] == "resumed").await;
    assert!(resumed["received"].as_u64().unwrap() >= promised, "{resumed} after {promised}");
    run.end().await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
}

/// Ten connections with a thousand uploads each, and each upload has a byte that is not durable
/// when the signal comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_ten_seconds_at_most_with_ten_thousand_uploads() {
    let connections = if std::env::var_os("TOWLINE_LONG").is_some() { 10 } else { 3 };
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(1000, 161);
    let mut clients = Vec::new();
    for number in 0..connections {
        let mut client = server.client(&user).await;
        for channel in (0..1000).map(Channel) {
            let name = format!("{number} {channel}");
            let begin = Upload { channel, ..upload(&name, &test_file) };
            client.send(&Request::Upload(begin)).await;
        }
        for channel in (0..1000).map(Channel) {
            assert!(matches!(client.reply_on(channel).await, Reply::Upload(_)));
        }
        clients.push(client);
    }
    for client in &mut clients {
        for channel in (0..1000).map(Channel) {
            client.chunk(channel, 0, &test_file.bytes[..10]).await;
        }
        client.ping().await;
    }
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    let took = asked.elapsed();
    println!("{} uploads: stopped in {took:?}", connections * 1000);
    assert_eq!(status.code(), Some(0), "{:#?}", server.said());
    assert!(took < TEN_SECONDS, "{took:?}");
    server.start_again().await;
    server.client(&user).await.ping().await;
}

/// A paused upload keeps no descriptor open, except for a few hundred.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_pause_at_once_are_closed_soon() {
    const UPLOADS: u32 = 800;
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(1000, 162);
    let mut client = server.client(&user).await;
    for channel in (0..UPLOADS).map(Channel) {
        let begin = Upload { channel, ..upload(&channel.to_string(), &test_file) };
        client.send(&Request::Upload(begin)).await;
        client.chunk(channel, 0, &test_file.bytes[..10]).await;
    }
    for channel in (0..UPLOADS).map(Channel) {
        assert!(matches!(client.reply_on(channel).await, Reply::Upload(_)));
    }
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(open() > UPLOADS as usize);
    let began = Instant::now();
    let last = client.pause().await;
    println!("{} last words after {:?}", last.len(), began.elapsed());
    assert_eq!(last.len(), UPLOADS as usize);
    assert!(last.iter().all(|progress| progress.durable == offset(10)));
    // The server keeps 256 files open.
    while open() > 320 {
        assert!(began.elapsed() < PATIENCE, "{} are open", open());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
