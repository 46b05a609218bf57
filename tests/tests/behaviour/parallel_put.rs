//! `towline put` sends one file over several connections, over links that are slow, are cut, stand
//! still or turn bits.

use rustix::process::Signal;
use std::time::{Duration, Instant};
use towline_protocol::request::Resume;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::resume;
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// The number of bytes that passed on each of the first connections.
async fn passed(proxy: &FaultProxy, count: usize) -> Vec<u64> {
    let mut passed = Vec::new();
    for number in 0..count {
        passed.push(proxy.link(number).await.passed());
    }
    passed
}

/// A link slow enough for the other connections to join in time.
fn slow() -> Faults {
    Faults::slow(8 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_connections_and_one_of_them_is_cut() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(64 * BLOCK + 777, 610);
    // The cut comes early, so that there are blocks left when the connection is back.
    let cut = Faults { cut_after: Some(BLOCK as u64 + 500_000), ..slow() };
    let proxy = FaultProxy::start(server.address(), [slow(), slow(), cut, slow()]).await;
    proxy.otherwise(slow());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("doc.bin", &test_file));
    put.args(["--parallel", "4", "--json"]);
    let outcome = run(put).await;
    outcome.assert_done();
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    // The connection that was cut reconnected, and no other one did.
    assert_eq!(proxy.connections(), 5);
    let passed = passed(&proxy, 5).await;
    println!("{passed:?} bytes on the connections");
    assert!(passed.iter().all(|bytes| *bytes > BLOCK as u64), "{passed:?}");
    let again = passed.iter().sum::<u64>() - test_file.size() as u64;
    assert!(again < 2 * BLOCK as u64, "{again} bytes too many");
    assert!(outcome.events().iter().all(|event| event["event"] != "resumed"), "{outcome:?}");
    assert_eq!(outcome.event("completed")["durable"], true);
    let sent = outcome.event("completed")["sent_bytes"].as_u64().unwrap();
    assert!(sent >= test_file.size() as u64, "{sent}");
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_connection_is_cut_and_the_others_keep_what_they_have() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(32 * BLOCK, 611);
    for (cut, name) in [(true, "cut.bin"), (false, "reset.bin")] {
        let at = Some(3 * BLOCK as u64);
        let main = match cut {
            true => Faults { cut_after: at, ..slow() },
            false => Faults { reset_after: at, ..slow() },
        };
        let proxy = FaultProxy::start(server.address(), [main]).await;
        proxy.otherwise(slow());
        let cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let mut put = cli.put(&cli.write(name, &test_file));
        put.args(["--parallel", "3", "--json", "--again"]);
        let outcome = run(put).await;
        assert_eq!(outcome.assert_done().event("resumed")["filename"], name);
        server.site.assert_published(&server.user, name, &test_file);
        let passed = passed(&proxy, proxy.connections()).await;
        println!("{passed:?} bytes on the connections");
        assert!(passed.len() >= 6, "the strands begin anew: {passed:?}");
        let again = passed.iter().sum::<u64>() - test_file.size() as u64;
        assert!(again < 3 * BLOCK as u64, "{again} bytes too many");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_turns_on_any_connection_costs_a_block() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 612);
    let flip = || Faults { flip_at: Some(2 * BLOCK as u64 + 12_345), ..slow() };
    let proxy = FaultProxy::start(server.address(), [flip(), flip(), flip()]).await;
    proxy.otherwise(slow());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("doc.bin", &test_file));
    put.args(["--parallel", "3"]);
    run(put).await.assert_done();
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    assert_eq!(proxy.connections(), 3);
    let passed = passed(&proxy, 3).await;
    let again = passed.iter().sum::<u64>() - test_file.size() as u64;
    assert!((2 * BLOCK as u64..5 * BLOCK as u64).contains(&again), "{passed:?}");
}

