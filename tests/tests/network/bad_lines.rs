//! Links that lose packets or carry few bytes per second: an upload takes longer, and has no other
//! trouble.

use std::time::{Duration, Instant};
use tokio::process::Command;
use towline_tests::cli_fixture::CliFixture;
use towline_tests::is_long;
use towline_tests::netns_link::NetnsLink;
use towline_tests::process::Launch;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// 8,000 bytes per second.
const SLOW_KBIT: u32 = 64;

/// Runs `towline put` to its end; it may need only one connection.
async fn put_without_flapping(mut put: Command, patience: Duration) -> Duration {
    put.arg("--json");
    let began = Instant::now();
    let output = tokio::time::timeout(patience, put.output()).await;
    let output = output.expect("it ends in time").unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let flapped = out.contains(r#""event":"resumed""#) || err.contains("trying again");
    assert!(!flapped, "the connection was given up: {out}\n{err}");
    began.elapsed()
}

/// `towline put` of a file of this size from the far end of a bad link.
async fn over(link: &NetnsLink, size: usize, patience: Duration) -> Duration {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site)
        .listen(link.near.address(0))
        .arguments(&["--allow-plaintext", "--allow-root"]);
    let server = server.under(&link.near.under()).start().await;
    let test_file = TestFile::new(size, 170);
    let cli = CliFixture::new(&site, &user, server.address());
    let mut inner = cli.put(&cli.write("a.bin", &test_file));
    inner.arg("--plaintext");
    let [program, arguments @ ..] = link.far.under();
    let mut put = Command::new(program);
    put.args(arguments).arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    put.kill_on_drop(true);
    let took = put_without_flapping(put, patience).await;
    site.assert_published(&user, "a.bin", &test_file);
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_finishes_where_one_to_five_packets_of_a_hundred_are_lost() {
    let Some(link) = NetnsLink::make() else { return };
    let size = if is_long() { 64 * BLOCK } else { 4 * BLOCK };
    for percent in [1, 3, 5] {
        link.lose(percent);
        let took = over(&link, size, Duration::from_secs(300)).await;
        println!("{percent} % lost: {size} bytes in {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_64_kbit_a_second_finishes() {
    let Some(link) = NetnsLink::make() else { return };
    if !link.slow(SLOW_KBIT) {
        return;
    }
    let size = if is_long() { BLOCK + 1000 } else { 100_000 };
    let took = over(&link, size, Duration::from_secs(400)).await;
    println!("{size} bytes at {SLOW_KBIT} kbit/s in {took:?}");
    let least = Duration::from_secs(1).mul_f64(size as f64 * 8.0 / (f64::from(SLOW_KBIT) * 1e3));
    assert!(took > least / 2, "it was not slow at all: {took:?}");
}

/// The same without root: with a proxy that lets few bytes pass per second.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_a_slow_proxy_finishes() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults::slow(u64::from(SLOW_KBIT) * 1000 / 8));
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(100_000, 171);
    let put = cli.put(&cli.write("a.bin", &test_file));
    let took = put_without_flapping(put, Duration::from_secs(60)).await;
    println!("{} bytes in {took:?}", test_file.size());
    assert_eq!(proxy.connections(), 1);
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
