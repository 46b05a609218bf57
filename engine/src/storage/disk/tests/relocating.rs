//! Moves on a disk: the order in which names become durable, what is remembered of folders by
//! their paths, and what another program has put in the way.

use super::{Disk, id, living, loss, node, path, put, user};
use crate::storage::{DeferredStorage as _, Loss, Spot, StorageError, TreeStorage as _};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

#[test]
fn the_new_name_is_durable_before_the_old_one_goes_and_its_folders_before_it() {
    let disk = Disk::new();
    disk.put_bytes(1, "a/b/doc", b"bytes");
    disk.synced(&[]);
    disk.storage.relocate(user(), &living("a/b"), &living("c/d/b")).unwrap();
    let all = ["", "5", "5/a", "5/c", "5/c/d", "5/c/d/b"];
    assert_eq!(disk.synced(&all), ["5", "5/c", "5/c/d", "5/a"]);

    // Within one folder that is one sync.
    disk.storage.relocate(user(), &living("c/d/b"), &living("c/d/e")).unwrap();
    assert_eq!(disk.synced(&["5", "5/c", "5/c/d", "5/c/d/e"]), ["5/c/d"]);

    disk.storage.relocate(user(), &living("c"), &Spot::Trash(node(7))).unwrap();
    assert_eq!(disk.synced(&["", ".trash", ".trash/5", "5"]), ["", ".trash", ".trash/5", "5"]);
    disk.storage.relocate(user(), &Spot::Trash(node(7)), &living("back")).unwrap();
    assert_eq!(disk.synced(&["", ".trash", ".trash/5", "5"]), ["5", ".trash/5"]);
    assert_eq!(fs::read(disk.at("5/back/d/e/doc")).unwrap(), b"bytes");

    // Cut off behind the rename: both names are made durable again.
    fs::rename(disk.at("5/back"), disk.at("5/a/there")).unwrap();
    let disk = disk.restarted();
    disk.synced(&[]);
    disk.storage.relocate(user(), &living("back"), &living("a/there")).unwrap();
    assert_eq!(disk.synced(&["", "5", "5/a"]), ["5/a", "", "5", "5"]);
}

/// A process that was killed after it has made the folders of the new place has not synced them.
#[test]
fn folders_that_an_earlier_process_made_are_synced_before_anything_moves_below_them() {
    let disk = Disk::new();
    disk.put_bytes(1, "doc", b"bytes");
    fs::create_dir_all(disk.at("5/a/b")).unwrap();
    let disk = disk.restarted();
    disk.synced(&[]);
    disk.storage.relocate(user(), &living("doc"), &living("a/b/doc")).unwrap();
    assert_eq!(disk.synced(&["", "5", "5/a", "5/a/b"]), ["", "5", "5/a", "5/a/b", "5"]);
}

#[test]
fn a_put_into_the_old_path_and_one_into_the_new_path_are_durable_where_they_belong() {
    let disk = Disk::new();
    // Known to be durable, and held open.
    for number in 1..=2 {
        let staging = disk.upload(number, b"early");
        let at = path(&format!("a/b/early {number}"));
        staging.rename(user(), &at).unwrap().unwrap().sync_name().unwrap();
    }
    disk.storage.relocate(user(), &living("a"), &living("c")).unwrap();
    disk.synced(&[]);

    let staging = disk.upload(3, b"old path");
    staging.rename(user(), &path("a/b/doc")).unwrap().unwrap().sync_name().unwrap();
    // The folders were made anew, so those above them are synced.
    let all = ["", "5", "5/a", "5/a/b", "5/c", "5/c/b"];
    assert_eq!(disk.synced(&all), ["5/a/b", "5", "5/a"]);
    let staging = disk.upload(4, b"new path");
    staging.rename(user(), &path("c/b/doc")).unwrap().unwrap().sync_name().unwrap();
    assert_eq!(disk.synced(&all), ["5/c/b", "5", "5/c"]);

    for (at, bytes) in [("a/b/doc", "old path"), ("c/b/doc", "new path"), ("c/b/early 1", "early")]
    {
        assert_eq!(fs::read_to_string(disk.at("5").join(at)).unwrap(), bytes, "{at}");
    }
    assert!(!disk.at("5/a/b/early 1").exists());

    // What is published in one step goes by the same memory.
    disk.storage.relocate(user(), &living("c"), &living("d")).unwrap();
    disk.put_bytes(5, "c/b/doc", b"again");
    disk.put_bytes(6, "d/b/more", b"more");
    assert_eq!(fs::read(disk.at("5/c/b/doc")).unwrap(), b"again");
    assert_eq!(fs::read(disk.at("5/d/b/more")).unwrap(), b"more");
    let all = ["", "5", "5/c", "5/c/b", "5/d", "5/d/b"];
    assert_eq!(disk.synced(&all), ["5", "5/c/b", "5", "5/c", "5/d/b", "5", "5/d"]);
}

