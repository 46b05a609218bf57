//! A slow and steady link, and a server that is killed.

use std::time::{Duration, Instant};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{CHUNK, RawClient, ZERO, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// Bytes that arrived this long ago are durable.
const DURABLE_WITHIN: Duration = Duration::from_secs(2);

/// On a link of 64 KiB/s, bytes that passed more than two seconds ago are received and durable: a
/// kill of the server loses none of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_two_seconds_ago_survives_a_kill() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let proxy = FaultProxy::start(server.address(), [Faults::slow(64 << 10)]).await;
    let test_file = TestFile::new(2 * BLOCK, 170);
    let mut client = RawClient::login(proxy.address(), &user.token).await;
    let document_id = client.upload(upload("slow.bin", &test_file)).await.document_id;
    let link = proxy.link(0).await;
    let before = link.passed();
    let sending = tokio::spawn({
        let test_file = test_file.clone();
        async move {
            let _ = client.try_chunks(ZERO, &test_file, 0..test_file.size()).await;
            // All bytes may be in the system's buffers at this moment.
            client.ended().await
        }
    });
    // The times, and the number of bytes that had passed.
    let mut passed = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    while link.passed() - before < 450_000 {
        clock.tick().await;
        passed.push((Instant::now(), link.passed() - before));
    }
    server.kill().await;
    let killed = Instant::now();
    sending.abort();
    let old = passed.iter().rev().find(|(at, _)| *at + DURABLE_WITHIN <= killed).unwrap().1;
    // Each chunk has a head, whose bytes are not bytes of the file.
    let old = old - old.div_ceil(CHUNK as u64) * 17;
    server.start_again().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let kept = client.resume(resume(document_id)).await.offset.get();
    println!("{old} bytes were older than {DURABLE_WITHIN:?}, {kept} bytes were kept");
    assert!(kept >= old, "{kept} of {old}");
}
