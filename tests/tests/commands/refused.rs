//! Uploads that are refused, and the message about each.

use std::time::Duration;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::FileSize;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_makes_nothing() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(10, 90));
    let expired = server.site.token(server.user.id, Duration::ZERO);
    for token in ["nonsense", &expired] {
        std::fs::write(cli.path("token"), token).unwrap();
        let outcome = run(cli.put(&file)).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("token"), "{outcome:?}");
        assert!(!outcome.err.contains(token), "a token is never shown");
    }
    assert!(cli.state().uploads.is_empty());
    assert!(server.site.on_disk().keys().all(|path| path.ends_with(".staging")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_too_large_is_told_how_large_it_may_be() {
    let max = FileSize::try_from(1000).unwrap();
    let server = TestServer::start_with(move |config| config.engine.max_filesize = max).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(1001, 91)))).await;
    outcome.assert_code(1);
    // The message names the file, both sizes, and what the operator can do.
    for words in ["a.bin", "1001 bytes", "1000 bytes", "towlined --max-file-size"] {
        assert!(outcome.err.contains(words), "{words}: {outcome:?}");
    }
    run(cli.put(&cli.write("b.bin", &TestFile::new(1000, 92)))).await.assert_done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_500_mb_is_kept_and_said_in_the_units_of_people() {
    let max = FileSize::try_from(500_000_000).unwrap();
    let server = TestServer::start_with(move |config| config.engine.max_filesize = max).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.path("two.bin");
    std::fs::File::create(&file).unwrap().set_len(2 << 30).unwrap();
    let outcome = run(cli.put(&file)).await;
    outcome.assert_code(1);
    for words in ["two.bin", "GiB", "500 MB", "towlined --max-file-size"] {
        assert!(outcome.err.contains(words), "{words}: {outcome:?}");
    }
    assert!(!outcome.err.contains("500000000"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_says_how_much_is_missing() {
    let server =
        TestServer::start_with(|config| config.engine.reserve_bytes = i64::MAX as u64).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(1000, 93)))).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("missing"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_error_exits_with_2() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    run(cli.command("put")).await.assert_code(2);
    let mut nowhere = cli.command("put");
    nowhere.arg(cli.write("a.bin", &TestFile::new(10, 94)));
    run(nowhere).await.assert_code(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_of_two_runs_wins() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 95);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let file = cli.write("a.bin", &test_file);
    let mut older = cli.start(cli.put(&file));
    older.until(|event| event["received"].as_u64() > Some(0)).await;
    let mut newer = cli.put(&file);
    newer.args(["--json"]);
    let newer = run(newer).await;
    newer.assert_done();
    let older = older.end().await;
    older.assert_code(3);
    assert_eq!(older.event("error")["code"], "superseded");
    server.site.assert_published(&server.user, "a.bin", &test_file);
    assert!(!server.site.document(&server.user, "a (1).bin").exists());
}
