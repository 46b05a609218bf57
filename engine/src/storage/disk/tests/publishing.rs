//! Names and folders of published files on a disk.

use super::{Disk, id, loss, path, put, user};
use crate::storage::{Loss, Storage as _, StorageError};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

#[test]
fn a_published_file_is_for_its_owner_and_group_and_a_folder_has_its_name() {
    let disk = Disk::new();
    disk.upload(1, b"bytes");
    put(&disk.storage, id(1), &path("a.bin")).unwrap();
    let mode = fs::metadata(disk.at("5/a.bin")).unwrap().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    // Folders alone would make way for the file.
    fs::create_dir_all(disk.at("5/taken/below")).unwrap();
    fs::write(disk.at("5/taken/below/other"), b"another program's").unwrap();
    disk.upload(3, b"third");
    let refused = put(&disk.storage, id(3), &path("taken"));
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    let refused = disk.storage.published_size(user(), &path("taken"));
    assert!(matches!(refused, Err(StorageError::Unsafe { .. })), "{refused:?}");
}

#[test]
fn a_cut_off_publish_is_taken_up_again() {
    // Killed after the move, before its syncs and its row.
    let disk = Disk::new();
    disk.upload(1, b"bytes");
    fs::create_dir_all(disk.at("5/a")).unwrap();
    fs::rename(disk.staging(1), disk.at("5/a/doc")).unwrap();
    let disk = disk.restarted();
    disk.storage.sync_published(user(), &path("a/doc")).unwrap();
    disk.storage.sync_published(user(), &path("a/doc")).unwrap();
    for none in ["doc", "b/doc"] {
        let answer = disk.storage.sync_published(user(), &path(none));
        assert_eq!(loss(answer), Some(Loss::Missing));
    }
    assert!(!disk.at("5/b").exists(), "settling makes nothing");

    // Killed between link and unlink, where there is no NOREPLACE.
    disk.upload(2, b"bytes");
    fs::hard_link(disk.staging(2), disk.at("5/a/linked")).unwrap();
    put(&disk.storage, id(2), &path("a/linked")).unwrap();
    assert!(!disk.staging(2).exists());
    assert_eq!(fs::read(disk.at("5/a/linked")).unwrap(), b"bytes");
}

#[test]
fn a_folder_that_was_removed_a_moment_ago_is_made_anew() {
    let disk = Disk::new();
    for number in 1..=6 {
        // The second time the folder is known to be durable, and is kept.
        for document in ["a/b/first", "a/b/doc"] {
            let number = 2 * number + u64::from(document.ends_with("doc"));
            let staging = disk.upload(number, b"bytes");
            staging.rename(user(), &path(document)).unwrap().unwrap().sync_name().unwrap();
        }
        assert_eq!(fs::read(disk.at("5/a/b/doc")).unwrap(), b"bytes");
        fs::remove_dir_all(disk.at("5/a")).unwrap();
    }
}
