//! What was removed or replaced is deleted as the caller says, and nothing else.

use super::{Subject, id, living, node, on_every_store, path, put_bytes, read, read_spot};
use super::{replace, user};
use crate::storage::{Deleted, MemoryStorage, Spot, Storage, Verdict};
use towline_types::Name;

on_every_store!(
    what_the_caller_knows_is_deleted_and_nothing_else,
    what_is_deleted_is_gone_also_where_it_is_deleted_again,
    a_deletion_that_was_stopped_goes_on,
    versions_are_deleted_one_by_one,
);

/// Removes a folder with three files, as node 7.
fn removed_folder(storage: &dyn Storage) -> Spot {
    for (number, place) in [(1, "a/one"), (2, "a/b/two"), (3, "a/b/c/three")] {
        put_bytes(storage, number, place, place.as_bytes());
    }
    storage.make_folder(user(), &path("a/empty")).unwrap();
    let removed = Spot::Trash(node(7));
    storage.relocate(user(), &living("a"), &removed).unwrap();
    removed
}

fn names(below: &[Name]) -> String {
    below.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
}

pub(super) fn what_the_caller_knows_is_deleted_and_nothing_else(subject: impl Subject) {
    let storage = subject.storage();
    let removed = removed_folder(storage);
    put_bytes(storage, 4, "a/one", b"new");
    let mut judged = Vec::new();
    let deleted = storage.delete_trash(user(), node(7), &mut |below| {
        judged.push(names(below));
        if judged.last().unwrap() == "b/two" { Verdict::Keep } else { Verdict::Delete }
    });
    assert!(matches!(deleted, Ok(Deleted::Kept(_))), "{deleted:?}");
    judged.sort();
    assert_eq!(judged, ["b/c/three", "b/two", "one"]);
    assert_eq!(storage.is_there(user(), &removed).unwrap(), None, "it is set aside");
    assert_eq!(read(storage, "a/one").unwrap(), b"new");
    // A file that was removed by itself and is to be kept.
    storage.relocate(user(), &living("a/one"), &removed).unwrap();
    let deleted = storage.delete_trash(user(), node(7), &mut |below| {
        assert_eq!(below, []);
        Verdict::Keep
    });
    assert!(matches!(deleted, Ok(Deleted::Kept(_))), "{deleted:?}");
    assert_eq!(storage.is_there(user(), &removed).unwrap(), None);
}

pub(super) fn what_is_deleted_is_gone_also_where_it_is_deleted_again(subject: impl Subject) {
    let storage = subject.storage();
    let removed = removed_folder(storage);
    put_bytes(storage, 4, "file", b"file");
    storage.relocate(user(), &living("file"), &Spot::Trash(node(8))).unwrap();
    put_bytes(storage, 5, "other", b"other");
    storage.relocate(user(), &living("other"), &Spot::Trash(node(9))).unwrap();
    for number in [7, 8, 7, 8, 6] {
        let deleted = storage.delete_trash(user(), node(number), &mut |_| Verdict::Delete);
        assert_eq!(deleted.unwrap(), Deleted::All);
    }
    let subject = subject.after_kill();
    let storage = subject.storage();
    for gone in [removed, Spot::Trash(node(8))] {
        assert_eq!(storage.is_there(user(), &gone).unwrap(), None);
    }
    assert_eq!(read_spot(storage, &Spot::Trash(node(9)), &[]).unwrap(), b"other");
}

pub(super) fn a_deletion_that_was_stopped_goes_on(subject: impl Subject) {
    let storage = subject.storage();
    let removed = removed_folder(storage);
    let mut left = 1;
    let deleted = storage.delete_trash(user(), node(7), &mut |_| {
        left -= 1;
        if left < 0 { Verdict::Stop } else { Verdict::Delete }
    });
    assert_eq!(deleted.unwrap(), Deleted::Stopped);
    assert!(storage.is_there(user(), &removed).unwrap().is_some());
    let mut judged = 0;
    let deleted = storage.delete_trash(user(), node(7), &mut |_| {
        judged += 1;
        Verdict::Delete
    });
    assert_eq!((deleted.unwrap(), judged), (Deleted::All, 2));
    assert_eq!(storage.is_there(user(), &removed).unwrap(), None);
}

pub(super) fn versions_are_deleted_one_by_one(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "doc", b"one");
    for number in 2..=4 {
        replace(storage, (number, number - 1), "doc", b"more").unwrap();
    }
    for _ in 0..2 {
        storage.delete_versions(user(), &[id(1), id(3), id(9)]).unwrap();
    }
    storage.delete_versions(user(), &[]).unwrap();
    for (number, is_there) in [(1, false), (2, true), (3, false), (4, false)] {
        let found = storage.is_there(user(), &Spot::Version(id(number))).unwrap();
        assert_eq!(found.is_some(), is_there, "{number}");
    }
    assert_eq!(read(storage, "doc").unwrap(), b"more");
}

#[test]
fn the_space_of_what_is_deleted_is_free_in_memory() {
    let storage = MemoryStorage::new(1 << 20);
    let free = storage.free_bytes().unwrap();
    let storage: &dyn Storage = &storage;
    removed_folder(storage);
    put_bytes(storage, 4, "doc", b"one");
    replace(storage, (5, 4), "doc", b"two").unwrap();
    storage.relocate(user(), &living("doc"), &Spot::Trash(node(8))).unwrap();
    assert!(storage.free_bytes().unwrap() < free);
    storage.delete_versions(user(), &[id(4)]).unwrap();
    for number in [7, 8] {
        storage.delete_trash(user(), node(number), &mut |_| Verdict::Delete).unwrap();
    }
    assert_eq!(storage.free_bytes().unwrap(), free);
}
