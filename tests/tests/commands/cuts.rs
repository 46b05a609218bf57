//! A link that breaks, in all the ways in which links break.

use std::time::Duration;
use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::desk::{Desk, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_cuts_at_random_bytes() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(24 * BLOCK + 12_345, 20);
    let mut chance = chance();
    let mut places: Vec<u64> = (0..20).map(|_| chance.u64(1..corpus.size() as u64)).collect();
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
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    run(desk.put(&desk.write("big.bin", &corpus))).await.assert_done();
    server.site.assert_published(&server.person, "big.bin", &corpus);
    let mut delivered = 0;
    for number in 0..proxy.connections() {
        delivered += proxy.link(number).await.passed();
    }
    let again = delivered - corpus.size() as u64;
    println!("{cuts} cuts: {again} bytes beyond the file, framing and all");
    // What a reset takes from the server's own socket buffer is sent again too.
    assert!(again < (cuts * 2 * BLOCK) as u64);
    assert!(desk.state().uploads.is_empty());
}

/// Whichever connections they hit, the first or those besides it.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_cuts_of_four_connections() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(40 * BLOCK + 12_345, 25);
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
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let mut put = desk.put(&desk.write("big.bin", &corpus));
    put.args(["--parallel", "4"]);
    run(put).await.assert_done();
    server.site.assert_published(&server.person, "big.bin", &corpus);
    let mut delivered = 0;
    for number in 0..proxy.connections() {
        delivered += proxy.link(number).await.passed();
    }
    let again = delivered - corpus.size() as u64;
    println!("{} connections: {again} bytes beyond the file", proxy.connections());
    // A cut costs a part of the block that it hits.
    assert!(again < (cuts * BLOCK) as u64);
    assert!(desk.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(20_000, 21);
    let plan = [Faults { segment: Some(1), ..Faults::none() }];
    let proxy = FaultProxy::start(server.address(), plan).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    run(desk.put(&desk.write("slow.bin", &corpus))).await.assert_done();
    server.site.assert_published(&server.person, "slow.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_link_is_no_broken_one() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK, 22);
    let plan = [Faults { delay: Duration::from_millis(20), ..Faults::none() }];
    let proxy = FaultProxy::start(server.address(), plan).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    run(desk.put(&desk.write("late.bin", &corpus))).await.assert_done();
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_receipt_is_asked_for_again() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(BLOCK + 1, 23);
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let run = desk.start(desk.put(&desk.write("a.bin", &corpus)));
    let link = proxy.link(0).await;
    link.has_passed(corpus.size() as u64 / 2).await;
    link.change(|faults| faults.drop_replies = true);
    // Everything arrives, and nothing that the server says about it.
    link.has_passed(corpus.size() as u64 + 100).await;
    let published = server.site.document(&server.person, "a.bin");
    while !published.exists() {
        tokio::task::yield_now().await;
    }
    link.cut();
    let outcome = run.end().await;
    assert_eq!(outcome.assert_done().event("completed")["document_id"], 1);
    server.site.assert_published(&server.person, "a.bin", &corpus);
    assert!(!server.site.document(&server.person, "a (1).bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there() {
    let mut server = TestServer::start().await;
    let address = server.address();
    server.stop().await;
    let desk = Desk::new(&server.site, &server.person, address);
    let mut put = desk.put(&desk.write("a.bin", &Corpus::new(10, 24)));
    put.args(["--retries", "2"]);
    let outcome = run(put).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains(&address.to_string()), "{outcome:?}");
}