/// Names that were renamed and not synced, a move, and then the one sync for all of them: the
/// folder that was moved away is not taken for one that was made under its old path since.
#[test]
fn a_deferred_sync_says_nothing_about_a_folder_that_was_moved_before_it() {
    let disk = Disk::new();
    let at = path("a/b/doc");
    drop(disk.upload(1, b"bytes").rename(user(), &at).unwrap().unwrap());
    disk.storage.relocate(user(), &living("a"), &living("c")).unwrap();
    disk.storage.sync_deferred(&[(user(), at.clone())]).unwrap();
    disk.synced(&[]);
    disk.upload(2, b"other").rename(user(), &at).unwrap().unwrap().sync_name().unwrap();
    assert_eq!(disk.synced(&["", "5", "5/a", "5/a/b"]), ["5/a/b", "5", "5/a"]);

    // Without a move between, the sync says so.
    drop(disk.upload(3, b"third").rename(user(), &path("x/doc")).unwrap().unwrap());
    disk.storage.sync_deferred(&[(user(), path("x/doc"))]).unwrap();
    disk.synced(&[]);
    disk.put_bytes(4, "x/more", b"fourth");
    assert_eq!(disk.synced(&["", "5", "5/x"]), ["5/x"]);
}

#[test]
fn what_is_removed_is_for_the_server_alone() {
    let disk = Disk::new();
    disk.put_bytes(1, "doc", b"bytes");
    disk.storage.relocate(user(), &living("doc"), &Spot::Trash(node(7))).unwrap();
    for folder in [".trash", ".trash/5"] {
        let mode = fs::metadata(disk.at(folder)).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{folder} {mode:o}");
    }
    assert_eq!(fs::read(disk.at(".trash/5/7")).unwrap(), b"bytes");
}

#[test]
fn a_planted_link_is_neither_moved_nor_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let removed = Spot::Trash(node(7));
    for link in ["5/link", ".trash", ".trash/5"] {
        let disk = Disk::new();
        disk.put_bytes(1, "a/doc", b"bytes");
        if let Some(parent) = disk.at(link).parent() {
            fs::create_dir_all(parent).unwrap();
        }
        symlink(outside.path(), disk.at(link)).unwrap();
        let refused = if link == "5/link" {
            [
                disk.storage.relocate(user(), &living("link"), &living("b")),
                disk.storage.relocate(user(), &living("link/secret"), &living("b")),
                disk.storage.relocate(user(), &living("a"), &living("link/a")),
            ]
        } else {
            [
                disk.storage.relocate(user(), &living("a"), &removed),
                disk.storage.relocate(user(), &removed, &living("b")),
                disk.storage.is_there(user(), &removed).map(drop),
            ]
        };
        for refused in refused {
            assert!(matches!(refused, Err(StorageError::Unsafe { .. })), "{link}: {refused:?}");
        }
        assert_eq!(fs::read(disk.at("5/a/doc")).unwrap(), b"bytes");
        assert_eq!(outside.path().read_dir().unwrap().count(), 1);
    }
}

/// Where a file system cannot rename without replacing, the file has both names for a while.
#[test]
fn a_move_that_was_cut_off_between_its_two_names_is_taken_up() {
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"bytes");
    fs::create_dir(disk.at("5/b")).unwrap();
    fs::hard_link(disk.at("5/a/doc"), disk.at("5/b/doc")).unwrap();
    let disk = disk.restarted();
    disk.synced(&[]);
    disk.storage.relocate(user(), &living("a/doc"), &living("b/doc")).unwrap();
    assert!(!disk.at("5/a/doc").exists());
    assert_eq!(fs::read(disk.at("5/b/doc")).unwrap(), b"bytes");
    // The folders of the new name are made durable first, and `5` has the names of both.
    assert_eq!(disk.synced(&["", "5", "5/a", "5/b"]), ["", "5", "5/b", "5/a"]);
}

#[test]
fn a_folder_that_was_removed_by_hand_is_lost_and_the_move_of_a_document_makes_its_folder_anew() {
    let disk = Disk::new();
    disk.put_bytes(1, "a/doc", b"bytes");
    disk.put_bytes(2, "b/doc", b"other");
    fs::remove_dir_all(disk.at("5/a")).unwrap();
    let lost = disk.storage.relocate(user(), &living("a"), &living("c"));
    assert_eq!(loss(lost), Some(Loss::Missing));
    disk.storage.relocate(user(), &living("b/doc"), &living("a/doc")).unwrap();
    assert_eq!(fs::read(disk.at("5/a/doc")).unwrap(), b"other");
    disk.upload(3, b"third");
    let taken = put(&disk.storage, id(3), &path("a/doc"));
    assert!(matches!(taken, Err(StorageError::Exists)), "{taken:?}");
}
