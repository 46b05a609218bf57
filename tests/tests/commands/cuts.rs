//! A link that breaks, in each of the ways in which a link can break.

use std::time::Duration;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_cuts_at_random_bytes() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK + 12_345, 20);
    let mut chance = chance();
    let mut places: Vec<u64> = (0..20).map(|_| chance.u64(1..test_file.size() as u64)).collect();
    places.sort_unstable();
    let plan: Vec<_> = places
        .iter()
        .scan(0, |last, at| Some(at - std::mem::replace(last, *at)))
        .enumerate()
        .map(|(i, length)| match i % 2 {
            0 => Faults::cut_after(length),
            _ => Faults::reset_after(length),
        })
        .collect();
    let cuts = plan.len();
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    run(cli.put(&cli.write("big.bin", &test_file))).await.assert_done();
    server.site.assert_published(&server.user, "big.bin", &test_file);
    let mut delivered = 0;
    for number in 0..proxy.connections() {
        delivered += proxy.link(number).await.passed();
    }
    let again = delivered - test_file.size() as u64;
    println!("{cuts} cuts: {again} bytes beyond the file, framing and all");
    // A reset drops bytes in the server's socket buffer, which are sent again, too.
    assert!(again < (cuts * 2 * BLOCK) as u64);
    assert!(cli.state().uploads.is_empty());
}

/// The cuts hit any connection, the main one or an extra one.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_cuts_of_four_connections() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(40 * BLOCK + 12_345, 25);
    let mut chance = chance();
    let slow = Faults::slow(16 << 20);
    let plan: Vec<_> = (0..20)
        .map(|_| {
            let at = Some(chance.u64(1..4 * BLOCK as u64));
            match chance.bool() {
                true => Faults { cut_after: at, ..slow.clone() },
                false => Faults { reset_after: at, ..slow.clone() },
            }
        })
        .collect();
    let cuts = plan.len();
    let proxy = FaultProxy::start(server.address(), plan).await;
    proxy.otherwise(slow);
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("big.bin", &test_file));
    put.args(["--parallel", "4"]);
    run(put).await.assert_done();
    server.site.assert_published(&server.user, "big.bin", &test_file);
    let mut delivered = 0;
    for number in 0..proxy.connections() {
        delivered += proxy.link(number).await.passed();
    }
    let again = delivered - test_file.size() as u64;
    println!("{} connections: {again} bytes beyond the file", proxy.connections());
    // A cut costs a part of the block that was being sent.
    assert!(again < (cuts * BLOCK) as u64);
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(20_000, 21);
    let plan = [Faults { segment: Some(1), ..Faults::none() }];
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    run(cli.put(&cli.write("slow.bin", &test_file))).await.assert_done();
    server.site.assert_published(&server.user, "slow.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_link_is_no_broken_one() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK, 22);
    let plan = [Faults { delay: Duration::from_millis(20), ..Faults::none() }];
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    run(cli.put(&cli.write("late.bin", &test_file))).await.assert_done();
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_receipt_is_asked_for_again() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(BLOCK + 1, 23);
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let run = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    let link = proxy.link(0).await;
    link.has_passed(test_file.size() as u64 / 2).await;
    link.change(|faults| faults.drop_replies = true);
    // All bytes arrive, and all messages of the server are lost.
    link.has_passed(test_file.size() as u64 + 100).await;
    let published = server.site.document(&server.user, "a.bin");
    while !published.exists() {
        tokio::task::yield_now().await;
    }
    link.cut();
    let outcome = run.end().await;
    assert_eq!(outcome.assert_done().event("completed")["document_id"], 1);
    server.site.assert_published(&server.user, "a.bin", &test_file);
    assert!(!server.site.document(&server.user, "a (1).bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there() {
    let mut server = TestServer::start().await;
    let address = server.address();
    server.stop().await;
    let cli = CliFixture::new(&server.site, &server.user, address);
    let mut put = cli.put(&cli.write("a.bin", &TestFile::new(10, 24)));
    put.args(["--retries", "2"]);
    let outcome = run(put).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains(&address.to_string()), "{outcome:?}");
}
