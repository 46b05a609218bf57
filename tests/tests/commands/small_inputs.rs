//! Runs `tests/small-inputs.sh` and `tests/real-tree.sh` against this build, one input in each
//! test. A person can run them against any build.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use towline_tests::process::program;
use towline_tests::volume::skipped;

/// No input waits longer than a minute; a busy machine may need more time.
const PATIENCE: Duration = Duration::from_secs(240);

/// A script of `tests/`, with the programs of this build as `towline` and `towlined`.
async fn script(name: &str, arguments: &[&str]) -> Option<String> {
    let programs = TempDir::new().unwrap();
    for name in ["towline", "towlined"] {
        let built = program(&format!("{name}-under-test"));
        std::os::unix::fs::symlink(built, programs.path().join(name)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut bash = Command::new("bash");
    bash.arg(path).args(arguments).env("TOWLINE_BIN", programs.path());
    bash.stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(PATIENCE, bash.output()).await;
    let output = ran.expect("the script ends in time").expect("bash can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    if output.status.code() == Some(77) {
        skipped(&said.trim());
        return None;
    }
    assert!(output.status.success(), "{name} {arguments:?}\n{said}");
    Some(said)
}

macro_rules! inputs {
    ($($input:ident)*) => {
        const INPUTS: &[&str] = &[$(stringify!($input)),*];

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $input() {
                script("small-inputs.sh", &[stringify!($input)]).await;
            }
        )*
    };
}

inputs! {
    equal grown fiction linked_state refused_place zone moved file_limit no_home roots_user
    locked_catalog token_file no_inodes token_renewed clock bad_tokens dev_full unreadable
    standard_input quiet_link hidden signals swept locked_state plain_log missing_disk twins
}

#[tokio::test]
async fn every_input_of_the_script_is_a_test() {
    let listed = script("small-inputs.sh", &["--list"]).await.unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), INPUTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_tree_arrives_whole() {
    script("real-tree.sh", &[]).await;
}
