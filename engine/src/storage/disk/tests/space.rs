//! The space of a disk: reserved, left free, and used up.

use super::{Disk, id, offset, path, put, size};
use crate::storage::{DiskStorage, Storage as _, StorageError};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use tempfile::TempDir;
use towline_types::Offset;

#[test]
fn space_is_reserved_as_bytes_come_and_given_back_behind_them() {
    let disk = Disk::new();
    let staging = disk.storage.create(id(1), size(64 << 20)).unwrap();
    let bytes = || fs::metadata(disk.staging(1)).unwrap().blocks() * 512;
    assert_eq!(bytes(), 0, "a size takes no space");
    let block = vec![1; 1 << 20];
    for index in 0..8 {
        staging.write_all_at(&block, offset(index << 20)).unwrap();
    }
    let reserved = bytes();
    assert!((9 << 20..=17 << 20).contains(&reserved), "{reserved}");
    // To cut nothing off gives nothing back.
    staging.truncate(offset(8 << 20)).unwrap();
    assert_eq!(bytes(), reserved);
    staging.give_back_room();
    assert!((8 << 20..9 << 20).contains(&bytes()), "{}", bytes());
    assert_eq!(staging.length_bytes().unwrap(), 8 << 20);
    staging.write_all_at(&block, offset(8 << 20)).unwrap();
    assert!(bytes() >= 10 << 20);
    staging.truncate(offset(5)).unwrap();
    assert!(bytes() < 1 << 20);
    assert_eq!(staging.length_bytes().unwrap(), 5);
}

#[test]
fn the_reserve_of_the_disk_is_left_free_by_empty_files_too() {
    let Disk { storage, lock, folder: _folder } = Disk::new();
    drop(storage);
    let nothing_left = DiskStorage::new(&lock, u64::MAX);
    for bytes in [0, 1] {
        let refused = nothing_left.create(id(3), size(bytes)).map(drop);
        assert!(matches!(refused, Err(StorageError::NoSpace { .. })), "{refused:?}");
    }
    let refused = nothing_left.create_whole(id(1), b"bytes").map(drop);
    assert!(matches!(refused, Err(StorageError::NoSpace { .. })), "{refused:?}");
    assert!(nothing_left.staged().unwrap().is_empty());
}

/// On a small disk of its own, which takes root. `None`, and a line that says so,
/// where that is not to be had.
fn small_disk(bytes: u64) -> Option<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
        .arg(folder.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("SKIPPED: no small disk, since mounting a tmpfs needs root");
        return None;
    }
    Some(folder)
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let Some(folder) = small_disk(4 << 20) else { return };
    let disk = Disk::in_folder(folder);
    // Dropped first, so that the folder can be removed after.
    let _unmount = Unmount(disk.folder.path().to_owned());
    let filler = disk.folder.path().join("filler");

    // The first write has reserved the room for the second one.
    let block = vec![1; 1 << 20];
    let reserved = disk.storage.create(id(1), size(2 << 20)).unwrap();
    reserved.write_all_at(&block, Offset::ZERO).unwrap();
    let other = disk.storage.create(id(2), size(1 << 20)).unwrap();
    let rest = usize::try_from(disk.storage.free_bytes().unwrap()).unwrap();
    fs::write(&filler, vec![0; rest]).unwrap();
    reserved.write_all_at(&block, offset(1 << 20)).unwrap();

    let full = other.write_all_at(&block, Offset::ZERO);
    assert!(
        matches!(full, Err(StorageError::NoSpace { missing_bytes: Some(missing), .. }) if missing == 1 << 20)
    );
    assert!(!disk.storage.latch().is_closed(), "a full disk is no broken disk");
    fs::remove_file(&filler).unwrap();
    other.write_all_at(&block, Offset::ZERO).unwrap();
    other.sync_data().unwrap();
    other.check(size(1 << 20)).unwrap();
    put(&disk.storage, id(2), &path("doc")).unwrap();
}
