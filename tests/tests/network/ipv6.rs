//! An upload over IPv6.

use std::net::{Ipv6Addr, SocketAddr};
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::Launch;
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::skipped;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_bracketed_address() {
    let any_port = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if let Err(error) = std::net::TcpListener::bind(any_port) {
        return skipped(&format!("there is no [::1] here: {error}"));
    }
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = Launch::over(&site).listen(any_port).start().await;
    assert!(server.address().is_ipv6());
    let test_file = TestFile::new(2 * BLOCK + 1, 130);
    let cli = CliFixture::new(&site, &user, server.address());
    let file = cli.write("a.bin", &test_file);
    run(cli.put(&file)).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    // A client can connect to the address that the state file has.
    server.kill().await;
    let other = cli.write("b.bin", &TestFile::new(BLOCK, 131));
    let mut put = cli.put(&other);
    put.args(["--retries", "0"]);
    let outcome = run(put).await;
    outcome.assert_code(3);
    assert!(outcome.err.contains(&format!("[::1]:{}", server.address().port())), "{outcome:?}");
    server.start_again().await;
    run(cli.put(&other)).await.assert_done();
}
