//! What does not fit is refused with what is missing, and leaves nothing.

use super::{Subject, id, on_every_store, size, upload};
use crate::storage::StorageError;

on_every_store!(what_does_not_fit_is_refused_with_what_is_missing_and_leaves_nothing);

pub(super) fn what_does_not_fit_is_refused_with_what_is_missing_and_leaves_nothing(
    subject: impl Subject,
) {
    let storage = subject.storage();
    let free = storage.free_bytes().unwrap();
    let absurd = size(1 << 62);
    let refused = storage.create(id(1), absurd).map(drop).unwrap_err();
    let StorageError::NoSpace { missing_bytes: Some(missing_bytes), .. } = refused else {
        panic!("{refused}")
    };
    // Other programs write to the same disk too, so a gibibyte off is near enough.
    assert!(missing_bytes.abs_diff(absurd.get() - free) < 1 << 30, "{missing_bytes}");
    assert!(storage.staged().unwrap().is_empty());

    let staging = upload(storage, 2, b"12345");
    assert!(matches!(staging.require_room(absurd), Err(StorageError::NoSpace { .. })));
    staging.check(size(5)).unwrap();
    assert!(!storage.latch().is_closed(), "a full store is no broken store");
}
