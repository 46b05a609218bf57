//! `towlined expire`: deletes at once what is kept no longer, alone in the data folder.

use super::{Store, failed, put, said};
use std::fs;
use std::path::Path;
use towline_protocol::Code;
use towline_protocol::request::{Delta, Request};
use towline_tests::process::Launch;
use towline_tests::site::Site;
use towline_tests::tamper::contents;

/// Nothing is kept that no user sees.
const NOTHING: [&str; 6] =
    ["--keep-trash", "none", "--keep-versions", "none", "--keep-changes", "none"];

fn with<'a>(command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [command, more].concat()
}

/// How many files lie below a folder of the server.
fn files(folder: &Path) -> usize {
    if folder.exists() { contents(folder).keys().filter(|path| path.is_file()).count() } else { 0 }
}

fn kept(site: &Site) -> (usize, usize) {
    (files(&site.uploads().join(".trash")), files(&site.uploads().join(".versions")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_no_longer_is_told_and_then_deleted() {
    let Store { site, ada, mut server, .. } = Store::filled().await;
    let cursor = {
        let mut client = server.client(&ada).await;
        let first = Delta { limit: Some(100), ..Delta::default() };
        client.delta(first).await.cursor
    };
    put(&mut server.client(&ada).await, "later", &super::file(11)).await;
    assert_eq!(kept(&site), (3, 2));
    // By the rule of the server nothing is due yet.
    let told = said(&site, &["expire", "--dry-run"]).await;
    assert_eq!(
        told,
        "would delete 0 removed things and 0 older versions: 0 B; and 0 entries of the log of changes\n"
    );
    let told = said(&site, &with(&["expire", "--dry-run"], &NOTHING)).await;
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("user 1: old/ (3 files, 37 B, removed 20"), "{told}");
    assert!(lines[1].starts_with("user 1: gone (1 file, 30 B, removed 20"), "{told}");
    assert_eq!(lines[2], "user 1: version 1 of doc (300 B)", "{told}");
    assert!(
        lines[3].starts_with("would delete 2 removed things and 1 older version: 367 B; and "),
        "{told}"
    );
    let refused = failed(&site, &with(&["expire"], &NOTHING)).await;
    assert!(refused.contains("a server has the data folder"), "{refused}");
    assert!(refused.contains("stop the server first"), "{refused}");
    assert_eq!(kept(&site), (3, 2), "nothing was deleted");

    server.kill().await;
    let deleted = said(&site, &["expire"]).await;
    assert!(deleted.starts_with("deleted 0 removed things"), "{deleted}");
    let deleted = said(&site, &with(&["expire"], &NOTHING)).await;
    let expected = lines[3].replace("would delete", "deleted");
    // The removals of the trash are changes of before.
    assert_eq!(deleted.trim_end(), expected);
    assert_eq!(kept(&site), (0, 0));
    let again = said(&site, &with(&["expire", "-n"], &NOTHING)).await;
    assert!(
        again.starts_with("would delete 0 removed things and 0 older versions: 0 B"),
        "{again}"
    );
    said(&site, &["verify"]).await;

    server.start_again().await;
    let mut client = server.client(&ada).await;
    let tree = client.tree(10).await;
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["doc", "later", "proj", "proj/a"]);
    assert_eq!(client.trash().await.len(), 0);
    assert_eq!(client.versions("doc").await.len(), 1);
    // Who was away lists everything anew.
    let since = Delta { since: Some(cursor), ..Delta::default() };
    client.tree_refused(&Request::Delta(since), Code::CursorReset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_said_before_anything_is_deleted() {
    let Store { site, server, .. } = Store::filled().await;
    drop(server.gone().await);
    let config = site.settings("keep_trash = \"90d\"\nkeep_versions = \"1d,7d,365d\"\n");
    let arguments = ["expire", "--config", config.to_str().unwrap(), "--keep-changes", "forever"];
    let output = super::run(&site, &arguments).await;
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(
            "kept are removed files for 90 days; older versions for 365 days (all of them for 1 day, \
             the last one of each hour for 7 days); the log of changes for ever"
        ),
        "{said}"
    );
    assert!(said.contains("the time is 20"), "{said}");
    // What stands before the command is the server's; these two have the option as well.
    let output = super::run(&site, &["--keep-trash", "3d", "expire"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("write --keep-trash behind the command"), "{said}");
    assert_eq!(kept(&site), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_keep_nothing_deletes_it_by_itself() {
    let Store { site, server, ada, .. } = Store::filled().await;
    drop(server.gone().await);
    let server = Launch::over(&site).arguments(&NOTHING).start().await;
    server.says("what is kept no longer was deleted").await;
    assert_eq!(kept(&site), (0, 0));
    let tree = server.client(&ada).await.tree(10).await;
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["doc", "proj", "proj/a"]);
}

/// One user's files cannot be deleted; those of all others, and the logs of changes, are.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_keeps_nothing_else() {
    let Store { site, bob, server, .. } = Store::filled().await;
    put(&mut server.client(&bob).await, "doc", &super::file(61)).await;
    drop(server.gone().await);
    assert_eq!(kept(&site), (3, 3));
    // Something else has the place of a version: of the first user, which is looked at first.
    let in_the_way = site.uploads().join(".versions/1/1");
    fs::remove_file(&in_the_way).unwrap();
    fs::create_dir(&in_the_way).unwrap();
    let output = super::run(&site, &with(&["expire"], &NOTHING)).await;
    assert_eq!(output.status.code(), Some(1));
    let (told, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        told.starts_with("deleted 2 removed things and 1 older version: 127 B; and "),
        "{told}"
    );
    assert!(!told.contains("and 0 entries"), "{told}");
    assert!(
        told.contains("1 removed thing or older version could not be deleted, see above"),
        "{told}"
    );
    assert!(log.contains("older versions could not be deleted"), "{log}");
    assert_eq!(kept(&site), (0, 0));
    // It goes with the next one.
    fs::remove_dir(&in_the_way).unwrap();
    let told = said(&site, &with(&["expire"], &NOTHING)).await;
    assert!(told.starts_with("deleted 0 removed things and 1 older version: 300 B"), "{told}");
    said(&site, &["verify"]).await;
}
