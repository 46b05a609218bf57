//! A name leads to one whole file, and no file is ever replaced (P2).

use super::{Subject, id, loss, offset, on_every_store, path, put, read, size, upload, user};
use crate::storage::{Loss, Put, StorageError};
use towline_types::Offset;
use towline_types::limits::FOLDER_DEPTH;

on_every_store!(
    an_empty_file_is_a_file,
    a_name_that_is_taken_keeps_its_file_and_the_upload_its_bytes,
    a_file_in_the_way_of_a_folder_is_told_before_and_at_publish,
    the_name_of_a_folder_is_taken,
    folders_are_made_found_and_shared,
    publishes_at_the_same_time_make_the_same_folders,
    of_publishes_to_one_name_one_succeeds,
    a_name_that_was_given_first_is_made_durable_afterwards,
);

pub(super) fn an_empty_file_is_a_file(subject: impl Subject) {
    let storage = subject.storage();
    let staging = storage.create(id(1), size(0)).unwrap();
    staging.write_all_at(b"", Offset::ZERO).unwrap();
    staging.write_all_at(b"", offset(7)).unwrap();
    staging.sync_data().unwrap();
    staging.check(size(0)).unwrap();
    put(storage, 1, "empty").unwrap();
    assert_eq!(storage.published_size(user(), &path("empty")).unwrap(), Some(size(0)));
    assert_eq!(read(storage, "empty"), Some(Vec::new()));
}

pub(super) fn a_name_that_is_taken_keeps_its_file_and_the_upload_its_bytes(subject: impl Subject) {
    let storage = subject.storage();
    upload(storage, 1, b"first");
    put(storage, 1, "doc").unwrap();
    let second = upload(storage, 2, b"second");
    let refused = put(storage, 2, "doc");
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    assert_eq!(read(storage, "doc").unwrap(), b"first");
    second.check(size(6)).unwrap();

    put(storage, 2, "doc (1)").unwrap();
    assert_eq!(read(storage, "doc (1)").unwrap(), b"second");
    assert_eq!(read(storage, "doc").unwrap(), b"first");
    assert_eq!(loss(put(storage, 2, "again")), Some(Loss::Missing));
}

pub(super) fn a_file_in_the_way_of_a_folder_is_told_before_and_at_publish(subject: impl Subject) {
    let storage = subject.storage();
    upload(storage, 1, b"file");
    put(storage, 1, "a").unwrap();
    let staging = upload(storage, 2, b"other");
    for below in ["a/b", "a/b/c"] {
        let answers = [
            storage.check_folder(user(), &path(below)),
            storage.published_size(user(), &path(below)).map(drop),
            put(storage, 2, below),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(StorageError::NotAFolder)), "{below}: {answer:?}");
        }
    }
    staging.check(size(5)).unwrap();
    storage.check_folder(user(), &path("b/c")).unwrap();
}

pub(super) fn the_name_of_a_folder_is_taken(subject: impl Subject) {
    let storage = subject.storage();
    upload(storage, 1, b"file");
    put(storage, 1, "a/b/c").unwrap();
    let staging = upload(storage, 2, b"other");
    for folder in ["a", "a/b"] {
        let refused = put(storage, 2, folder);
        assert!(matches!(refused, Err(StorageError::Exists)), "{folder}: {refused:?}");
    }
    staging.check(size(5)).unwrap();
    put(storage, 2, "a/bc").unwrap();
    assert_eq!(read(storage, "a/b/c").unwrap(), b"file");
}

pub(super) fn folders_are_made_found_and_shared(subject: impl Subject) {
    let storage = subject.storage();
    for (number, name) in [(1, "a/b/c/one"), (2, "a/b/c/two"), (3, "a/three"), (4, "b/four")] {
        assert_eq!(storage.published_size(user(), &path(name)).unwrap(), None);
        upload(storage, number, b"x");
        put(storage, number, name).unwrap();
        assert_eq!(storage.published_size(user(), &path(name)).unwrap(), Some(size(1)));
    }
    let deepest = vec!["d"; FOLDER_DEPTH].join("/") + "/file";
    upload(storage, 5, b"x");
    put(storage, 5, &deepest).unwrap();
    let subject = subject.after_kill();
    assert_eq!(read(subject.storage(), &deepest).unwrap(), b"x");
}

pub(super) fn publishes_at_the_same_time_make_the_same_folders(subject: impl Subject) {
    let storage = subject.storage();
    for number in 1..=16 {
        upload(storage, number, b"x");
    }
    std::thread::scope(|scope| {
        for number in 1..=16 {
            scope.spawn(move || put(storage, number, &format!("a/b/{number}")).unwrap());
        }
    });
    for number in 1..=16 {
        assert_eq!(read(storage, &format!("a/b/{number}")).unwrap(), b"x");
    }
    assert!(storage.staged().unwrap().is_empty());
}

pub(super) fn of_publishes_to_one_name_one_succeeds(subject: impl Subject) {
    let storage = subject.storage();
    for number in 1..=8 {
        upload(storage, number, &[u8::try_from(number).unwrap()]);
    }
    let published = std::thread::scope(|scope| {
        let publish = |number| move || put(storage, number, "one").is_ok().then_some(number);
        let threads: Vec<_> = (1..=8).map(|number| scope.spawn(publish(number))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let [winner] = *published else { panic!("{published:?}") };
    assert_eq!(read(storage, "one").unwrap(), [u8::try_from(winner).unwrap()]);
    assert_eq!(storage.staged().unwrap().len(), 7);
}

pub(super) fn a_name_that_was_given_first_is_made_durable_afterwards(subject: impl Subject) {
    let storage = subject.storage();
    let staging = upload(storage, 1, b"bytes");
    match staging.rename(user(), &path("a/doc")).unwrap() {
        Some(name) => name.sync_name().unwrap(),
        // Then nothing has happened, and the caller publishes in one step.
        None => put(storage, 1, "a/doc").unwrap(),
    }
    assert_eq!(read(storage, "a/doc").unwrap(), b"bytes");
    upload(storage, 2, b"other");
    let refused = storage.publish(id(2), user(), &path("a/doc"), super::any_hash(), &mut |_| true);
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    let published = storage.publish(id(2), user(), &path("b"), super::any_hash(), &mut |_| true);
    assert_eq!(published.unwrap(), Put::InPlace);
}
