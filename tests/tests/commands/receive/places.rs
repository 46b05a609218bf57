//! Which folders `towline receive` takes, and which not.

use super::{Receiver, ctrl_c, desk};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_which_others_may_rename_is_refused_and_nothing_is_made() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let folder = receiver.folder.path();
    let modes = |mode| fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    for mode in [0o770, 0o707] {
        modes(mode);
        let refused = run(receiver.command(&["--listen", "127.0.0.1:0"])).await;
        refused.assert_code(1);
        assert!(refused.err.contains("chmod go-w"), "{refused:?}");
        assert_eq!(receiver.names(), [""; 0]);
    }
    // With the sticky bit only the owner of a thing may rename it.
    modes(0o1777);
    let (sitting, _) = receiver.sit(&cli, &[]).await;
    ctrl_c(sitting).await.assert_done();
    if rustix::process::geteuid().is_root() {
        chown(folder, Some(12_345), None).unwrap();
        let refused = run(receiver.command(&["--listen", "127.0.0.1:0"])).await;
        refused.assert_code(1);
        assert!(refused.err.contains("belongs to another user"), "{refused:?}");
    }
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
    let ended = receiver.path(".towline-receive-ended-0123456789abcdef");
    fs::create_dir_all(ended.join("store")).unwrap();
    let (sitting, _) = receiver.sit(&cli, &[]).await;
    assert_eq!(receiver.names(), [".towline-receive"]);
    ctrl_c(sitting).await.assert_done();
    assert_eq!(receiver.names(), [""; 0]);
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
