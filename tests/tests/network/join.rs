//! Two machines: one joins the other by a pasted line, and sends it a file over TLS.

use std::fs;
use towline_tests::cli_fixture::CliFixture;
use towline_tests::netns_link::NetnsLink;
use towline_tests::person_at::PersonAt;
use towline_tests::process::{Launch, stdout, towlined};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_joins_by_one_line_and_stops_where_the_key_is_another() {
    let Some(link) = NetnsLink::make() else { return };
    let site = Site::new();
    let user = site.add_user("ada").await;
    let near = link.near.under();
    let launch = Launch::over(&site).arguments(&["--allow-root"]).under(&near);
    let server = launch.clone().listen(link.near.address(0)).start().await;
    let cli = CliFixture::new(&site, &user, server.address());
    let person = PersonAt::new(&link.far, &cli);
    let test_file = TestFile::new(5 * BLOCK + 3, 980);
    cli.write("a.bin", &test_file);

    let mut join = towlined();
    let join = join.args(["join", "--user", "ada", "--data-dir"]).arg(site.path());
    let line = stdout(join).await.trim().to_owned();
    assert!(line.starts_with(&format!("towline://{}/SHA256:", server.address())), "{line}");
    person.types(&["login", &line, "--as", "nas"]).await.assert_done();
    person.types(&["put", "a.bin", "nas:"]).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    assert_eq!(person.types(&["ls"]).await.assert_done().out, "a.bin\n");

    let address = server.address();
    server.gone().await;
    fs::remove_file(site.path().join("keys/tls.pem")).unwrap();
    let server = launch.listen(address).variable("TOWLINE_LOG", "trace").start().await;
    cli.write("b.bin", &TestFile::new(100, 981));
    let refused = person.types(&["put", "b.bin", "nas:"]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("Nothing was sent, not even the token"), "{refused:?}");
    // The other way round: a line for the new key. It does not replace the key that is known; once the
    // person has removed that one, the secret is still good, and is sent only over TLS.
    let mut join = towlined();
    let join = join.args(["join", "--user", "ada", "--data-dir"]).arg(site.path());
    let line = stdout(join).await.trim().to_owned();
    let refused = person.types(&["login", &line, "--as", "nas"]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("run towline logout nas, delete the line of"), "{refused:?}");
    person.types(&["logout", "nas"]).await.assert_done();
    fs::remove_file(person.setting("known_servers")).unwrap();
    person.types(&["login", &line, "--as", "nas"]).await.assert_done();
    person.types(&["put", "b.bin", "nas:"]).await.assert_done();
    let log = server.gone().await.concat();
    assert_eq!(log.matches("has_joined=true").count(), 1, "{log}");
    assert!(log.contains("logged in"), "it is a log of everything");
}
