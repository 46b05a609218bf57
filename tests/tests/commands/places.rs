//! Every file that was uploaded is in its folder, under its own name or under the name that the
//! client was told, also where files have the same bytes.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// The files below a folder and their bytes, as `diff -r` compares them.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(
                tree(&entry.path()).into_iter().map(|(below, b)| (format!("{name}/{below}"), b)),
            );
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn assert_same(server: &TestServer, cli: &CliFixture, local: &str, remote: &str) {
    let (here, there) = (tree(&cli.path(local)), tree(&server.site.document(&server.user, remote)));
    let names = |tree: &BTreeMap<String, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&here), names(&there), "{local} is not what is in {remote}");
    assert!(here == there, "{local} has other bytes than {remote}");
}

/// The number of completed files whose event has this field set.
fn count(outcome: &Outcome, what: &str) -> usize {
    let is_it = |event: &&Value| event["event"] == "completed" && event[what] == true;
    outcome.events().iter().filter(is_it).count()
}

fn sent_bytes(outcome: &Outcome) -> u64 {
    outcome.events().iter().filter_map(|event| event["sent_bytes"].as_u64()).sum()
}

async fn put(cli: &CliFixture, file: &str, more: &[&str]) -> Outcome {
    let mut put = cli.put(&cli.path(file));
    put.args(more).arg("--json");
    let outcome = run(put).await;
    outcome.assert_done();
    outcome
}

/// A project: many files, some of them equal, some small, some large and some empty.
fn write_project(cli: &CliFixture, folder: &str) {
    for n in 0..120 {
        let size = match n % 8 {
            0 | 1 => 0,
            2 => 300_000,
            3 if n < 20 => BLOCK + 5,
            _ => 10 + n % 5,
        };
        cli.write(&format!("{folder}/pkg{}/m{n}/__init__.py", n % 7), &TestFile::new(size, 40));
        cli.write(&format!("{folder}/pkg{}/f{n}", n % 7), &TestFile::new(20 + n, 41 + n as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_files_of_one_folder_are_all_there() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (size, name) in [(3 * BLOCK, "p"), (5, "q"), (0, "r"), (200_000, "s")] {
        for folder in ["t/a", "t/b", "t/b/c"] {
            cli.write(&format!("{folder}/{name}"), &TestFile::new(size, 30));
        }
    }
    put(&cli, "t", &[]).await;
    assert_same(&server, &cli, "t", "t");
    // A second run has nothing to do.
    let again = put(&cli, "t", &[]).await;
    assert_eq!((count(&again, "existing"), sent_bytes(&again)), (12, 0));
    assert_same(&server, &cli, "t", "t");
    // The same file in another folder is another document, and no byte is sent for it.
    let elsewhere = put(&cli, "t/a/p", &["--folder", "other"]).await;
    let completed = elsewhere.event("completed");
    assert_eq!((&completed["copied"], &completed["existing"]), (&true.into(), &false.into()));
    assert_eq!((completed["filename"].as_str(), sent_bytes(&elsewhere)), (Some("p"), 0));
    assert_eq!(completed["folder"][0], "other");
    server.site.assert_published(&server.user, "other/p", &TestFile::new(3 * BLOCK, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_copy_of_a_project_is_a_whole_project() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    write_project(&cli, "proj");
    put(&cli, "proj", &[]).await;
    assert_same(&server, &cli, "proj", "proj");

    write_project(&cli, "proj-v2");
    let edited = TestFile::new(77, 99);
    cli.write("proj-v2/pkg1/f1", &edited);
    let second = put(&cli, "proj-v2", &[]).await;
    assert_same(&server, &cli, "proj-v2", "proj-v2");
    assert_same(&server, &cli, "proj", "proj");
    assert_eq!(count(&second, "existing"), 0);
    println!("{} of 240 were copied, {} bytes sent", count(&second, "copied"), sent_bytes(&second));

    put(&cli, "proj", &["--folder", "backup-2026"]).await;
    assert_same(&server, &cli, "proj", "backup-2026/proj");
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_twice_makes_no_numbers() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for size in [50, 2 * BLOCK] {
        let name = format!("{size}.txt");
        let (first, second) = (TestFile::new(size, 31), TestFile::new(size, 32));
        cli.write(&name, &first);
        put(&cli, &name, &[]).await;
        cli.write(&name, &second);
        let changed = put(&cli, &name, &[]).await.event("completed");
        assert_eq!(changed["filename"], format!("{size} (1).txt"));
        assert_eq!(changed["asked_filename"], name);
        for _ in 0..3 {
            let again = put(&cli, &name, &[]).await.event("completed");
            assert_eq!(again["filename"], format!("{size} (1).txt"));
            assert_eq!((&again["existing"], &again["sent_bytes"]), (&true.into(), &0.into()));
        }
        assert!(!server.site.document(&server.user, &format!("{size} (2).txt")).exists());
        server.site.assert_published(&server.user, &name, &first);
        server.site.assert_published(&server.user, &format!("{size} (1).txt"), &second);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_or_moved_on_the_server_is_put_again() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    write_project(&cli, "proj");
    put(&cli, "proj", &[]).await;
    let there = |name: &str| server.site.document(&server.user, name);
    fs::remove_dir_all(there("proj/pkg1")).unwrap();
    fs::remove_file(there("proj/pkg2/f2")).unwrap();
    fs::create_dir(there("old")).unwrap();
    fs::rename(there("proj/pkg3/f3"), there("old/f3")).unwrap();
    put(&cli, "proj", &[]).await;
    assert_same(&server, &cli, "proj", "proj");
    assert!(there("old/f3").exists(), "what the operator has moved stays");
}

/// A folder with many equal files: to compare each with each would take noticeably long.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_equal_files() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for n in 0..1000 {
        cli.write(&format!("many/d{}/f{n}", n % 10), &TestFile::new(n % 2, 33));
    }
    put(&cli, "many", &[]).await;
    assert_same(&server, &cli, "many", "many");
    let again = put(&cli, "many", &[]).await;
    assert_eq!(count(&again, "existing"), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_files_that_get_another_name_the_first_are_named_and_all_are_counted() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let names: Vec<_> = (0..25).map(|n| format!("many/{n:02}.txt")).collect();
    for round in 0..2 {
        for (n, name) in (0..).zip(&names) {
            cli.write(name, &TestFile::new(100 + n, 400 + round));
        }
        let outcome = run(cli.put(&cli.path("many"))).await;
        let lines = outcome.assert_done().out.matches("stored as").count();
        assert_eq!(lines, if round == 0 { 0 } else { 20 }, "{outcome:?}");
        let is_counted = outcome.out.contains("25 of them under another name");
        assert_eq!(is_counted, round == 1, "{outcome:?}");
    }
    // With `--verbose`, every name is printed.
    for (n, name) in (0..).zip(&names) {
        cli.write(name, &TestFile::new(100 + n, 402));
    }
    let mut put = cli.put(&cli.path("many"));
    put.arg("--verbose");
    let outcome = run(put).await;
    assert_eq!(outcome.assert_done().out.matches("stored as").count(), 25, "{outcome:?}");
}
