//! DIR, or what is hidden in it, is moved while a sitting runs: what was stored stays where it is, and
//! nothing says that everything has landed.

use super::{
    Receiver, assert_same, begun, ctrl_c, desk, has_landed, is_durable, names_in, sends, sent,
};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use towline_tests::cli_fixture::{CliFixture, Run};
use towline_tests::process::towline;
use towline_tests::test_file::{BLOCK, TestFile};

/// A sitting in a folder `dir` of that folder.
async fn sit_in(cli: &CliFixture, dir: &Path, more: &[&str]) -> (Run, String) {
    fs::create_dir_all(dir).unwrap();
    let mut receive = towline();
    receive.arg("receive").arg(dir).args(more);
    begun(cli.start(receive)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sitting_whose_folder_was_moved_says_so_and_goes_on_at_the_new_place() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [dir, moved] = ["dir", "moved"].map(|name| receiver.path(name));
    let [small, large] = [TestFile::new(100, 1060), TestFile::new(24 * BLOCK, 1061)];
    cli.write("small.bin", &small);
    cli.write("large.bin", &large);
    let (mut sitting, line) = sit_in(&cli, &dir, &["--listen", "127.0.0.1:0"]).await;
    let put = ["put", "small.bin", "large.bin", "--to", &line, "--limit-rate", "4MB"];
    let mut sending = cli.start(sends(&cli, "home", &put));
    sending.until(is_durable).await;
    sitting.until(has_landed("small.bin")).await;
    fs::rename(&dir, &moved).unwrap();
    fs::create_dir(&dir).unwrap();
    // It ends without being told.
    let ended = sitting.end().await;
    ended.assert_code(1);
    for text in ["was moved during the sitting", &format!("towline receive {}", moved.display())] {
        assert!(ended.err.contains(text), "{text}: {ended:?}");
    }
    assert!(names_in(&dir).is_empty(), "nothing came to the other folder");
    assert_eq!(names_in(&moved), [".towline-receive", "small.bin"]);
    // The advice works: the sender is still at it.
    let (sitting, _) = sit_in(&cli, &moved, &["--once"]).await;
    sending.end().await.assert_done();
    sitting.end().await.assert_done();
    assert_same(&moved.join("large.bin"), &large);
    assert_eq!(names_in(&moved), ["large.bin", "small.bin"]);
}

/// While the program stands still: everything is stored, nothing has landed, and the person ends the
/// sitting after that.
async fn ends_after(sitting: Run, change: impl FnOnce()) -> towline_tests::cli_fixture::Outcome {
    sitting.signal(Signal::STOP);
    change();
    sitting.signal(Signal::INT);
    sitting.signal(Signal::CONT);
    sitting.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_in_the_place_of_dir_is_not_taken_for_it_at_the_end() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let [dir, moved] = ["dir", "moved"].map(|name| receiver.path(name));
    cli.write("a.bin", &TestFile::new(24 * BLOCK, 1062));
    let (sitting, line) = sit_in(&cli, &dir, &[]).await;
    let put = ["put", "a.bin", "--to", &line, "--limit-rate", "4MB"];
    let mut sending = cli.start(sends(&cli, "home", &put));
    sending.until(is_durable).await;
    let ended = ends_after(sitting, || {
        fs::rename(&dir, &moved).unwrap();
        fs::create_dir(&dir).unwrap();
    })
    .await;
    ended.assert_code(1);
    assert!(ended.err.contains("was moved during the sitting"), "{ended:?}");
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    assert!(moved.join(".towline-receive/store/state/catalog.db").exists(), "it is kept");
    assert!(names_in(&dir).is_empty());
    // Nor does the next start in the old place find something to remove.
    let (sitting, _) = sit_in(&cli, &dir, &[]).await;
    ctrl_c(sitting).await.assert_done();
    assert_eq!(names_in(&moved), [".towline-receive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store_and_another_store_are_not_the_one_of_the_sitting() {
    let (_site, cli) = desk().await;
    let receiver = Receiver::new();
    let other = Receiver::new();
    cli.write("a.bin", &TestFile::new(24 * BLOCK, 1063));
    let hidden = |name: &str| -> PathBuf { receiver.path(".towline-receive").join(name) };
    for is_other in [false, true] {
        let (sitting, line) = receiver.sit(&cli, &[]).await;
        let home = if is_other { "home1" } else { "home2" };
        let put = ["put", "a.bin", "--to", &line, "--limit-rate", "4MB"];
        let mut sending = cli.start(sends(&cli, home, &put));
        sending.until(is_durable).await;
        sending.signal(Signal::INT);
        sending.end().await.assert_code(3);
        let (others, _) = other.sit(&cli, &[]).await;
        let ended = ends_after(sitting, || {
            fs::rename(hidden("store"), hidden("aside")).unwrap();
            if is_other {
                others.signal(Signal::KILL);
                fs::rename(other.path(".towline-receive/store"), hidden("store")).unwrap();
            }
        })
        .await;
        ended.assert_code(1);
        let told = format!("the store in {}", hidden("").display());
        assert!(ended.err.contains(told.trim_end_matches('/')), "{told}: {ended:?}");
        assert!(hidden("aside/state/catalog.db").exists(), "it is kept");
        if !is_other {
            ctrl_c(others).await.assert_done();
        }
        // The server that stopped has written its state file where its store was.
        let _ = fs::remove_dir_all(hidden("store"));
        fs::rename(hidden("aside"), hidden("store")).unwrap();
        let (sitting, _) = receiver.go_on(&cli, &[]).await;
        sent(&cli, home, &["resume", "--to", &line]).await.assert_done();
        ctrl_c(sitting).await.assert_done();
        fs::remove_file(receiver.path("a.bin")).unwrap();
        assert_eq!(receiver.names(), [""; 0]);
    }
}
