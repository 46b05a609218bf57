//! Files and folders move as a whole, over nothing, and are found in their new place.

use super::{Subject, living, loss, node, on_every_store, path, put, put_bytes, read, read_spot};
use super::{upload, user};
use crate::storage::{Denial, Entry, Loss, Spot, StorageError};

on_every_store!(
    a_file_moves_and_its_name_is_free,
    a_folder_moves_with_all_that_is_in_it,
    documents_that_come_after_a_move_land_where_they_belong,
    nothing_is_moved_over_what_is_there,
    a_folder_of_folders_alone_makes_way,
    a_move_is_made_once_however_often_it_is_called,
    what_was_removed_is_restored,
    a_folder_is_not_moved_into_itself,
    moves_at_the_same_time_lose_nothing,
);

pub(super) fn a_file_moves_and_its_name_is_free(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/doc", b"bytes");
    let before = storage.published(user(), &path("a/doc")).unwrap().unwrap();
    // The folders of the new place are made; names that differ in case alone are two names.
    for (from, to) in [("a/doc", "b/c/doc"), ("b/c/doc", "b/c/Doc"), ("b/c/Doc", "a/new")] {
        storage.relocate(user(), &living(from), &living(to)).unwrap();
        assert_eq!(read(storage, from), None, "{from}");
        assert_eq!(read(storage, to).unwrap(), b"bytes", "{to}");
    }
    let after = storage.published(user(), &path("a/new")).unwrap().unwrap();
    assert_eq!(before.stamp, after.stamp, "it is the same file");
    put_bytes(storage, 2, "a/doc", b"other");
    assert_eq!(read(storage, "a/doc").unwrap(), b"other");
    assert_eq!(read(storage, "a/new").unwrap(), b"bytes");
}

pub(super) fn a_folder_moves_with_all_that_is_in_it(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/doc", b"one");
    put_bytes(storage, 2, "a/b/c/doc", b"two");
    // Not below `a`, whatever its name begins with.
    put_bytes(storage, 3, "a b/doc", b"three");
    storage.make_folder(user(), &path("a/empty")).unwrap();
    storage.relocate(user(), &living("a"), &living("x/y")).unwrap();

    let subject = subject.after_kill();
    let storage = subject.storage();
    assert_eq!(storage.is_there(user(), &living("a")).unwrap(), None);
    assert_eq!(read(storage, "a/doc"), None);
    assert_eq!(read(storage, "x/y/doc").unwrap(), b"one");
    assert_eq!(read(storage, "x/y/b/c/doc").unwrap(), b"two");
    assert_eq!(read(storage, "a b/doc").unwrap(), b"three");
    assert_eq!(storage.is_there(user(), &living("x/y/empty")).unwrap(), Some(Entry::Folder));
}

/// A store that remembers folders by their paths must not take the old one for the new.
pub(super) fn documents_that_come_after_a_move_land_where_they_belong(subject: impl Subject) {
    let storage = subject.storage();
    for round in 0_u64..3 {
        let number = |k: u64| 10 * round + k;
        let place = |place: &str| format!("{round}/{place}");
        // Twice, so that a store which remembers folders remembers these.
        put_bytes(storage, number(1), &place("a/b/one"), b"1");
        let staging = upload(storage, number(2), b"2");
        match staging.rename(user(), &path(&place("a/b/two"))).unwrap() {
            Some(name) => name.sync_name().unwrap(),
            None => put(storage, number(2), &place("a/b/two")).unwrap(),
        }
        storage.relocate(user(), &living(&place("a")), &living(&place("c"))).unwrap();
        for (k, at) in [(3, "a/b/old"), (4, "c/b/new")] {
            let staging = upload(storage, number(k), at.as_bytes());
            match staging.rename(user(), &path(&place(at))).unwrap() {
                Some(name) => name.sync_name().unwrap(),
                None => put(storage, number(k), &place(at)).unwrap(),
            }
        }
        for (at, bytes) in [("c/b/one", "1"), ("c/b/two", "2"), ("c/b/new", "c/b/new")] {
            assert_eq!(read(storage, &place(at)).unwrap(), bytes.as_bytes(), "{at}");
        }
        assert_eq!(read(storage, &place("a/b/old")).unwrap(), b"a/b/old");
        for none in ["a/b/one", "a/b/new", "c/b/old"] {
            assert_eq!(read(storage, &place(none)), None, "{none}");
        }
    }
}

pub(super) fn nothing_is_moved_over_what_is_there(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "file", b"one");
    put_bytes(storage, 2, "taken", b"two");
    put_bytes(storage, 3, "folder/doc", b"three");
    for from in ["file", "folder"] {
        for to in ["taken", "folder", "file"].into_iter().filter(|to| *to != from) {
            let refused = storage.relocate(user(), &living(from), &living(to));
            assert!(matches!(refused, Err(StorageError::Exists)), "{from} {to}: {refused:?}");
        }
        let refused = storage.relocate(user(), &living(from), &living("taken/below"));
        assert!(matches!(refused, Err(StorageError::NotAFolder)), "{from}: {refused:?}");
    }
    for (place, bytes) in [("file", "one"), ("taken", "two"), ("folder/doc", "three")] {
        assert_eq!(read(storage, place).unwrap(), bytes.as_bytes());
        storage.relocate(user(), &living(place), &living(place)).unwrap();
        assert_eq!(read(storage, place).unwrap(), bytes.as_bytes());
    }
}

