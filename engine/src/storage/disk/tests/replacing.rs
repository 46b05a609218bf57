//! Replacing on a disk: the order in which names become durable, and what a crash between two
//! steps leaves.

use super::{Disk, any_hash, id, path, user};
use crate::storage::{Put, Spot, Storage as _, StorageError, TreeStorage as _};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

fn replace(disk: &Disk, number: u64, old: u64, at: &str) -> Result<Put, StorageError> {
    disk.storage.replace(id(number), user(), &path(at), id(old), any_hash(), &mut |_| false)
}

fn assert_replaced(disk: &Disk) {
    assert_eq!(fs::read(disk.at("5/a/doc")).unwrap(), b"second");
    assert_eq!(fs::read(disk.at(".versions/5/1")).unwrap(), b"first");
    assert!(disk.storage.staged().unwrap().is_empty());
}

#[test]
fn the_old_version_is_durable_before_its_name_goes_to_the_new_one() {
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"first");
    let inode = fs::metadata(disk.at("5/a/doc")).unwrap().ino();
    disk.upload(2, b"second");
    disk.synced(&[]);
    assert_eq!(replace(&disk, 2, 1, "a/doc").unwrap(), Put::InPlace);
    assert_replaced(&disk);
    let all = ["", ".versions", ".versions/5", "5", "5/a"];
    assert_eq!(disk.synced(&all), [".versions/5", "", ".versions", "5/a"]);
    assert_eq!(fs::metadata(disk.at(".versions/5/1")).unwrap().ino(), inode);
    for folder in [".versions", ".versions/5"] {
        let mode = fs::metadata(disk.at(folder)).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{folder} {mode:o}");
    }
    // From then on each takes one sync of the versions and one of its folder.
    disk.upload(3, b"third");
    replace(&disk, 3, 2, "a/doc").unwrap();
    assert_eq!(disk.synced(&all), [".versions/5", "5/a"]);
}

#[test]
fn a_replacement_that_was_cut_off_is_taken_up() {
    // Behind the link, before the rename.
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"first");
    disk.upload(2, b"second");
    fs::create_dir_all(disk.at(".versions/5")).unwrap();
    fs::hard_link(disk.at("5/a/doc"), disk.at(".versions/5/1")).unwrap();
    let disk = disk.restarted();
    replace(&disk, 2, 1, "a/doc").unwrap();
    assert_replaced(&disk);

    // Behind the rename; a file system without a journal has brought the staging name back.
    fs::hard_link(disk.at("5/a/doc"), disk.staging(2)).unwrap();
    let disk = disk.restarted();
    replace(&disk, 2, 1, "a/doc").unwrap();
    assert_replaced(&disk);

    // On a file system without links, between the two renames.
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"first");
    disk.upload(2, b"second");
    fs::create_dir_all(disk.at(".versions/5")).unwrap();
    fs::rename(disk.at("5/a/doc"), disk.at(".versions/5/1")).unwrap();
    let disk = disk.restarted();
    replace(&disk, 2, 1, "a/doc").unwrap();
    assert_replaced(&disk);
}

/// An earlier attempt has kept the version; since then another program has put a file of its own
/// in its place.
#[test]
fn a_file_of_another_program_is_set_aside_and_not_replaced() {
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"first");
    fs::create_dir_all(disk.at(".versions/5")).unwrap();
    fs::rename(disk.at("5/a/doc"), disk.at(".versions/5/1")).unwrap();
    fs::write(disk.at("5/a/doc"), "a stranger's").unwrap();
    disk.upload(2, b"second");
    replace(&disk, 2, 1, "a/doc").unwrap();
    assert_replaced(&disk);
    let aside = disk.at(".staging/orphans/1.damaged");
    assert_eq!(fs::read_to_string(aside).unwrap(), "a stranger's");
}

#[test]
fn a_link_in_the_place_of_a_document_or_of_the_versions_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let disk = Disk::new();
    disk.put_bytes(1, "doc", b"first");
    std::os::unix::fs::symlink(outside.path().join("secret"), disk.at("5/link")).unwrap();
    disk.upload(2, b"second");
    let refused = replace(&disk, 2, 1, "link");
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    std::os::unix::fs::symlink(outside.path(), disk.at(".versions")).unwrap();
    let refused = replace(&disk, 2, 1, "doc");
    assert!(matches!(refused, Err(StorageError::Unsafe { .. })), "{refused:?}");
    let refused = disk.storage.open_spot(user(), &Spot::Version(id(1)), &[]);
    assert!(matches!(refused, Err(StorageError::Unsafe { .. })), "{refused:?}");
    assert_eq!(fs::read(disk.at("5/doc")).unwrap(), b"first");
    assert_eq!(outside.path().read_dir().unwrap().count(), 1);
}
