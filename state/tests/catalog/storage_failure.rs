//! When the storage fails, writing ends and reading goes on.
#![cfg(unix)]

use crate::fixture::at;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use towline_state::{Catalog, CatalogError};

const CATALOG: &str = "TOWLINE_TEST_CATALOG";
const RECORDED: &str = "users recorded: ";

/// A limit on the length of files makes every write beyond it fail, as a broken
/// disk would. It holds for a whole process, so this needs one of its own.
#[test]
fn a_failed_write_ends_all_writing_until_a_restart() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let output = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 1000; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "storage_failure::on_storage_that_fails", "--ignored", "--nocapture"])
        .env(CATALOG, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    let recorded = said.lines().find_map(|line| line.split_once(RECORDED)).unwrap().1;
    let catalog = Catalog::open(&path).unwrap();
    let users = catalog.users().wait().unwrap();
    assert_eq!(users.len().to_string(), recorded, "the answered ones, no more and no less");
    catalog.add_user("after", None, at(3)).wait().unwrap();
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn on_storage_that_fails() {
    let path: PathBuf = std::env::var_os(CATALOG).unwrap().into();
    let catalog = Catalog::open(path).unwrap();
    let mut recorded = 0;
    let error = loop {
        match catalog.add_user(format!("user{recorded}"), None, at(2)).wait() {
            Ok(_) => recorded += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CatalogError::Storage(_)), "{error:?}");
    assert!(catalog.is_read_only());
    let refused = catalog.add_user("late", None, at(2)).wait();
    assert!(matches!(refused, Err(CatalogError::ReadOnly)), "{refused:?}");
    assert_eq!(catalog.users().wait().unwrap().len(), recorded);
    println!("{RECORDED}{recorded}");
}
