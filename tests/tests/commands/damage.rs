//! Bytes that turn on the way.

use towline_tests::corpus::{BLOCK, Corpus, chance};
use towline_tests::desk::{Desk, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_turned_byte_costs_one_block() {
    let server = TestServer::start().await;
    let corpus = Corpus::new(5 * BLOCK + 77, 60);
    // In the payload of the third block, whatever came before it.
    let place = 2 * BLOCK as u64 + 300_000 + chance().u64(0..400_000);
    let proxy = FaultProxy::start(server.address(), [Faults::flip_at(place)]).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let mut put = desk.put(&desk.write("a.bin", &corpus));
    put.args(["--json", "--chunk-size", "1MiB"]);
    let outcome = run(put).await;
    let sent = outcome.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
    assert_eq!(sent, (corpus.size() + BLOCK) as u64, "that block alone");
    assert_eq!(proxy.connections(), 1);
    server.site.assert_published(&server.person, "a.bin", &corpus);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turned_byte_anywhere_is_survived() {
    let server = TestServer::start().await;
    let mut chance = chance();
    for round in 0..12 {
        let corpus = Corpus::new(300_000, 61 + round);
        // Beyond the login, whose token must arrive as it is.
        let place = 700 + chance.u64(0..300_000);
        let proxy = FaultProxy::start(server.address(), [Faults::flip_at(place)]).await;
        let desk = Desk::new(&server.site, &server.person, proxy.address());
        let name = format!("{round}.bin");
        let mut put = desk.put(&desk.write(&name, &corpus));
        put.args(["--chunk-size", "1KiB"]);
        let outcome = run(put).await;
        assert_eq!(outcome.code, Some(0), "byte {place}: {outcome:#?}");
        server.site.assert_published(&server.person, &name, &corpus);
    }
}
