//! Names before bytes are durable, on a disk.

use super::{Disk, id, path, user};
use crate::storage::unnamed::UnnamedFiles;
use crate::storage::user_folders::Missing;
use crate::storage::{DeferredStorage as _, DiskStorage, Storage as _, StorageError, paths};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

#[test]
fn a_sync_of_all_vouches_only_for_folders_that_were_there() {
    let disk = Disk::new();
    disk.upload(1, b"bytes");
    let name = disk.storage.open(id(1)).unwrap().rename(user(), &path("a/doc")).unwrap();
    let is_durable = |document: &str| {
        let folders = &disk.storage.volume.user_folders;
        folders.open(user(), &path(document), Missing::Make).unwrap().is_durable()
    };
    drop(name);
    disk.storage.sync_all().unwrap();
    assert!(!is_durable("a/doc"), "it was not said that a file was moved there before");
    disk.storage.sync_deferred(&[(user(), path("a/doc"))]).unwrap();
    assert!(is_durable("a/doc"));
}

#[test]
fn a_file_without_a_name_gets_its_final_one_or_leaves_nothing() {
    let Disk { storage, lock, folder } = Disk::new();
    drop(storage);
    let storage = DiskStorage::unpaced(&lock, 0);
    let volume = &storage.volume;
    if volume.unnamed.link_method(&volume.staging.directory).is_none() {
        println!("skipped: files here have names from the beginning");
        return;
    }
    let published = folder.path().join("uploads/5/a/doc");
    let first = storage.create_unnamed(id(1), b"bytes").unwrap();
    assert!(storage.staged().unwrap().is_empty());
    let name = first.rename(user(), &path("a/doc")).unwrap().unwrap();
    assert_eq!(fs::read(&published).unwrap(), b"bytes");
    assert_eq!(fs::metadata(&published).unwrap().ino(), first.file_number());
    first.sync_data().unwrap();
    name.sync_name().unwrap();

    let second = storage.create_unnamed(id(2), b"other").unwrap();
    let refused = second.rename(user(), &path("a/doc")).map(drop);
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    assert_eq!(fs::read(&published).unwrap(), b"bytes");
    let refused = second.rename(user(), &path("a/doc/below")).map(drop);
    assert!(matches!(refused, Err(StorageError::NotAFolder)), "{refused:?}");
    second.rename(user(), &path("a/other")).unwrap().unwrap().sync_name().unwrap();
    assert_eq!(fs::read(published.with_file_name("other")).unwrap(), b"other");
}

#[test]
fn to_find_out_how_files_get_names_leaves_nothing() {
    let disk = Disk::new();
    let staging = &disk.storage.volume.staging.directory;
    let Some(method) = UnnamedFiles::wanted().link_method(staging) else {
        println!("skipped: files here have names from the beginning");
        return;
    };
    assert!(disk.storage.staged().unwrap().is_empty(), "{method:?} leaves something");
    // Nor is what a kill left in the way.
    let probe = disk.at(".staging").join(paths::PROBE);
    fs::write(&probe, "").unwrap();
    assert!(disk.storage.staged().unwrap().is_empty());
    assert_eq!(UnnamedFiles::wanted().link_method(staging), Some(method));
    assert!(!probe.exists());
    assert_eq!(UnnamedFiles::none().link_method(staging), None);
}
