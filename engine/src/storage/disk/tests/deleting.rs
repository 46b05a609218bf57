//! Deleting on a disk, among files of other programs.

use super::{Disk, id, living, loss, node, user};
use crate::storage::{Deleted, Loss, Spot, StorageError, TreeStorage as _, Verdict};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use towline_types::limits::FOLDER_DEPTH;

fn delete(disk: &Disk, number: u64) -> Result<Deleted, StorageError> {
    disk.storage.delete_trash(user(), node(number), &mut |_| Verdict::Delete)
}

#[test]
fn what_no_document_can_be_is_set_aside_where_it_lay_and_no_link_is_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let deep = "d/".repeat(FOLDER_DEPTH + 1);
    let disk = Disk::new();
    disk.put_bytes(1, "a/b/doc", b"bytes");
    disk.put_bytes(2, "a/c/doc", b"bytes");
    symlink(outside.path(), disk.at("5/a/b/link")).unwrap();
    symlink(outside.path().join("secret"), disk.at("5/a/file link")).unwrap();
    fs::write(disk.at("5/a/b/new\nline"), "odd").unwrap();
    fs::create_dir_all(disk.at("5/a").join(&deep)).unwrap();
    fs::write(disk.at("5/a").join(&deep).join("deep"), "deep").unwrap();
    disk.storage.relocate(user(), &living("a"), &Spot::Trash(node(7))).unwrap();

    let aside = Path::new("uploads/.staging/orphans/7.trash");
    assert_eq!(delete(&disk, 7).unwrap(), Deleted::Kept(aside.to_owned()));
    assert!(!disk.at(".trash/5/7").exists());
    let aside = disk.folder.path().join(aside);
    assert!(fs::symlink_metadata(aside.join("b/link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(aside.join("file link")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(aside.join("b/new\nline")).unwrap(), "odd");
    assert_eq!(fs::read_to_string(aside.join(deep).join("deep")).unwrap(), "deep");
    for gone in ["b/doc", "c"] {
        assert!(!aside.join(gone).exists(), "{gone}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    // The same number again, for a second leftover.
    fs::create_dir_all(disk.at(".trash/5/7")).unwrap();
    symlink("nowhere", disk.at(".trash/5/7/link")).unwrap();
    let second = Path::new("uploads/.staging/orphans/7.trash.1").to_owned();
    assert_eq!(delete(&disk, 7).unwrap(), Deleted::Kept(second));
}

#[test]
fn a_deletion_is_durable_before_its_row_may_go() {
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"bytes");
    disk.storage.relocate(user(), &living("a"), &Spot::Trash(node(7))).unwrap();
    disk.synced(&[]);
    assert_eq!(delete(&disk, 7).unwrap(), Deleted::All);
    assert_eq!(disk.synced(&["", ".trash", ".trash/5"]), [".trash/5"]);
    // Cut off before its sync.
    let disk = disk.restarted();
    disk.synced(&[]);
    assert_eq!(delete(&disk, 7).unwrap(), Deleted::All);
    assert_eq!(disk.synced(&["", ".trash", ".trash/5"]), [".trash/5"]);
    assert_eq!(fs::read_dir(disk.at(".trash/5")).unwrap().count(), 0);

    fs::create_dir_all(disk.at(".versions/5")).unwrap();
    for version in ["1", "2"] {
        fs::write(disk.at(".versions/5").join(version), "old").unwrap();
    }
    disk.storage.delete_versions(user(), &[id(1), id(2), id(3)]).unwrap();
    assert_eq!(disk.synced(&["", ".versions", ".versions/5"]), [".versions/5"]);
    assert_eq!(fs::read_dir(disk.at(".versions/5")).unwrap().count(), 0);
    fs::create_dir(disk.at(".versions/5/4")).unwrap();
    let refused = disk.storage.delete_versions(user(), &[id(4)]);
    assert_eq!(loss(refused), Some(Loss::NotAFile));
}

#[test]
fn a_large_folder_is_emptied() {
    let disk = Disk::new();
    for folder in 0..3 {
        fs::create_dir_all(disk.at(&format!(".trash/5/7/{folder}"))).unwrap();
        for file in 0..2_000 {
            fs::write(disk.at(&format!(".trash/5/7/{folder}/{file}")), "").unwrap();
        }
    }
    let mut judged = 0;
    let deleted = disk.storage.delete_trash(user(), node(7), &mut |_| {
        judged += 1;
        Verdict::Delete
    });
    assert_eq!((deleted.unwrap(), judged), (Deleted::All, 6_000));
    assert!(!disk.at(".trash/5/7").exists());
}
