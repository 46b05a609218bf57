//! A newer version has the name, and the older one is kept.

use super::{Subject, any_hash, id, living, loss, on_every_store, path, put_bytes, read};
use super::{read_spot, replace, size, upload, user};
use crate::storage::{Entry, Loss, Put, Spot, StorageError};
use towline_types::Offset;

on_every_store!(
    a_replaced_version_is_kept_and_the_name_has_the_new_bytes,
    a_version_that_is_read_goes_on_to_be_read,
    what_came_whole_replaces_as_well,
    where_nothing_has_the_name_the_new_bytes_get_it,
    a_folder_is_not_replaced,
    what_is_not_staged_replaces_nothing,
);

pub(super) fn a_replaced_version_is_kept_and_the_name_has_the_new_bytes(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/doc", b"first");
    let first = storage.published(user(), &path("a/doc")).unwrap().unwrap();
    replace(storage, (2, 1), "a/doc", b"second").unwrap();
    replace(storage, (3, 2), "a/doc", b"the third").unwrap();
    assert!(storage.staged().unwrap().is_empty());

    let subject = subject.after_kill();
    let storage = subject.storage();
    assert_eq!(read(storage, "a/doc").unwrap(), b"the third");
    for (number, bytes) in [(1, &b"first"[..]), (2, b"second")] {
        assert_eq!(read_spot(storage, &Spot::Version(id(number)), &[]).unwrap(), bytes);
    }
    // It is the file that it was.
    let kept = storage.is_there(user(), &Spot::Version(id(1))).unwrap();
    assert_eq!(kept, Some(Entry::File { filesize: size(5), stamp: first.stamp }));
    for none in [Spot::Version(id(3)), Spot::Version(id(4))] {
        assert_eq!(storage.is_there(user(), &none).unwrap(), None);
        assert_eq!(read_spot(storage, &none, &[]), None);
    }
}

pub(super) fn a_version_that_is_read_goes_on_to_be_read(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "doc", b"first");
    let open = storage.published(user(), &path("doc")).unwrap().unwrap();
    replace(storage, (2, 1), "doc", b"other").unwrap();
    let mut bytes = [0; 5];
    open.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert_eq!(&bytes, b"first");
    assert_eq!(read(storage, "doc").unwrap(), b"other");
}

pub(super) fn what_came_whole_replaces_as_well(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "doc", b"first");
    storage.create_whole(id(2), b"whole").unwrap().sync_data().unwrap();
    let goes_on = &mut |_| true;
    let put = storage.replace(id(2), user(), &path("doc"), id(1), any_hash(), goes_on).unwrap();
    assert_eq!(put, Put::InPlace);
    assert_eq!(read(storage, "doc").unwrap(), b"whole");
    assert!(storage.staged().unwrap().is_empty());
}

pub(super) fn where_nothing_has_the_name_the_new_bytes_get_it(subject: impl Subject) {
    let storage = subject.storage();
    replace(storage, (2, 1), "a/doc", b"second").unwrap();
    assert_eq!(read(storage, "a/doc").unwrap(), b"second");
    assert_eq!(storage.is_there(user(), &Spot::Version(id(1))).unwrap(), None);
}

pub(super) fn a_folder_is_not_replaced(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/doc", b"first");
    let refused = replace(storage, (2, 9), "a", b"second");
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    let refused = replace(storage, (3, 9), "a/doc/b", b"second");
    assert!(matches!(refused, Err(StorageError::NotAFolder)), "{refused:?}");
    assert_eq!(read(storage, "a/doc").unwrap(), b"first");
    assert_eq!(storage.staged().unwrap().len(), 2);
    assert_eq!(storage.is_there(user(), &living("a")).unwrap(), Some(Entry::Folder));
}

pub(super) fn what_is_not_staged_replaces_nothing(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "doc", b"first");
    let goes_on = &mut |_| true;
    let lost = storage.replace(id(2), user(), &path("doc"), id(1), any_hash(), goes_on);
    assert_eq!(loss(lost), Some(Loss::Missing));
    assert_eq!(read(storage, "doc").unwrap(), b"first");
    upload(storage, 2, b"second");
    storage.discard(id(2)).unwrap();
    let lost = storage.replace(id(2), user(), &path("doc"), id(1), any_hash(), goes_on);
    assert_eq!(loss(lost), Some(Loss::Missing));
    assert_eq!(storage.is_there(user(), &Spot::Version(id(1))).unwrap(), None);
}
