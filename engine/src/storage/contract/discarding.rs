//! What was discarded is gone, and nothing else is.

use super::{Subject, id, loss, on_every_store, put, read, size, upload};
use crate::storage::Loss;

on_every_store!(discarding_twice_is_fine, other_bytes_under_the_same_id_are_noticed);

pub(super) fn discarding_twice_is_fine(subject: impl Subject) {
    let storage = subject.storage();
    let staging = upload(storage, 1, b"x");
    upload(storage, 2, b"y");
    upload(storage, 3, b"z");
    put(storage, 3, "doc").unwrap();
    storage.discard(id(1)).unwrap();
    storage.discard(id(1)).unwrap();
    storage.discard(id(3)).unwrap();
    let staged = storage.staged().unwrap();
    assert_eq!(staged.iter().map(|staged| staged.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(read(storage, "doc").unwrap(), b"z", "a document is no staging area");
    assert_eq!(loss(staging.check(size(1))), Some(Loss::Missing));
    assert_eq!(loss(storage.open(id(1))), Some(Loss::Missing));
    assert_eq!(loss(put(storage, 1, "other")), Some(Loss::Missing));
}

pub(super) fn other_bytes_under_the_same_id_are_noticed(subject: impl Subject) {
    let storage = subject.storage();
    let first = upload(storage, 1, b"bytes");
    storage.discard(id(1)).unwrap();
    let second = upload(storage, 1, b"bytes");
    assert_eq!(loss(first.check(size(5))), Some(Loss::Replaced));
    second.check(size(5)).unwrap();
}
