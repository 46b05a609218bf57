//! `kill -9` of the client or the server, again and again.

use std::time::Duration;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile, chance};

#[tokio::test(flavor = "multi_thread")]
async fn a_put_goes_on_through_kills_of_the_server() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(16 * BLOCK + 99, 30);
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(4), ..Faults::none() });
    let cli = CliFixture::new(&site, &user, proxy.address());
    let mut run = cli.start(cli.put(&cli.write("big.bin", &test_file)));
    let mut chance = chance();
    let mut durable = 0;
    for number in 0..5 {
        // The server is killed at a random byte of each connection, after the connection was made.
        proxy.link(number).await.has_passed(chance.u64(2000..3_000_000)).await;
        server.kill().await;
        server.start_again().await;
        let resumed = run
            .until(|event| {
                durable = durable.max(event["durable"].as_u64().unwrap_or(0));
                event["event"] == "resumed"
            })
            .await;
        let received = resumed["received"].as_u64().unwrap();
        assert!(received >= durable, "resumed at {received}, {durable} was promised");
        // Both state files can be read at any moment.
        let _ = (cli.state(), site.state());
    }
    run.end().await.assert_done();
    site.assert_published(&user, "big.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_was_killed_is_finished_by_the_same_command() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(12 * BLOCK + 99, 31);
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&site, &user, proxy.address());
    let file = cli.write("big.bin", &test_file);
    let mut chance = chance();
    let mut delivered = 0;
    for number in 0..5 {
        proxy.plan([Faults::stall_after(chance.u64(50_000..2_000_000))]);
        let run = cli.start(cli.put(&file));
        let link = proxy.link(number).await;
        link.has_passed(50_000).await;
        run.signal(rustix::process::Signal::KILL);
        assert_eq!(run.end().await.code, None);
        link.cut();
        delivered += link.passed();
        let _ = cli.state();
    }
    run(cli.put(&file)).await.assert_done();
    site.assert_published(&user, "big.bin", &test_file);
    delivered += proxy.link(5).await.passed();
    let again = delivered.saturating_sub(test_file.size() as u64);
    println!("5 kills of the client: {again} bytes beyond the file");
    assert!(again < 6 * BLOCK as u64);
    assert!(cli.state().uploads.is_empty());
}