/// The client that takes an upload over gets it, however many connections the other client has.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_ends_all_connections_of_the_client() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 613);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults::slow(2 << 20));
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("doc.bin", &test_file));
    put.args(["--parallel", "3"]);
    let mut run = cli.start(put);
    let started = run.until(|event| event["event"] == "started").await;
    for number in 0..3 {
        proxy.link(number).await.has_passed(500_000).await;
    }
    let document_id = started["document_id"].as_u64().unwrap();
    let document_id = towline_types::DocumentId::try_from(document_id).unwrap();
    let mut newer = server.client().await;
    newer.resume(Resume { blocks: true, ..resume(document_id) }).await;
    let outcome = run.end().await;
    outcome.assert_code(3);
    assert_eq!(outcome.event("error")["code"], "superseded");
    newer.cancel(document_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_link_and_a_short_file_get_no_more_than_they_need() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(48 * BLOCK, 614);
    run(cli.put(&cli.write("auto.bin", &test_file))).await.assert_done();
    assert_eq!(proxy.connections(), 1);
    let short = TestFile::new(BLOCK, 615);
    let mut put = cli.put(&cli.write("short.bin", &short));
    put.args(["--parallel", "4"]);
    run(put).await.assert_done();
    assert_eq!(proxy.connections(), 2);
    server.site.assert_published(&server.user, "auto.bin", &test_file);
    server.site.assert_published(&server.user, "short.bin", &short);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_gets_another_connection_by_itself() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(40 * BLOCK, 616);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults::slow(2 << 20));
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let run = cli.start(cli.put(&cli.write("doc.bin", &test_file)));
    proxy.link(1).await.has_passed(200_000).await;
    proxy.otherwise(Faults::none());
    for number in 0..2 {
        proxy.link(number).await.change(|faults| faults.bytes_per_second = None);
    }
    run.end().await.assert_done();
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_starts_again_under_four_connections() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(32 * BLOCK, 617);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(slow());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("doc.bin", &test_file));
    put.args(["--parallel", "4"]);
    let run = cli.start(put);
    for number in 0..4 {
        proxy.link(number).await.has_passed(2 * BLOCK as u64).await;
    }
    server.restart().await;
    proxy.set_upstream(server.address());
    assert_eq!(run.end().await.assert_done().event("resumed")["filename"], "doc.bin");
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    let passed = passed(&proxy, proxy.connections()).await;
    let again = passed.iter().sum::<u64>() - test_file.size() as u64;
    println!("{passed:?}: {again} bytes too many");
    // One begun block of each connection, and the bytes that were still in the socket buffers of
    // the server.
    assert!(again < 16 * BLOCK as u64, "{again} bytes too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_several_connections_is_paused_and_resumed() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 618);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(slow());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let put = || {
        let mut put = cli.put(&cli.path("doc.bin"));
        put.args(["--parallel", "3"]);
        put
    };
    cli.write("doc.bin", &test_file);
    let paused = cli.start(put());
    for number in 0..3 {
        proxy.link(number).await.has_passed(2 * BLOCK as u64).await;
    }
    paused.signal(Signal::INT);
    let outcome = paused.end().await;
    outcome.assert_code(3);
    let durable = outcome.event("paused")["durable"].as_u64().unwrap();
    assert!(durable >= BLOCK as u64, "{durable}");
    run(put()).await.assert_done();
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    assert!(cli.state().uploads.is_empty());
}

/// A link that is down is noticed only after a while. A client that has sent everything else does
/// not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_still_does_not_delay_the_others() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 619);
    let stall = Faults { stall_after: Some(BLOCK as u64 + 500_000), ..slow() };
    let proxy = FaultProxy::start(server.address(), [slow(), slow(), stall]).await;
    proxy.otherwise(slow());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("doc.bin", &test_file));
    put.args(["--parallel", "3", "--json"]);
    let began = Instant::now();
    let outcome = run(put).await;
    outcome.assert_done();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(outcome.events().iter().all(|event| event["event"] != "resumed"), "{outcome:?}");
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    assert_eq!(proxy.connections(), 3, "nobody takes its place");
}

/// On such a link several connections would each lose the block that they have begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_weak_line_that_breaks_carries_one_connection_at_a_time() {
    const CUT: u64 = 1_300_000;
    let server = TestServer::start().await;
    let test_file = TestFile::new(8 * BLOCK, 620);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { cut_after: Some(CUT), ..Faults::slow(450_000) });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let run = cli.start(cli.put(&cli.write("doc.bin", &test_file)));
    let one_by_one = async {
        let mut before = proxy.link(0).await;
        for number in 1.. {
            let next = proxy.link(number).await;
            assert_eq!(before.passed(), CUT, "{number} comes after the one before");
            before = next;
        }
    };
    let outcome = tokio::select! {
        outcome = run.end() => outcome,
        () = one_by_one => unreachable!("they are counted for ever"),
    };
    outcome.assert_done();
    server.site.assert_published(&server.user, "doc.bin", &test_file);
    let passed = passed(&proxy, proxy.connections()).await;
    let again = passed.iter().sum::<u64>() - test_file.size() as u64;
    println!("{passed:?}: {again} bytes too many");
    assert!(again < BLOCK as u64, "{again} bytes too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_turned_away_comes_again() {
    let server = TestServer::start_with(|config| config.places.all = 2).await;
    let test_file = TestFile::new(48 * BLOCK, 621);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults::slow(2 << 20));
    let guest = server.client().await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("doc.bin", &test_file));
    put.args(["--parallel", "2"]);
    let run = cli.start(put);
    let mut number = 3;
    proxy.link(number).await.ended().await;
    guest.pause().await;
    // A connection that came too early was refused; then the next one counts.
    let joined = loop {
        let link = proxy.link(number).await;
        tokio::select! {
            () = link.ended() => number += 1,
            () = link.has_passed(BLOCK as u64) => break link,
        }
    };
    proxy.link(0).await.change(|faults| faults.bytes_per_second = None);
    joined.change(|faults| faults.bytes_per_second = None);
    let outcome = run.end().await;
    outcome.assert_done();
    assert!(outcome.events().iter().all(|event| event["event"] != "resumed"), "{outcome:?}");
    server.site.assert_published(&server.user, "doc.bin", &test_file);
}
