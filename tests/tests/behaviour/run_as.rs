//! A server that root has started: it becomes another user, or stays where only this machine
//! reaches it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{ZERO, upload};
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;
use towline_tests::volume::skipped;

/// The user that every system has for programs without rights.
const NAME: &str = "nobody";
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped(&"needs root: only root can become another user");
    }
    is_root
}

/// The message of a start that is refused, and its exit code.
async fn refused(launch: &Launch) -> (Option<i32>, String) {
    let ended = launch.try_start().await.expect_err("the start is refused");
    (ended.status.and_then(|status| status.code()), ended.said.join("\n"))
}

/// Gives the folder and all in it to that user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        path.read_dir().unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_serves_other_machines_only_where_that_was_said() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let launch = Launch::over(&site).listen_on("0.0.0.0:0");
    let (code, said) = refused(&launch).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--user NAME") && said.contains("--allow-root"), "{said}");
    assert!(!site.catalog_path().exists(), "nothing was made");
    let said = launch.clone().arguments(&["--allow-root"]).start().await.gone().await;
    assert!(!said.iter().any(|line| line.contains("runs as root")), "{said:#?}");
    let settings = site.settings("allow_root = true");
    launch.settings(&settings).start().await.gone().await;
    // On loopback it is a warning.
    let server = Launch::over(&site).start().await;
    server.says_in_one_line(&["WARN", "runs as root", "--user NAME"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_user_the_server_has_its_port_and_no_right_of_root() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let user = site.add_user("ada").await;
    fs::set_permissions(site.outside(), fs::Permissions::from_mode(0o755)).unwrap();
    // The store belongs to root: for another user it is not safe, or cannot be written.
    let process = std::process::id().to_be_bytes();
    // An address of loopback that no other test has, so that the port is free.
    let listen = format!("127.{}.{}.77:443", process[2], process[3]);
    let launch = Launch::over(&site).listen_on(&listen).arguments(&["--user", NAME]);
    let (code, said) = refused(&launch).await;
    assert_eq!(code, Some(1), "{said}");
    give(site.path(), NOBODY);
    let server = launch.start().await;
    assert_eq!(server.address().to_string(), listen);
    assert!(!server.said().iter().any(|line| line.contains("runs as root")));
    assert_has_no_right_of_root(&server);

    let mut client = server.client(&user).await;
    let test_file = TestFile::new(100_000, 71);
    client.upload(upload("a.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    site.assert_published(&user, "a.bin", &test_file);
    let about = site.document(&user, "a.bin").metadata().unwrap();
    assert_eq!((about.uid(), about.gid()), (NOBODY, NOBODY));
}

/// Looks at every thread of the server: each has its own rights.
fn assert_has_no_right_of_root(server: &ServerProcess) {
    let tasks = format!("/proc/{}/task", server.id());
    let mut seen = 0;
    for task in fs::read_dir(tasks).unwrap() {
        // A thread may have ended meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let words = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let nobody = BTreeSet::from([NOBODY.to_string()]);
        assert_eq!((words("Uid:"), words("Gid:")), (nobody.clone(), nobody.clone()), "{status}");
        assert!(words("Groups:").is_subset(&nobody), "{status}");
        for rights in ["CapPrm:", "CapEff:"] {
            assert_eq!(words(rights), BTreeSet::from(["0".repeat(16)]), "{status}");
        }
        seen += 1;
    }
    assert!(seen > 1, "the server has threads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_none_and_root_itself_are_mistakes() {
    let site = Site::new();
    for user in ["no-such-user-here", "root", "0"] {
        let (code, said) = refused(&Launch::over(&site).arguments(&["--user", user])).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--user"), "{said}");
    }
}
