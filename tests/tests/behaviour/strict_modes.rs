//! A store that other users of the machine may change is not served, and what a server makes has the
//! same modes whatever umask it was started with.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use towline_protocol::request::Upload;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The message of a start that is refused.
async fn refusal(launch: &Launch) -> String {
    let ended = launch.try_start().await.expect_err("the start is refused");
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1), "{ended:?}");
    ended.said.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_others_may_change_is_refused_and_the_commands_of_the_message_mend_it() {
    let site = Site::new();
    site.add_user("ada").await;
    let launch = Launch::over(&site).arguments(&["--allow-root"]);
    let said = launch.start().await.gone().await;
    assert!(!said.iter().any(|line| line.contains("WARN")), "{said:#?}");
    chmod(site.path(), 0o777);
    chmod(&site.path().join("keys"), 0o770);
    chmod(&site.path().join("keys/ed25519.pk8"), 0o644);
    let said = refusal(&launch).await;
    for part in ["everybody on this machine may write into", "ed25519.pk8, a secret", "its group"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let commands: Vec<_> =
        said.lines().filter_map(|line| line.split_once("To mend it: ")).collect();
    assert_eq!(commands.len(), 3, "{said}");
    for (_, command) in commands {
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    }
    launch.start().await.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_in_an_empty_folder_that_others_may_write_into() {
    let site = Site::new();
    let empty = site.outside().join("empty");
    fs::create_dir(&empty).unwrap();
    chmod(&empty, 0o777);
    let said = refusal(&Launch::over_path(&empty)).await;
    assert!(said.contains("Nothing was changed"), "{said}");
    assert_eq!(empty.read_dir().unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_strict_modes_the_same_faults_are_warnings() {
    let site = Site::new();
    site.add_user("ada").await;
    chmod(site.path(), 0o777);
    let launch = Launch::over(&site).settings(&site.settings("strict_modes = false"));
    let said = launch.start().await.gone().await.join("\n");
    assert!(said.contains("WARN") && said.contains("everybody on this machine"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_operator_names_must_be_readable_by_no_other_user() {
    let site = Site::new();
    site.add_user("ada").await;
    ServerProcess::start(&site).await.gone().await;
    let pem = site.outside().join("own.pem");
    fs::copy(site.path().join("keys/tls.pem"), &pem).unwrap();
    let typed = pem.to_str().unwrap();
    let launch = Launch::over(&site).arguments(&["--tls-cert", typed, "--tls-key", typed]);
    chmod(&pem, 0o644);
    let said = refusal(&launch).await;
    assert!(said.contains(&format!("chmod 600 {typed}")), "{said}");
    // Its group may read it: that is how several services share a key.
    chmod(&pem, 0o640);
    launch.start().await.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_the_same_whatever_the_umask() {
    for (umask, group_access, file, folder) in [
        ("000", "read", 0o640, 0o750),
        ("077", "read", 0o640, 0o750),
        ("000", "none", 0o600, 0o700),
    ] {
        let site = Site::new();
        let data_dir = site.outside().join("made");
        let settings = site.settings(&format!("group_access = \"{group_access}\""));
        let with_umask = format!("umask {umask}; exec \"$0\" \"$@\"");
        let launch = Launch::over_path(&data_dir).settings(&settings);
        let server = launch.variable("USER", "ann").under(&["sh", "-c", &with_umask]).start().await;
        server.says("Created user").await;
        let token = fs::read_to_string(data_dir.join("ann.token")).unwrap();
        let mut client = RawClient::login(server.address(), token.trim()).await;
        client.mkdir("a").await;
        let test_file = TestFile::new(100_000, 7);
        let inside = vec!["a".to_owned()];
        let granted = client.upload(Upload { folder: inside, ..upload("b.bin", &test_file) }).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.complete(ZERO).await;
        assert_eq!(granted.document_id.get(), 1);
        let modes = modes(&data_dir);
        let mode = |path: &str| *modes.get(path).unwrap_or_else(|| panic!("{path}: {modes:#?}"));
        for (path, expected) in [
            ("", folder),
            ("uploads", folder),
            ("uploads/1", folder),
            ("uploads/1/a", folder),
            ("uploads/1/a/b.bin", file),
            ("uploads/.staging", 0o700),
            ("state", 0o700),
            ("state/catalog.db", 0o600),
            ("state/catalog.db-wal", 0o600),
            ("keys", 0o700),
            ("keys/ed25519.pk8", 0o600),
            ("keys/tls.pem", 0o600),
            ("ann.token", 0o600),
        ] {
            assert_eq!(mode(path), expected, "{path}, umask {umask}: {modes:#?}");
        }
        // Nothing else is more than that either.
        assert!(modes.values().all(|mode| mode & 0o027 & !folder == 0), "{modes:#?}");
        server.gone().await;
    }
}

/// The modes of everything in that folder.
fn modes(folder: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let below = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        found.insert(below, metadata.mode() & 0o777);
        if metadata.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}
