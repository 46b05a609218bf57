//! Once the latch is closed nothing changes, and reading goes on (P5).

use super::{Subject, id, offset, on_every_store, path, put, read, size, upload, user};
use crate::storage::StorageError;
use towline_types::Offset;

on_every_store!(a_closed_store_refuses_every_change_and_goes_on_reading);

pub(super) fn a_closed_store_refuses_every_change_and_goes_on_reading(subject: impl Subject) {
    let storage = subject.storage();
    upload(storage, 1, b"published");
    put(storage, 1, "doc").unwrap();
    let staging = upload(storage, 2, b"staged");
    drop(storage.create_whole(id(4), b"whole").unwrap());
    assert!(!storage.latch().is_closed());
    storage.latch().close();
    assert!(storage.latch().is_closed());

    for refused in [
        storage.create(id(3), size(1)).map(drop),
        storage.create_whole(id(3), b"x").map(drop),
        put(storage, 2, "other"),
        storage.sync_published(user(), &path("doc")),
        storage.discard(id(2)),
        storage.discard_whole(id(4)),
        // To take it up is a change.
        storage.open(id(4)).map(drop),
        staging.write_all_at(b"x", Offset::ZERO),
        staging.sync().map(drop),
        staging.sync_data(),
        staging.truncate(Offset::ZERO),
        staging.reserve(size(6)),
    ] {
        assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
    }
    let mut bytes = [0; 6];
    staging.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert_eq!(&bytes, b"staged");
    staging.check(size(6)).unwrap();
    staging.check_holds(offset(2)).unwrap();
    assert_eq!(read(storage, "doc").unwrap(), b"published");
    assert_eq!(storage.staged().unwrap().len(), 2);

    let subject = subject.after_kill();
    assert!(!subject.storage().latch().is_closed());
    put(subject.storage(), 2, "other").unwrap();
}
