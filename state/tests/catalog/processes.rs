//! The server and the commands beside it open the same database at once.

use crate::fixture::at;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use towline_state::Catalog;

const CATALOG: &str = "TOWLINE_TEST_CATALOG";
const USERS: usize = 100;

fn add_users(path: &Path, prefix: &str) {
    let catalog = Catalog::open(path).unwrap();
    for n in 0..USERS {
        catalog.add_user(format!("{prefix}{n}"), None, at(2)).wait().unwrap();
    }
}

fn count(path: &Path) -> usize {
    Catalog::open(path).unwrap().users().wait().unwrap().len()
}

#[test]
fn two_processes_make_open_and_write_at_the_same_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::the_other_process", "--ignored"])
        .env(CATALOG, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    add_users(&path, "parent");
    assert!(child.wait().unwrap().success());
    assert_eq!(count(&path), 2 * USERS);
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn the_other_process() {
    add_users(std::env::var_os(CATALOG).unwrap().as_ref(), "child");
}

#[test]
fn two_handles_in_one_process_do_not_disturb_each_other() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    std::thread::scope(|scope| {
        for prefix in ["a", "b", "c"] {
            let path = &path;
            scope.spawn(move || add_users(path, prefix));
        }
    });
    assert_eq!(count(&path), 3 * USERS);
}
