//! Links that another program has put into the data folder lead nowhere.

use super::{Disk, id, path, put, size, user};
use crate::storage::{Storage as _, StorageError};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

#[test]
fn a_planted_link_is_refused_and_nothing_outside_is_touched() {
    for link in ["5", "5/a", "5/a/b"] {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("a/b")).unwrap();
        fs::create_dir_all(outside.path().join("b")).unwrap();
        for folder in ["", "a/b", "b"] {
            fs::write(outside.path().join(folder).join("secret"), "secret").unwrap();
        }
        let disk = Disk::new();
        fs::create_dir_all(disk.at(link).parent().unwrap()).unwrap();
        symlink(outside.path(), disk.at(link)).unwrap();
        let before = everything_in(outside.path());

        let staging = disk.upload(1, b"x");
        let unsafe_path = |answer| matches!(answer, Err(StorageError::Unsafe { .. }));
        assert!(unsafe_path(put(&disk.storage, id(1), &path("a/b/doc"))), "{link}");
        let secret = path("a/b/secret");
        assert!(unsafe_path(disk.storage.sync_published(user(), &secret)));
        assert!(unsafe_path(disk.storage.published_size(user(), &secret).map(drop)));
        assert!(unsafe_path(disk.storage.published(user(), &secret).map(drop)));
        assert_eq!(everything_in(outside.path()), before);
        staging.check(size(1)).unwrap();
    }
}

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn a_link_in_the_place_of_a_final_file_is_neither_read_nor_replaced() {
    let disk = Disk::new();
    let secret = disk.folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(disk.at("5")).unwrap();
    symlink(&secret, disk.at("5/doc")).unwrap();
    disk.upload(1, b"x");
    let doc = path("doc");
    let refused = disk.storage.published(user(), &doc);
    assert!(matches!(refused, Err(StorageError::Unsafe { .. })));
    let refused = put(&disk.storage, id(1), &doc);
    assert!(matches!(refused, Err(StorageError::Exists)));
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
}
