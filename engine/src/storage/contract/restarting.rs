//! What a killed process leaves is found by the next one, and goes on (P4).

use super::{Subject, id, loss, offset, on_every_store, path, put, read, size, upload, user};
use crate::storage::{Loss, Staged, StorageError};
use towline_types::Offset;

on_every_store!(
    an_upload_is_continued_after_a_restart,
    staging_areas_are_listed_after_a_restart,
    a_published_file_is_made_durable_again,
);

pub(super) fn an_upload_is_continued_after_a_restart(subject: impl Subject) {
    let whole = size(3 << 20);
    let staging = subject.storage().create(id(1), whole).unwrap();
    staging.write_all_at(b"12345 and more", Offset::ZERO).unwrap();
    staging.sync().unwrap();
    drop(staging);

    let subject = subject.after_kill();
    let storage = subject.storage();
    assert!(matches!(storage.create(id(1), whole), Err(StorageError::Occupied)));
    let staging = storage.open(id(1)).unwrap();
    let mut bytes = [0; 5];
    staging.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert_eq!(&bytes, b"12345");
    staging.truncate(offset(5)).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), 5);
    staging.require_room(whole).unwrap();
    staging.truncate(offset(5)).unwrap();
    staging.truncate(offset(99)).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), 5, "never made longer");
    staging.write_all_at(b"678", offset(5)).unwrap();
    staging.sync().unwrap();
    put(storage, 1, "doc").unwrap();
    assert_eq!(read(storage, "doc").unwrap(), b"12345678");
}

pub(super) fn staging_areas_are_listed_after_a_restart(subject: impl Subject) {
    assert!(subject.storage().staged().unwrap().is_empty());
    upload(subject.storage(), 1, b"one");
    upload(subject.storage(), 2, b"three");
    upload(subject.storage(), 3, b"published");
    put(subject.storage(), 3, "doc").unwrap();
    let subject = subject.after_kill();
    let mut staged = subject.storage().staged().unwrap();
    staged.sort_by_key(|staged| staged.id);
    let listed = |number, length_bytes| Staged { id: id(number), is_whole: false, length_bytes };
    assert_eq!(staged, [listed(1, 3), listed(2, 5)]);
}

pub(super) fn a_published_file_is_made_durable_again(subject: impl Subject) {
    upload(subject.storage(), 1, b"bytes");
    put(subject.storage(), 1, "a/doc").unwrap();
    let subject = subject.after_kill();
    let storage = subject.storage();
    storage.sync_published(user(), &path("a/doc")).unwrap();
    storage.sync_published(user(), &path("a/doc")).unwrap();
    for none in ["doc", "a/other", "b/doc"] {
        let answer = storage.sync_published(user(), &path(none));
        assert_eq!(loss(answer), Some(Loss::Missing), "{none}");
    }
    assert_eq!(read(storage, "a/doc").unwrap(), b"bytes");
}
