//! Which folders `towline receive` takes, and which not.

use super::{Receiver, begun, ctrl_c, desk, names_in};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use towline_tests::cli_fixture::run;
use towline_tests::process::towline;

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_has_one_sitting_and_a_folder_that_is_missing_has_none() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let (sitting, _) = receiver.sit(&cli, &[]).await;
    let second = run(receiver.command(&["--listen", "127.0.0.1:0"])).await;
    second.assert_code(1);
    assert!(second.err.contains("another towline receive is at work"), "{second:?}");
    ctrl_c(sitting).await.assert_done();
    assert_eq!(receiver.names(), [""; 0]);
    let mut missing = towline();
    missing.arg("receive").arg(receiver.path("no"));
    run(missing).await.assert_code(2);
    assert_eq!(receiver.names(), [""; 0]);
}

/// `towline receive` in that folder, which is refused with these texts; nothing is made.
async fn assert_refused(folder: &Path, texts: &[&str]) {
    let mut receive = towline();
    receive.arg("receive").arg(folder).args(["--listen", "127.0.0.1:0"]);
    let refused = run(receive).await;
    refused.assert_code(1);
    for text in texts {
        assert!(refused.err.contains(text), "{text}: {refused:?}");
    }
    assert!(names_in(folder).is_empty(), "{refused:?}");
}

fn set_mode(folder: &Path, mode: u32) {
    fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A group that nobody is in, and a user that nobody is.
const NOBODY: Option<u32> = Some(12_345);

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_which_others_may_rename_is_refused_and_nothing_is_made() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let folder = receiver.folder.path();
    set_mode(folder, 0o707);
    assert_refused(folder, &["all users of this machine", "chmod go-w"]).await;
    // With the sticky bit only the owner of a thing may rename it.
    set_mode(folder, 0o1777);
    let (sitting, _) = receiver.sit(&cli, &[]).await;
    ctrl_c(sitting).await.assert_done();
    if is_root() {
        chown(folder, None, NOBODY).unwrap();
        set_mode(folder, 0o770);
        assert_refused(folder, &["the users of its group", "chmod g-w"]).await;
        chown(folder, NOBODY, None).unwrap();
        assert_refused(folder, &["belongs to another user", "a folder of your own"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_may_move_with_one_around_it_is_refused() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [above, folder] = ["above", "above/mine/dir"].map(|name| receiver.path(name));
    fs::create_dir_all(&folder).unwrap();
    set_mode(&above, 0o777);
    let mend = format!("chmod go-w {}", above.canonicalize().unwrap().display());
    assert_refused(&folder, &["in the place of", "above/mine/dir", &mend]).await;
    // A link to it is no way around.
    let link = receiver.path("link");
    symlink(&folder, &link).unwrap();
    let mut receive = towline();
    receive.arg("receive").arg(&link).args(["--listen", "127.0.0.1:0"]);
    run(receive).await.assert_code(1);
    assert!(names_in(&folder).is_empty());
    if is_root() {
        set_mode(&above, 0o755);
        chown(&above, NOBODY, None).unwrap();
        assert_refused(&folder, &["belongs to another user", "in the place of"]).await;
        chown(&above, Some(0), NOBODY).unwrap();
        set_mode(&above, 0o775);
        assert_refused(&folder, &["the users of its group", "chmod g-w"]).await;
    }
    // The folders of `/tmp` are safe from others by its sticky bit.
    set_mode(&above, 0o1777);
    let mut receive = towline();
    receive.arg("receive").arg(&folder).args(["--listen", "127.0.0.1:0"]);
    let (sitting, _) = begun(cli.start(receive)).await;
    // Who opens it to others meanwhile is told at the end: what they could have put there decides nothing.
    set_mode(&above, 0o777);
    let kept = ctrl_c(sitting).await;
    kept.assert_code(1);
    for text in ["all users of this machine", &mend, "what has arrived is kept in"] {
        assert!(kept.err.contains(text), "{text}: {kept:?}");
    }
    assert_eq!(names_in(&folder), [".towline-receive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_folder_that_is_not_the_persons_alone_is_not_used() {
    let receiver = Receiver::new();
    let hidden = receiver.path(".towline-receive");
    fs::create_dir(&hidden).unwrap();
    fs::set_permissions(&hidden, Permissions::from_mode(0o755)).unwrap();
    let refused = run(receiver.command(&["--listen", "127.0.0.1:0"])).await;
    refused.assert_code(1);
    assert!(refused.err.contains("is not a folder that is yours alone"), "{refused:?}");
    fs::remove_dir(&hidden).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), &hidden).unwrap();
    run(receiver.command(&["--listen", "127.0.0.1:0"])).await.assert_code(1);
    assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_has_left_of_an_ended_sitting_is_removed() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let ended = |end| receiver.path(&format!(".towline-receive-ended-{end}"));
    for end in ["1", "2"] {
        fs::create_dir_all(ended(end).join("store")).unwrap();
        set_mode(&ended(end), 0o700);
    }
    let mark = "Everything in this folder has landed. It may be removed.\n";
    fs::write(ended("1").join("all-landed"), mark).unwrap();
    let (sitting, _) = receiver.sit(&cli, &[]).await;
    assert_eq!(receiver.names(), [".towline-receive", ".towline-receive-ended-2"]);
    let told = ctrl_c(sitting).await;
    assert!(told.assert_done().err.contains("-ended-2 has no mark"), "{told:?}");
    assert_eq!(receiver.names(), [".towline-receive-ended-2"], "nothing says that it has landed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sitting_that_can_not_begin_leaves_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = Receiver::new();
    let port = taken.local_addr().unwrap().to_string();
    let refused = run(receiver.command(&["--listen", &port])).await;
    refused.assert_code(1);
    assert!(refused.err.contains("cannot listen on"), "{refused:?}");
    assert_eq!(receiver.names(), [""; 0]);
}
