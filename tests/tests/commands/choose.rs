//! What of a folder is sent: `--include`, `--exclude`, `.towlineignore`, `--copy-links`.

use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

const NAMES: [&str; 6] =
    ["a.jpg", "a.tmp", "deep/b.jpg", "deep/b.tmp", "target/out.jpg", "x/.towlineignore"];

fn photos(cli: &CliFixture) {
    for (name, seed) in NAMES.iter().zip(700..) {
        cli.write(&format!("photos/{name}"), &TestFile::new(1000, seed));
    }
    std::fs::write(cli.path("photos/x/.towlineignore"), "*.jpg\n").unwrap();
    std::fs::write(cli.path("photos/x/left-out.jpg"), "no").unwrap();
}

async fn put(cli: &CliFixture, more: &[&str]) -> Outcome {
    let mut put = cli.put(&cli.path("photos"));
    put.args(more);
    run(put).await
}

fn is_there(server: &TestServer, name: &str) -> bool {
    server.site.document(&server.user, &format!("photos/{name}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn get_leaves_out_what_put_would() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    photos(&cli);
    std::fs::remove_file(cli.path("photos/x/.towlineignore")).unwrap();
    put(&cli, &[]).await.assert_done();
    let all = [
        "a.jpg",
        "a.tmp",
        "deep",
        "deep/b.jpg",
        "deep/b.tmp",
        "target",
        "target/out.jpg",
        "x",
        "x/left-out.jpg",
    ];
    for (number, (rules, excluded, left)) in [
        (&["--exclude", "*.tmp", "--exclude", "/target/"][..], 3, &[0, 2, 3, 7, 8][..]),
        (&["--include", "*.tmp"], 4, &[1, 2, 4]),
        (&["--exclude", "deep/", "--include", "*.jpg"], 2, &[0, 5, 6, 7, 8]),
    ]
    .into_iter()
    .enumerate()
    {
        let back = cli.path(&format!("back {number}"));
        let mut get = cli.at_home("get", &cli.path("state"));
        cli.reach(&mut get);
        get.arg("photos").arg("-o").arg(&back).args(rules).arg("--json");
        let summary = run(get).await.assert_done().event("summary");
        assert_eq!(summary["excluded"], excluded, "{rules:?}: {summary}");
        for (place, name) in all.iter().enumerate() {
            let is_there = back.join(name).exists();
            assert_eq!(is_there, left.contains(&place), "{rules:?}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_ignore_files_leave_out_what_they_name_and_it_is_counted() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    photos(&cli);
    let rules = ["--exclude", "/target/", "--exclude", "*.tmp"];
    let outcome = put(&cli, &[&rules[..], &["--json"]].concat()).await;
    let summary = outcome.assert_done().event("summary");
    // Two files and a folder by the rules, one file by the ignore file.
    assert_eq!((&summary["sent"], &summary["excluded"]), (&3.into(), &4.into()), "{summary}");
    for (name, is_sent) in [
        ("a.jpg", true),
        ("deep/b.jpg", true),
        ("x/.towlineignore", true),
        ("x/left-out.jpg", false),
        ("a.tmp", false),
        ("deep/b.tmp", false),
        ("target/out.jpg", false),
    ] {
        assert_eq!(is_there(&server, name), is_sent, "{name}");
    }
    let outcome = put(&cli, &["--include", "*.tmp", "--dry-run"]).await;
    let told = &outcome.assert_done().out;
    assert!(
        told.contains("would send 2 files, ") && told.contains("5 left out by rules"),
        "{told}"
    );
    let outcome = put(&cli, &["--exclude", "!a"]).await;
    outcome.assert_code(2);
    assert!(outcome.err.contains("--exclude"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_can_be_sent_as_what_they_lead_to() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outside = TestFile::new(5000, 710);
    cli.write("photos/a.jpg", &TestFile::new(10, 711));
    let target = cli.write("outside/b.jpg", &outside);
    std::os::unix::fs::symlink(target, cli.path("photos/b.jpg")).unwrap();
    std::os::unix::fs::symlink(".", cli.path("photos/round")).unwrap();
    let outcome = put(&cli, &["--copy-links", "--json"]).await;
    let summary = outcome.assert_done().event("summary");
    assert_eq!((&summary["sent"], &summary["skipped"]), (&2.into(), &1.into()), "{summary}");
    server.site.assert_published(&server.user, "photos/b.jpg", &outside);
}
