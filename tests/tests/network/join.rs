//! Two machines: one joins the other by a pasted line, and sends it a file over TLS.

use std::fs;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::netns_link::{LinkEnd, NetnsLink};
use towline_tests::process::{Launch, stdout, towline, towlined};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// `towline` from that end, of a person who knows what was joined there before.
async fn types(end: &LinkEnd, cli: &CliFixture, arguments: &[&str]) -> Outcome {
    let [program, under @ ..] = end.under();
    let mut command = Command::new(program);
    command.args(under).arg(towline().as_std().get_program()).args(arguments);
    for variable in ["TOWLINE_SERVER", "TOWLINE_TOKEN"] {
        command.env_remove(variable);
    }
    command.env("XDG_CONFIG_HOME", cli.path("config")).env("XDG_STATE_HOME", cli.path("state"));
    command.current_dir(cli.path(".")).stdin(std::process::Stdio::null()).kill_on_drop(true);
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_joins_by_one_line_and_stops_where_the_key_is_another() {
    let Some(link) = NetnsLink::make() else { return };
    let site = Site::new();
    let user = site.add_user("ada").await;
    let near = link.near.under();
    let launch = Launch::over(&site).arguments(&["--allow-root"]).under(&near);
    let server = launch.clone().listen(link.near.address(0)).start().await;
    let cli = CliFixture::new(&site, &user, server.address());
    let test_file = TestFile::new(5 * BLOCK + 3, 980);
    cli.write("a.bin", &test_file);

    let mut join = towlined();
    let join = join.args(["join", "--user", "ada", "--data-dir"]).arg(site.path());
    let line = stdout(join).await.trim().to_owned();
    assert!(line.starts_with(&format!("towline://{}/SHA256:", server.address())), "{line}");
    types(&link.far, &cli, &["login", &line, "--as", "nas"]).await.assert_done();
    types(&link.far, &cli, &["put", "a.bin", "nas:"]).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    assert_eq!(types(&link.far, &cli, &["ls"]).await.assert_done().out, "a.bin\n");

    let address = server.address();
    server.gone().await;
    fs::remove_file(site.path().join("keys/tls.pem")).unwrap();
    let server = launch.listen(address).variable("TOWLINE_LOG", "trace").start().await;
    cli.write("b.bin", &TestFile::new(100, 981));
    let refused = types(&link.far, &cli, &["put", "b.bin", "nas:"]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("Nothing was sent, not even the token"), "{refused:?}");
    // The other way round: a line for the new key, whose secret the old address gets only over TLS.
    let mut join = towlined();
    let join = join.args(["join", "--user", "ada", "--data-dir"]).arg(site.path());
    let line = stdout(join).await.trim().to_owned();
    types(&link.far, &cli, &["login", &line, "--as", "nas"]).await.assert_done();
    types(&link.far, &cli, &["put", "b.bin", "nas:"]).await.assert_done();
    let log = server.gone().await.concat();
    assert_eq!(log.matches("has_joined=true").count(), 1, "{log}");
    assert!(log.contains("logged in"), "it is a log of everything");
}
