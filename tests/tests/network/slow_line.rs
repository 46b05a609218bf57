//! A line that is slow and steady, and a server that is killed.

use std::time::{Duration, Instant};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{CHUNK, RawClient, ZERO, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// What came this long ago is durable.
const DURABLE_WITHIN: Duration = Duration::from_secs(2);

/// Behind 64 KiB/s, what came more than two seconds ago has been received and is durable:
/// a kill of the server takes none of it.
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
            // All of it may be in the system's buffers by now.
            client.ended().await
        }
    });
    // How much had passed when.
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
    // Each chunk has a head, which is no byte of the file.
    let old = old - old.div_ceil(CHUNK as u64) * 17;
    server.start_again().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let kept = client.resume(resume(document_id)).await.offset.get();
    println!("{old} bytes were older than {DURABLE_WITHIN:?}, {kept} bytes were kept");
    assert!(kept >= old, "{kept} of {old}");
}
