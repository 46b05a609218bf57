//! How fast and how long: `--limit-rate` and `--timeout`.

use std::time::{Duration, Instant};
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_over_large_and_small_files() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let large = TestFile::new(4 * BLOCK, 900);
    cli.write("files/large", &large);
    for n in 0..16 {
        cli.write(&format!("files/{n}"), &TestFile::new(BLOCK / 8, 901 + n));
    }
    let begun = Instant::now();
    let mut put = cli.put(&cli.path("files"));
    put.args(["--limit-rate", "3MiB/s"]);
    run(put).await.assert_done();
    // Six MiB; a fifth of a second's worth may go at once.
    assert!(begun.elapsed() > Duration::from_millis(1700), "{:?}", begun.elapsed());
    server.site.assert_published(&server.user, "files/large", &large);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_which_nothing_moves_is_given_up_in_time() {
    let server = TestServer::start().await;
    let stalled = Faults::stall_after(2 * BLOCK as u64);
    let proxy = FaultProxy::start(server.address(), [stalled]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let file = TestFile::new(8 * BLOCK, 920);
    let path = cli.write("a.bin", &file);
    let mut put = cli.put(&path);
    put.args(["--timeout", "2", "--parallel", "1"]);
    let outcome = run(put).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("no progress for 2 s"), "{outcome:?}");
    run(cli.command("resume")).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &file);
}
