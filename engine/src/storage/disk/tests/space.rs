//! The space of a disk: reserved, left free, and used up.

use super::{Disk, id, offset, path, put, size};
use crate::storage::{DiskStorage, Storage as _, StorageError};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use tempfile::TempDir;
use towline_types::Offset;

#[test]
fn space_is_reserved_and_cut_only_with_the_bytes_in_it() {
    let disk = Disk::new();
    let whole = size(3 << 20);
    let staging = disk.storage.create(id(1), whole).unwrap();
    let blocks = || fs::metadata(disk.staging(1)).unwrap().blocks();
    assert!(blocks() * 512 >= whole.get());
    staging.write_all_at(b"12345 and more", Offset::ZERO).unwrap();
    // To cut something off gives up what is reserved behind it.
    staging.truncate(offset(5)).unwrap();
    staging.reserve(whole).unwrap();
    let reserved = blocks();
    assert!(reserved * 512 >= whole.get());
    // To cut nothing off must not.
    staging.truncate(offset(5)).unwrap();
    staging.truncate(offset(99)).unwrap();
    assert_eq!(blocks(), reserved);
    assert_eq!(staging.length_bytes().unwrap(), 5);
}

#[test]
fn the_reserve_of_the_disk_is_left_free_and_an_empty_file_needs_none() {
    let Disk { storage, lock, folder: _folder } = Disk::new();
    drop(storage);
    let nothing_left = DiskStorage::new(&lock, u64::MAX);
    let refused = nothing_left.create(id(3), size(1)).map(drop);
    assert!(matches!(refused, Err(StorageError::NoSpace { .. })), "{refused:?}");
    let refused = nothing_left.create_whole(id(1), b"bytes").map(drop);
    assert!(matches!(refused, Err(StorageError::NoSpace { .. })), "{refused:?}");
    assert!(nothing_left.staged().unwrap().is_empty());
    drop(nothing_left.create(id(3), size(0)).unwrap());
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

    // Reserved at `create`, so that others cannot take it.
    let reserved = disk.storage.create(id(1), size(2 << 20)).unwrap();
    let other = disk.storage.create(id(2), size(1 << 20)).unwrap();
    let rest = usize::try_from(disk.storage.free_bytes().unwrap()).unwrap();
    fs::write(&filler, vec![0; rest]).unwrap();
    let block = vec![1; 1 << 20];
    reserved.write_all_at(&block, Offset::ZERO).unwrap();
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
