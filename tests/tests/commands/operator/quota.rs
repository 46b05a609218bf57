//! `towlined user quota`, beside a server that runs.

use super::{run as towlined, said};
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_at_once_and_the_person_is_told_what_to_do() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let quota = ["user", "quota", "ada"];
    let before = said(&server.site, &quota).await;
    assert_eq!(
        before,
        "ada: 0 bytes (limit: that of the server), 0 files (limit: that of the server)\n"
    );
    let set =
        said(&server.site, &[&quota[..], &["--bytes", "1MB", "--files", "10"]].concat()).await;
    assert_eq!(set, "ada: 0 bytes (limit: 1 MB), 0 files (limit: 10)\n");

    let refused = run(cli.put(&cli.write("large.bin", &TestFile::new(1_000_001, 1)))).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    for words in ["quota", "1 MB", "towline rm", "towlined user quota"] {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    run(cli.put(&cli.write("small.bin", &TestFile::new(1000, 2)))).await.assert_done();
    let now = said(&server.site, &[&quota[..], &["--bytes", "unlimited"]].concat()).await;
    assert_eq!(now, "ada: 1 kB (limit: none), 1 files (limit: 10)\n");
    run(cli.put(&cli.path("large.bin"))).await.assert_done();

    for typed in ["much", "-1", "1 apple"] {
        let bad =
            towlined(&server.site, &["user", "quota", "ada", &format!("--bytes={typed}")]).await;
        assert_eq!(bad.status.code(), Some(2), "{typed}");
    }
}
