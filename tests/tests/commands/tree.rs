//! What a person does with files and folders on the server: `ls`, `mkdir`, `mv`, `rm`, `restore`,
//! `versions`, `verify` and `log`.

use std::path::Path;
use std::time::Duration;
use towline_state::catalog::Retention;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

/// A command about the server, from the folder of the fixture.
async fn ask(cli: &CliFixture, command: &str, arguments: &[&str]) -> Outcome {
    let mut asked = cli.at_home(command, &cli.path("state"));
    cli.reach(&mut asked);
    asked.args(arguments).current_dir(cli.path("."));
    run(asked).await
}

async fn put(cli: &CliFixture, path: &Path, more: &[&str]) {
    let mut put = cli.put(path);
    put.args(more);
    run(put).await.assert_done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_listed_compared_and_looked_after() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let files = [("proj/a.txt", 930), ("proj/src/main.rs", 931), ("proj/src/x/y", 932)];
    for (name, seed) in files {
        cli.write(name, &TestFile::new(1000, seed));
    }
    put(&cli, &cli.path("proj"), &[]).await;

    let listed = ask(&cli, "ls", &[]).await;
    assert_eq!(listed.assert_done().out, "proj/\n");
    let listed = ask(&cli, "ls", &["-R", "proj"]).await;
    let expected = "a.txt\nsrc/\nsrc/main.rs\nsrc/x/\nsrc/x/y\n";
    assert_eq!(listed.assert_done().out, expected);
    let listed = ask(&cli, "ls", &["--tree", "proj"]).await;
    assert_eq!(listed.assert_done().out, "a.txt\nsrc/\n  main.rs\n  x/\n    y\n");
    let listed = ask(&cli, "ls", &["-l", "proj/a.txt"]).await;
    assert!(listed.assert_done().out.contains("1000 bytes"), "{listed:?}");
    assert!(listed.out.starts_with("-rw"), "the mode is kept: {listed:?}");
    let listed = ask(&cli, "ls", &["--b3sum", "proj"]).await;
    let hash = TestFile::new(1000, 931).hash();
    assert!(listed.assert_done().out.contains(&format!("{hash}  src/main.rs\n")), "{listed:?}");
    let listed = ask(&cli, "ls", &["-R", "--name", "*.RS", "proj"]).await;
    assert_eq!(listed.assert_done().out, "src/main.rs\n");
    let listed = ask(&cli, "ls", &["-R", "--kind", "folder"]).await;
    assert_eq!(listed.assert_done().out, "proj/\nproj/src/\nproj/src/x/\n");
    ask(&cli, "ls", &["--name", "src/*"]).await.assert_code(2);
    ask(&cli, "ls", &["--kind", "device"]).await.assert_code(2);
    let listed = ask(&cli, "ls", &["--json", "proj"]).await;
    assert_eq!(listed.assert_done().events()[0]["name"], "a.txt");
    ask(&cli, "ls", &["nothing"]).await.assert_code(1);
    ask(&cli, "ls", &["../x"]).await.assert_code(2);

    ask(&cli, "verify", &["proj"]).await.assert_done();
    cli.write("proj/a.txt", &TestFile::new(1000, 940));
    cli.write("proj/new", &TestFile::new(10, 941));
    std::fs::remove_file(cli.path("proj/src/main.rs")).unwrap();
    let compared = ask(&cli, "verify", &["proj"]).await;
    compared.assert_code(1);
    for line in ["a.txt: differs", "new: is not on", "main.rs: is only on", "1 file the same"] {
        assert!(compared.out.contains(line), "{line}: {compared:?}");
    }

    ask(&cli, "mkdir", &["old/2026"]).await.assert_done();
    ask(&cli, "mv", &["proj/src", "old/2026"]).await.assert_done();
    ask(&cli, "mv", &["proj/a.txt", "proj/b.txt"]).await.assert_done();
    ask(&cli, "mv", &["old", "old/2026/old"]).await.assert_code(1);
    for (new, why) in [
        ("nofolder/b.txt", "nofolder/b.txt: the folder in which it is to lie is not there"),
        ("OLD", "OLD: a folder with this name"),
    ] {
        let refused = ask(&cli, "mv", &["proj/b.txt", new]).await;
        refused.assert_code(1);
        assert!(refused.err.contains(why), "{new}: {refused:?}");
    }
    let listed = ask(&cli, "ls", &["-R"]).await;
    let expected = "old/\nold/2026/\nold/2026/src/\nold/2026/src/main.rs\nold/2026/src/x/\n\
                    old/2026/src/x/y\nproj/\nproj/b.txt\n";
    assert_eq!(listed.assert_done().out, expected);
    server.site.assert_published(&server.user, "old/2026/src/x/y", &TestFile::new(1000, 932));

    // Without a terminal nothing is asked, and so nothing is removed.
    ask(&cli, "rm", &["old"]).await.assert_code(2);
    ask(&cli, "rm", &["--yes", "old", "proj/b.txt"]).await.assert_done();
    assert_eq!(ask(&cli, "ls", &["-R"]).await.out, "proj/\n");
    ask(&cli, "restore", &["old"]).await.assert_done();
    server.site.assert_published(&server.user, "old/2026/src/x/y", &TestFile::new(1000, 932));
    let told = ask(&cli, "log", &["-n", "2"]).await;
    assert_eq!(told.assert_done().out.lines().count(), 2, "{told:?}");
    assert!(told.out.contains("removed") && told.out.contains("  proj/b.txt\n"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_every_night_is_one_file_with_versions() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let nights: Vec<_> = (0..3).map(|n| TestFile::new(2000 + n, 950)).collect();
    for night in &nights {
        let report = cli.write("report.csv", night);
        put(&cli, &report, &["--on-conflict", "replace"]).await;
    }
    assert_eq!(ask(&cli, "ls", &[]).await.assert_done().out, "report.csv\n");
    server.site.assert_published(&server.user, "report.csv", &nights[2]);
    let versions = ask(&cli, "versions", &["report.csv", "--json"]).await;
    let versions = versions.assert_done().events();
    let sizes: Vec<_> = versions.iter().filter_map(|version| version["size"].as_u64()).collect();
    assert_eq!(sizes, [2002, 2001, 2000]);
    let first = versions[2]["version"].to_string();
    ask(&cli, "restore", &["report.csv", "--version", &first]).await.assert_done();
    server.site.assert_published(&server.user, "report.csv", &nights[0]);

    // What is there is left alone, and that is no failure.
    let report = cli.write("report.csv", &nights[1]);
    let mut skipped = cli.put(&report);
    skipped.args(["--on-conflict", "skip", "--json"]);
    let summary = run(skipped).await.assert_done().event("summary");
    assert_eq!((&summary["sent"], &summary["skipped"]), (&0.into(), &1.into()), "{summary}");
    server.site.assert_published(&server.user, "report.csv", &nights[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_there_and_a_folder_that_has_none_are_named() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    put(&cli, &cli.write("a.txt", &TestFile::new(10, 951)), &["--folder", "plans"]).await;
    let missing = ask(&cli, "restore", &["plans/a.txt", "--version", "999"]).await;
    let said = &missing.assert_code(1).err;
    assert!(said.contains("no version 999"), "{said}");
    assert!(said.contains("towline versions plans/a.txt"), "{said}");
    let folder = ask(&cli, "versions", &["plans"]).await;
    let said = &folder.assert_code(1).err;
    assert!(said.contains("plans is no file") && folder.out.is_empty(), "{folder:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_kept_for_ever_has_no_last_day() {
    let forever = Retention { all: Duration::MAX, hourly: Duration::MAX, daily: Duration::MAX };
    for (kept, days) in [(Retention::default(), true), (forever, false)] {
        let server = TestServer::start_with(move |config| config.engine.keep.versions = kept).await;
        let cli = CliFixture::new(&server.site, &server.user, server.address());
        for n in 0..2 {
            let report = cli.write("report.csv", &TestFile::new(10, 955 + n));
            put(&cli, &report, &["--on-conflict", "replace"]).await;
        }
        let told = ask(&cli, "versions", &["report.csv", "--json"]).await;
        let versions = told.assert_done().events();
        assert!(versions[0].get("keep_until").is_none(), "the file as it is: {versions:?}");
        assert_eq!(versions[1].get("keep_until").is_some(), days, "{versions:?}");
        let told = ask(&cli, "versions", &["report.csv"]).await;
        let older = told.assert_done().out.lines().last().unwrap();
        match days {
            true => {
                assert!(older.contains("  kept until 2") && older.ends_with("at least"), "{older}")
            }
            false => assert!(older.ends_with("  kept"), "{older}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_is_listed_and_what_is_in_it_comes_back_by_its_path() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (name, seed) in [("proj/a.txt", 960), ("proj/old/b.txt", 961), ("c.txt", 962)] {
        cli.write(name, &TestFile::new(1000, seed));
    }
    put(&cli, &cli.path("proj"), &[]).await;
    put(&cli, &cli.path("c.txt"), &[]).await;
    assert_eq!(ask(&cli, "ls", &["--trash"]).await.assert_done().out, "");
    ask(&cli, "rm", &["--yes", "proj/old", "c.txt", "proj"]).await.assert_done();
    let listed = ask(&cli, "ls", &["--trash"]).await;
    assert_eq!(listed.assert_done().out, "proj/old/\nc.txt\nproj/\n");
    let listed = ask(&cli, "ls", &["--trash", "proj"]).await;
    assert_eq!(listed.assert_done().out, "proj/old/\nproj/\n");
    let listed = ask(&cli, "ls", &["--trash", "-l", "c.txt"]).await;
    let line = &listed.assert_done().out;
    assert!(line.contains("1000 bytes  20") && line.ends_with("  c.txt\n"), "{line}");
    let event = &ask(&cli, "ls", &["--trash", "--json", "c.txt"]).await.events()[0];
    assert_eq!(event["path"], "c.txt");
    assert!(event["deleted_at"].is_u64(), "{event}");
    ask(&cli, "ls", &["--trash", "-R"]).await.assert_code(2);

    let refused = ask(&cli, "restore", &["proj/a.txt"]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("with the folder \"proj\"; restore that folder"), "{refused:?}");
    let restored = ask(&cli, "restore", &["proj/old/b.txt"]).await;
    restored.assert_code(1);
    assert!(restored.err.contains("\"proj/old\""), "{restored:?}");
    ask(&cli, "restore", &["proj"]).await.assert_done();
    ask(&cli, "restore", &["proj/old"]).await.assert_done();
    server.site.assert_published(&server.user, "proj/old/b.txt", &TestFile::new(1000, 961));
    let there = ask(&cli, "restore", &["proj/a.txt"]).await;
    assert_eq!(there.assert_done().out, "proj/a.txt is not in the trash; it is there\n");
    assert_eq!(ask(&cli, "ls", &["--trash"]).await.assert_done().out, "c.txt\n");
}
