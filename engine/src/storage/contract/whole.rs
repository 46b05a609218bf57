//! What came whole is published, or becomes a staging area like all others, or nothing.

use super::{Subject, id, loss, on_every_store, path, put, read, user};
use crate::storage::{Loss, StorageError};

on_every_store!(what_came_whole_is_published_or_taken_up_or_discarded);

pub(super) fn what_came_whole_is_published_or_taken_up_or_discarded(subject: impl Subject) {
    let storage = subject.storage();
    for number in 1..=4 {
        let whole = storage.create_whole(id(number), b"bytes").unwrap();
        whole.sync_data().unwrap();
        let again = storage.create_whole(id(number), b"bytes").map(drop);
        assert!(matches!(again, Err(StorageError::Occupied)), "{again:?}");
    }
    let staged = storage.staged().unwrap();
    assert_eq!(staged.len(), 4);
    assert!(staged.iter().all(|entry| entry.is_whole && entry.length_bytes == 5), "{staged:?}");

    // What is opened is like all others: something may be promised of it.
    assert_eq!(storage.open(id(1)).unwrap().length_bytes().unwrap(), 5);
    storage.discard_whole(id(1)).unwrap();
    let taken_up: Vec<_> = storage.staged().unwrap();
    assert!(taken_up.iter().any(|entry| entry.id == id(1) && !entry.is_whole), "{taken_up:?}");
    storage.discard(id(1)).unwrap();

    put(storage, 2, "doc").unwrap();
    assert_eq!(read(storage, "doc").unwrap(), b"bytes");
    storage.discard_whole(id(3)).unwrap();
    storage.discard(id(4)).unwrap();
    assert!(storage.staged().unwrap().is_empty());
    assert_eq!(loss(storage.open(id(3))), Some(Loss::Missing));
    assert_eq!(storage.published_size(user(), &path("other")).unwrap(), None);
}