pub(super) fn a_folder_of_folders_alone_makes_way(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "file", b"one");
    put_bytes(storage, 2, "folder/doc", b"two");
    for empty in ["a/x/y", "a/z", "b/c/x", "d/x", "full/below"] {
        storage.make_folder(user(), &path(empty)).unwrap();
    }
    put_bytes(storage, 5, "full/to/doc", b"five");
    storage.relocate(user(), &living("file"), &living("a")).unwrap();
    storage.relocate(user(), &living("folder"), &living("b/c")).unwrap();
    put_bytes(storage, 3, "d", b"three");
    assert_eq!(storage.is_there(user(), &living("b/c/x")).unwrap(), None);
    for (place, bytes) in [("a", "one"), ("b/c/doc", "two"), ("d", "three")] {
        assert_eq!(read(storage, place).unwrap(), bytes.as_bytes());
    }
    let refused = storage.relocate(user(), &living("a"), &living("full"));
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    assert!(matches!(storage.is_there(user(), &living("full/below")), Ok(Some(Entry::Folder))));
    // It was no folder of a document: one that is made there anew is as any other.
    storage.relocate(user(), &living("d"), &living("e")).unwrap();
    put_bytes(storage, 4, "d/doc", b"four");
    assert_eq!(read(storage, "d/doc").unwrap(), b"four");
}

pub(super) fn a_move_is_made_once_however_often_it_is_called(subject: impl Subject) {
    put_bytes(subject.storage(), 1, "a/doc", b"bytes");
    let (from, to) = (living("a"), living("b/c"));
    subject.storage().relocate(user(), &from, &to).unwrap();
    let subject = subject.after_kill();
    let storage = subject.storage();
    for _ in 0..2 {
        storage.relocate(user(), &from, &to).unwrap();
    }
    assert_eq!(read(storage, "b/c/doc").unwrap(), b"bytes");
    let lost = storage.relocate(user(), &from, &living("d"));
    assert_eq!(loss(lost), Some(Loss::Missing));
    let lost = storage.relocate(user(), &Spot::Trash(node(7)), &from);
    assert_eq!(loss(lost), Some(Loss::Missing));
}

pub(super) fn what_was_removed_is_restored(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/b/doc", b"one");
    put_bytes(storage, 2, "a/file", b"two");
    let (folder, file) = (Spot::Trash(node(7)), Spot::Trash(node(8)));
    storage.relocate(user(), &living("a/b"), &folder).unwrap();
    storage.relocate(user(), &living("a/file"), &file).unwrap();
    put_bytes(storage, 3, "a/b/doc", b"three");

    let subject = subject.after_kill();
    let storage = subject.storage();
    assert_eq!(storage.is_there(user(), &folder).unwrap(), Some(Entry::Folder));
    assert!(matches!(storage.is_there(user(), &file).unwrap(), Some(Entry::File { .. })));
    assert_eq!(read_spot(storage, &folder, &["doc"]).unwrap(), b"one");
    assert_eq!(read_spot(storage, &file, &[]).unwrap(), b"two");
    assert_eq!(read_spot(storage, &folder, &["none"]), None);
    assert_eq!(read_spot(storage, &Spot::Trash(node(9)), &["doc"]), None);
    let refused = storage.relocate(user(), &folder, &living("a/b"));
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    storage.relocate(user(), &folder, &living("a/b (1)")).unwrap();
    storage.relocate(user(), &file, &living("x/file")).unwrap();
    for (place, bytes) in [("a/b (1)/doc", "one"), ("x/file", "two"), ("a/b/doc", "three")] {
        assert_eq!(read(storage, place).unwrap(), bytes.as_bytes(), "{place}");
    }
    assert_eq!(storage.is_there(user(), &folder).unwrap(), None);
}

pub(super) fn a_folder_is_not_moved_into_itself(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/b/doc", b"bytes");
    for below in ["a/c", "a/b/c"] {
        let refused = storage.relocate(user(), &living("a"), &living(below));
        let Err(StorageError::Refused { denial, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(denial, Denial::IntoItself);
    }
    assert_eq!(read(storage, "a/b/doc").unwrap(), b"bytes");
    storage.relocate(user(), &living("a"), &living("ab")).unwrap();
    assert_eq!(read(storage, "ab/b/doc").unwrap(), b"bytes");
}

pub(super) fn moves_at_the_same_time_lose_nothing(subject: impl Subject) {
    let storage = subject.storage();
    for number in 1..=8 {
        put_bytes(storage, number, &format!("from/{number}/doc"), &number.to_le_bytes());
    }
    std::thread::scope(|scope| {
        for number in 1..=8 {
            scope.spawn(move || {
                let from = living(&format!("from/{number}"));
                storage.relocate(user(), &from, &living(&format!("to/x/{number}"))).unwrap();
                put_bytes(storage, 100 + number, &format!("from/{number}/doc"), b"again");
            });
        }
    });
    for number in 1_u64..=8 {
        let moved = read(storage, &format!("to/x/{number}/doc")).unwrap();
        assert_eq!(moved, number.to_le_bytes());
        assert_eq!(read(storage, &format!("from/{number}/doc")).unwrap(), b"again");
    }
}
