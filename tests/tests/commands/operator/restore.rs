//! `towlined restore`: what `towlined backup` wrote comes back, and clients notice.

use super::{Store, failed_at, file, put, run, run_at, said};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use towline_protocol::Code;
use towline_protocol::request::{Delta, Request};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::RawClient;
use towline_tests::site::{MARKER, Site, TestUser};
use towline_tests::tamper::contents;

/// Makes a backup beside the data folder.
async fn backup(site: &Site, name: &str) -> PathBuf {
    let into = site.outside().join(name);
    said(site, &["backup", into.to_str().unwrap()]).await;
    into
}

async fn now(client: &mut RawClient) -> String {
    let latest = Delta { since: Some("latest".to_owned()), ..Delta::default() };
    client.delta(latest).await.cursor
}

async fn is_reset(server: &ServerProcess, user: &TestUser, cursor: &str) {
    let since = Delta { since: Some(cursor.to_owned()), ..Delta::default() };
    let mut client = server.client(user).await;
    let error = client.tree_refused(&Request::Delta(since), Code::CursorReset).await;
    assert!(format!("{error:?}").contains("estored"), "{error:?}");
}

fn restore_arguments(from: &Path) -> [&str; 2] {
    ["restore", from.to_str().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_catalog_is_put_back_and_clients_list_everything_anew() {
    let Store { site, ada, mut server, .. } = Store::filled().await;
    let from = backup(&site, "backup").await;
    let (cursor, late) = {
        let mut client = server.client(&ada).await;
        let cursor = now(&mut client).await;
        let late = put(&mut client, "after the backup", &file(70)).await;
        (cursor, late)
    };
    // A catalog is never written over, and a server that still runs is not disturbed.
    let before = contents(&site.uploads());
    let refused = failed_at(site.path(), &restore_arguments(&from)).await;
    assert!(refused.contains("there is a catalog already"), "{refused}");
    server.kill().await;
    let refused = failed_at(site.path(), &restore_arguments(&from)).await;
    let state = site.path().join("state");
    let advice = format!("mv {} {}.lost", state.display(), state.display());
    assert!(refused.contains(&advice), "{refused}");

    fs::rename(&state, site.path().join("state.lost")).unwrap();
    let output = run(&site, &restore_arguments(&from)).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("the keys that were there are kept"), "{text}");
    assert!(text.contains("Start the server now"), "{text}");
    assert_eq!(contents(&site.uploads()), before, "no file of a user was touched");

    server.start_again().await;
    is_reset(&server, &ada, &cursor).await;
    let mut client = server.client(&ada).await;
    let tree = client.tree(10).await;
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["doc", "proj", "proj/a"]);
    assert_eq!(client.versions("doc").await.len(), 2, "older versions are there");
    let old = client.trash().await.into_iter().find(|node| node.name == "old").unwrap();
    client.restore(old.node_id).await;
    site.assert_published(&ada, "old/x", &file(10));
    let new = put(&mut client, "new", &file(71)).await;
    assert!(new > late, "{new}: no number is given twice");
    // What came after the backup belongs to no document; nothing else is missing.
    let found = run(&site, &["verify", "--json"]).await;
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.contains("uploads/1/after the backup"), "{found}");

    // The same backup once more: what was given since then is not given again, either.
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    fs::rename(&state, site.path().join("state.lost again")).unwrap();
    assert!(run(&site, &restore_arguments(&from)).await.status.success());
    server.start_again().await;
    let newer = put(&mut server.client(&ada).await, "newer", &file(72)).await;
    assert!(newer > new, "{newer} is behind {new}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_store_comes_back_in_a_new_folder() {
    let Store { site, ada, bob, server, .. } = Store::filled().await;
    let from = backup(&site, "backup").await;
    drop(server.gone().await);
    let place = site.outside().join("new/storage");
    let output = run_at(&place, &restore_arguments(&from)).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let copy = format!("rsync -a COPY/uploads/ {}/uploads/", place.display());
    assert!(text.contains(&copy), "{text}");
    // A start without the documents would take them for lost.
    let ended = Launch::over_path(&place).try_start().await.unwrap_err();
    let ended = ended.said.join("\n");
    assert!(ended.contains("uploads is empty; it should belong to store"), "{ended}");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", site.uploads().display()))
        .arg(place.join("uploads"))
        .status();
    assert!(copied.unwrap().success());
    let server = Launch::over_path(&place).start().await;
    for (user, expected) in [(&ada, vec!["doc", "proj", "proj/a"]), (&bob, vec!["doc"])] {
        let tree = server.client(user).await.tree(10).await;
        assert_eq!(tree.keys().collect::<Vec<_>>(), expected);
    }
    let verified = run_at(&place, &["verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_and_what_is_no_place_for_it_is_refused_and_nothing_is_changed() {
    let Store { site, server, .. } = Store::filled().await;
    let from = backup(&site, "backup").await;
    drop(server.gone().await);
    let target = site.outside().join("target");
    for (missing, why) in [
        ("README.txt", "it has no README.txt"),
        ("state/catalog.db", "it has no state/catalog.db"),
        (MARKER, "it has no .towline-store"),
    ] {
        let aside = site.outside().join("aside");
        fs::rename(from.join(missing), &aside).unwrap();
        let refused = failed_at(&target, &restore_arguments(&from)).await;
        assert!(refused.contains(why) && refused.contains("towlined backup"), "{refused}");
        assert!(!target.exists(), "{missing}");
        fs::rename(&aside, from.join(missing)).unwrap();
    }
    // A folder with other things, and the folder of another store.
    fs::create_dir(&target).unwrap();
    fs::write(target.join("letter.txt"), "mine").unwrap();
    let refused = failed_at(&target, &restore_arguments(&from)).await;
    assert!(refused.contains("is not empty and has no marker file"), "{refused}");
    assert_eq!(contents(&target).len(), 1);
    let other = Site::new();
    other.add_user("eve").await;
    Launch::over(&other).start().await.gone().await;
    fs::remove_dir_all(other.path().join("state")).unwrap();
    let before = contents(other.path());
    let refused = failed_at(other.path(), &restore_arguments(&from)).await;
    assert!(refused.contains("belongs to store"), "{refused}");
    assert_eq!(contents(other.path()), before);
    // A backup that a disk has damaged.
    let copy = from.join("state/catalog.db");
    let mut bytes = fs::read(&copy).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0x5a);
    }
    fs::write(&copy, bytes).unwrap();
    let empty = site.outside().join("empty");
    let refused = failed_at(&empty, &restore_arguments(&from)).await;
    assert!(refused.contains("catalog"), "{refused}");
    assert!(!empty.join("state/catalog.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_between_two_keys_is_finished_by_the_next() {
    let site = Site::new();
    site.add_user("ada").await;
    ServerProcess::start(&site).await.gone().await;
    said(&site, &["key", "add"]).await;
    let from = backup(&site, "backup").await;
    let key = |name: &str| site.path().join("keys").join(name);
    let first = fs::read(key("ed25519.pk8")).unwrap();
    // What is there where the last key was not copied yet.
    fs::rename(site.path().join("state"), site.path().join("state.lost")).unwrap();
    fs::remove_file(key("ed25519.pk8")).unwrap();
    said(&site, &restore_arguments(&from)).await;
    assert_eq!(fs::read(key("ed25519.pk8")).unwrap(), first);
    // The key by which clients know the server comes back also beside keys that are kept.
    let known = fs::read(key("tls.pem")).unwrap();
    fs::rename(site.path().join("state"), site.path().join("state.once")).unwrap();
    fs::remove_file(key("tls.pem")).unwrap();
    said(&site, &restore_arguments(&from)).await;
    assert_eq!(fs::read(key("tls.pem")).unwrap(), known);
    // A key that is not of the backup stays, and none is added to it.
    fs::rename(site.path().join("state"), site.path().join("state.again")).unwrap();
    fs::remove_file(key("ed25519.pk8")).unwrap();
    fs::rename(key("ed25519-2.pk8"), key("ed25519-3.pk8")).unwrap();
    said(&site, &restore_arguments(&from)).await;
    assert!(!key("ed25519.pk8").exists() && key("ed25519-3.pk8").exists());
}
