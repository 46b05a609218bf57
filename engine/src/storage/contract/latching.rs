//! Once the latch is closed nothing changes, and reading goes on (P5).

use super::{Subject, any_hash, id, living, node, offset, on_every_store, path, put, put_bytes};
use super::{read, read_spot, replace, size, upload, user};
use crate::storage::{Spot, StorageError, Verdict};
use towline_types::Offset;

on_every_store!(
    a_closed_store_refuses_every_change_and_goes_on_reading,
    a_closed_store_moves_and_deletes_nothing,
);

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
        staging.sync(),
        staging.sync_data(),
        staging.truncate(Offset::ZERO),
        staging.require_room(size(6)),
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

pub(super) fn a_closed_store_moves_and_deletes_nothing(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/doc", b"one");
    put_bytes(storage, 2, "b/doc", b"two");
    replace(storage, (3, 2), "b/doc", b"three").unwrap();
    let removed = Spot::Trash(node(7));
    storage.relocate(user(), &living("b"), &removed).unwrap();
    upload(storage, 4, b"four");
    storage.latch().close();

    let (old, doc, goes_on) = (id(1), path("a/doc"), &mut |_| true);
    for refused in [
        storage.make_folder(user(), &path("c")),
        storage.replace(id(4), user(), &doc, old, any_hash(), goes_on).map(drop),
        storage.relocate(user(), &living("a"), &living("c")),
        storage.relocate(user(), &removed, &living("b")),
        storage.delete_trash(user(), node(7), &mut |_| Verdict::Delete).map(drop),
        storage.delete_versions(user(), &[id(2)]),
    ] {
        assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
    }
    assert_eq!(read(storage, "a/doc").unwrap(), b"one");
    assert_eq!(read_spot(storage, &removed, &["doc"]).unwrap(), b"three");
    assert_eq!(read_spot(storage, &Spot::Version(id(2)), &[]).unwrap(), b"two");
    assert_eq!(storage.is_there(user(), &living("c")).unwrap(), None);
}
