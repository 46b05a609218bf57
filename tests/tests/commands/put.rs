//! `towline put` without faults.

use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_published_and_said_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (size, name) in [(0, "empty"), (1, "one"), (BLOCK, "block"), (3 * BLOCK + 7, "more.bin")] {
        let test_file = TestFile::new(size, 1);
        let mut put = cli.put(&cli.write(name, &test_file));
        put.arg("--verbose");
        let outcome = run(put).await;
        outcome.assert_done();
        assert!(outcome.out.contains(&test_file.hash().to_string()), "{outcome:?}");
        server.site.assert_published(&server.user, name, &test_file);
    }
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_event_a_line() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(2 * BLOCK + 5, 2);
    let mut put = cli.put(&cli.write("a.bin", &test_file));
    put.arg("--json");
    let outcome = run(put).await;
    let names: Vec<_> =
        outcome.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.first().map(String::as_str), Some("started"));
    assert_eq!(names.last().map(String::as_str), Some("summary"));
    assert_eq!(outcome.event("completed")["blake3"], test_file.hash().to_string());
    assert_eq!(outcome.event("completed")["sent_bytes"], test_file.size());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_put_as_it_is() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let (a, b) = (TestFile::new(1000, 3), TestFile::new(2000, 4));
    cli.write("papers/a.txt", &a);
    cli.write("papers/deep/er/b.txt", &b);
    let names = ["papers/.env", "papers/.git/config", "papers/..a", "papers/.staging/1.tmp"];
    for (name, seed) in names.into_iter().zip(41..) {
        cli.write(name, &TestFile::new(100, seed));
    }
    cli.write("papers/con", &a);
    std::os::unix::fs::symlink("/etc/passwd", cli.path("papers/link")).unwrap();
    let outcome = run(cli.put(&cli.path("papers"))).await;
    // One name is refused with its reason, the link is passed over, and the other files are
    // uploaded.
    outcome.assert_code(1);
    assert!(outcome.err.contains("papers/con"), "{outcome:?}");
    for (name, seed) in names.into_iter().zip(41..) {
        server.site.assert_published(&server.user, name, &TestFile::new(100, seed));
    }
    server.site.assert_published(&server.user, "papers/a.txt", &a);
    server.site.assert_published(&server.user, "papers/deep/er/b.txt", &b);
    assert!(!server.site.document(&server.user, "papers/link").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_not_sent_again() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(BLOCK + 9, 5);
    let file = cli.write("a.bin", &test_file);
    run(cli.put(&file)).await.assert_done();
    let mut put = cli.put(&file);
    put.arg("--json");
    let again = run(put).await;
    let completed = again.assert_done().event("completed");
    assert_eq!(completed["existing"], true);
    assert_eq!(completed["sent_bytes"], 0);
    assert_eq!(completed["document_id"], 1);

    let mut put = cli.put(&file);
    put.args(["--again", "--json"]);
    let sent = run(put).await;
    assert_eq!(sent.assert_done().event("completed")["filename"], "a (1).bin");

    // A file of the same length with other bytes.
    let other = TestFile::new(BLOCK + 9, 6);
    let outcome = run(cli.put(&cli.write("b.bin", &other))).await;
    outcome.assert_done();
    server.site.assert_published(&server.user, "b.bin", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_name_is_never_overwritten() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let (first, second) = (TestFile::new(100, 7), TestFile::new(200, 8));
    run(cli.put(&cli.write("a.bin", &first))).await.assert_done();
    let mut put = cli.put(&cli.write("a.bin", &second));
    put.args(["--on-conflict", "reject"]);
    let outcome = run(put).await;
    outcome.assert_code(1);
    run(cli.put(&cli.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &first);
    server.site.assert_published(&server.user, "a (1).bin", &second);
}

/// How many files and links the user has on the server.
async fn stored(cli: &CliFixture) -> usize {
    let mut list = cli.at_home("ls", &cli.path("state"));
    list.args(["-R", "--json"]);
    cli.reach(&mut list);
    let listed = run(list).await;
    let is_no_folder = |event: &serde_json::Value| event["kind"] != "folder";
    listed.assert_done().events().iter().filter(|event| is_no_folder(event)).count()
}

/// The disk of the server may keep them apart, and the catalog does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_got_a_number_because_its_name_counts_as_the_same_is_found_there() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let names =
        ["cc/Makefile", "cc/makefile", "cc/Src/a", "cc/src/a", "cc/\u{e9}.txt", "cc/e\u{301}.txt"];
    for (name, salt) in names.iter().zip(1150..) {
        cli.write(name, &TestFile::new(100, salt));
    }
    std::os::unix::fs::symlink("nowhere", cli.path("cc/was link")).unwrap();
    run(cli.put(&cli.path("cc"))).await.assert_done();
    // A link has become a file.
    std::fs::remove_file(cli.path("cc/was link")).unwrap();
    cli.write("cc/was link", &TestFile::new(101, 1160));
    run(cli.put(&cli.path("cc"))).await.assert_done();
    let before = stored(&cli).await;
    assert_eq!(before, names.len() + 2);
    for _ in 0..2 {
        let mut again = cli.put(&cli.path("cc"));
        again.arg("--json");
        let summary = run(again).await.assert_done().event("summary");
        assert_eq!(summary["existing"], names.len() + 1, "{summary}");
    }
    for name in ["cc/Makefile", "cc/makefile"].repeat(2) {
        let mut one = cli.put(&cli.path(name));
        one.args(["--folder", "cc"]);
        let outcome = run(one).await;
        assert!(outcome.assert_done().out.contains("already there"), "{outcome:?}");
    }
    assert_eq!(stored(&cli).await, before);
}
