//! Two machines: without TLS nothing is sent that could be read on the way.

use std::path::Path;
use tokio::process::Command;
use towline_protocol::Code;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::netns_link::{LinkEnd, NetnsLink};
use towline_tests::process::Launch;
use towline_tests::raw_client::RawClient;
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;

/// `towline put` from that end.
async fn put_from(end: &LinkEnd, cli: &CliFixture, file: &Path, more: &[&str]) -> Outcome {
    let inner = cli.put(file);
    let [program, arguments @ ..] = end.under();
    let mut put = Command::new(program);
    put.args(arguments).arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    put.args(more).env("XDG_CONFIG_HOME", cli.path("config")).kill_on_drop(true);
    put.stdin(std::process::Stdio::null());
    run(put).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_is_let_in_with_tls_alone() {
    let Some(link) = NetnsLink::make() else { return };
    let site = Site::new();
    let user = site.add_user("ada").await;
    let launch = Launch::over(&site).listen(link.near.address(0)).arguments(&["--allow-root"]);
    let server = launch.under(&link.near.under()).start().await;
    let cli = CliFixture::new(&site, &user, server.address());
    let test_file = TestFile::new(100_000, 960);
    let file = cli.write("a.bin", &test_file);

    let refused = put_from(&link.far, &cli, &file, &[]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("is not known yet"), "{refused:?}");
    // The client would send it; the server does not look at the token.
    let refused = put_from(&link.far, &cli, &file, &["--plaintext"]).await;
    refused.assert_code(1);
    for text in ["only with TLS", "was sent without encryption", "another one"] {
        assert!(refused.err.contains(text), "{text}: {refused:?}");
    }
    server.says_in_one_line(&["a login was refused", "tls_required"]).await;

    put_from(&link.far, &cli, &file, &["--trust-new"]).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    // The machine of the server itself, under an address that others reach as well.
    let near = link.near.connect(server.address()).await.unwrap();
    RawClient::over(near).welcomed(&user.token).await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_let_others_in_without_tls() {
    let Some(link) = NetnsLink::make() else { return };
    let near = link.near.clone();
    let server =
        TestServer::start_on(move || near.listen(), |config| config.allow_plaintext = true).await;
    let far = link.far.connect(server.address()).await.unwrap();
    RawClient::over(far).welcomed(&server.user.token).await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_tls_is_not_looked_at() {
    let Some(link) = NetnsLink::make() else { return };
    let near = link.near.clone();
    let server = TestServer::start_on(move || near.listen(), |_| {}).await;
    for token in [server.user.token.as_str(), "no token"] {
        let mut client = RawClient::over(link.far.connect(server.address()).await.unwrap());
        client.hello(token).await;
        client.error(Code::TlsRequired).await;
        assert_eq!(client.closed().await, []);
    }
}
