//! Bytes that change on the way.

use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};

#[tokio::test(flavor = "multi_thread")]
async fn a_turned_byte_costs_one_block() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(5 * BLOCK + 77, 60);
    // A byte in the payload of the third block, whatever its exact position.
    let place = 2 * BLOCK as u64 + 300_000 + chance().u64(0..400_000);
    let proxy = FaultProxy::start(server.address(), [Faults::flip_at(place)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("a.bin", &test_file));
    put.args(["--json", "--chunk-size", "1MiB"]);
    let outcome = run(put).await;
    let sent = outcome.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
    assert_eq!(sent, (test_file.size() + BLOCK) as u64, "that block alone");
    assert_eq!(proxy.connections(), 1);
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turned_byte_anywhere_is_survived() {
    let server = TestServer::start().await;
    let mut chance = chance();
    for round in 0..12 {
        let test_file = TestFile::new(300_000, 61 + round);
        // After the login, because its token must arrive unchanged.
        let place = 700 + chance.u64(0..300_000);
        let proxy = FaultProxy::start(server.address(), [Faults::flip_at(place)]).await;
        let cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let name = format!("{round}.bin");
        let mut put = cli.put(&cli.write(&name, &test_file));
        put.args(["--chunk-size", "1KiB"]);
        let outcome = run(put).await;
        assert_eq!(outcome.code, Some(0), "byte {place}: {outcome:#?}");
        server.site.assert_published(&server.user, &name, &test_file);
    }
}
