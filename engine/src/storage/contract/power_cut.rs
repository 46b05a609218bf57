//! What a power cut leaves: all that was promised, and nothing need be left of the rest. The
//! store in memory forgets all that was not synced, so a body that passes there counts on
//! nothing else; on a disk the tests of faults and torture cut the power.

use super::{Memory, Subject, id, living, loss, node, offset, put, put_bytes, read, read_spot};
use super::{replace, size, upload, user};
use crate::storage::{Loss, MemoryStorage, Spot};
use towline_types::Offset;

/// A store of which a power cut leaves what it may leave.
pub(super) trait CutOff: Subject {
    fn after_power_cut(self) -> Self;
}

impl CutOff for Memory {
    fn after_power_cut(self) -> Self {
        Self(self.0.after_power_cut())
    }
}

#[test]
fn what_was_synced_is_there_behind_a_power_cut() {
    synced_bytes_are_there(Memory::new());
}

#[test]
fn what_was_published_is_there_behind_a_power_cut() {
    published_bytes_are_there(Memory::new());
}

#[test]
fn what_was_moved_is_in_its_new_place_behind_a_power_cut() {
    what_was_moved_stays_moved(Memory::new());
}

#[test]
fn both_versions_are_there_behind_a_power_cut() {
    what_was_replaced_stays_replaced(Memory::new());
}

/// A folder and a file, renamed, removed and restored: each after a power cut of its own.
pub(super) fn what_was_moved_stays_moved(subject: impl CutOff) {
    put_bytes(subject.storage(), 1, "a/b/doc", b"bytes");
    put_bytes(subject.storage(), 2, "file", b"other");
    let removed = Spot::Trash(node(9));
    let mut subject = subject;
    for (from, to) in [
        (living("a"), living("c/d")),
        (living("c/d/b"), removed.clone()),
        (removed, living("b")),
        (living("file"), living("b/file")),
    ] {
        subject.storage().relocate(user(), &from, &to).unwrap();
        subject = subject.after_power_cut();
        assert_eq!(subject.storage().is_there(user(), &from).unwrap(), None, "{from:?}");
        assert!(subject.storage().is_there(user(), &to).unwrap().is_some(), "{to:?}");
    }
    assert_eq!(read(subject.storage(), "b/doc").unwrap(), b"bytes");
    assert_eq!(read(subject.storage(), "b/file").unwrap(), b"other");
    // Nothing was durable of what came below the old place and was not synced.
    put_bytes(subject.storage(), 3, "a/b/doc", b"third");
    let subject = subject.after_power_cut();
    assert_eq!(read(subject.storage(), "a/b/doc").unwrap(), b"third");
}

pub(super) fn what_was_replaced_stays_replaced(subject: impl CutOff) {
    put_bytes(subject.storage(), 1, "a/doc", b"first");
    replace(subject.storage(), (2, 1), "a/doc", b"second").unwrap();
    let subject = subject.after_power_cut();
    assert_eq!(read(subject.storage(), "a/doc").unwrap(), b"second");
    assert_eq!(read_spot(subject.storage(), &Spot::Version(id(1)), &[]).unwrap(), b"first");
}

pub(super) fn synced_bytes_are_there(subject: impl CutOff) {
    let staging = subject.storage().create(id(1), size(200_000)).unwrap();
    staging.write_all_at(&vec![1; 100_000], Offset::ZERO).unwrap();
    staging.sync().unwrap();
    staging.write_all_at(&vec![2; 50_000], offset(90_000)).unwrap();
    drop(staging);
    let subject = subject.after_power_cut();
    let staging = subject.storage().open(id(1)).unwrap();
    staging.check_holds(offset(100_000)).unwrap();
    let mut bytes = vec![0; 90_000];
    staging.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert!(bytes == vec![1; 90_000]);
}

pub(super) fn published_bytes_are_there(subject: impl CutOff) {
    upload(subject.storage(), 1, b"bytes");
    put(subject.storage(), 1, "a/doc").unwrap();
    let subject = subject.after_power_cut();
    assert_eq!(read(subject.storage(), "a/doc").unwrap(), b"bytes");
}

#[test]
fn what_was_not_synced_is_gone_behind_a_power_cut_of_the_memory() {
    let storage = MemoryStorage::new(1 << 20);
    // Bytes without a durable name are lost with it.
    let nameless = upload(&storage, 1, b"bytes");
    let named = upload(&storage, 2, b"first");
    drop(super::Storage::create(&storage, id(3), size(9)).unwrap());
    named.sync().unwrap();
    named.write_all_at(b"other and more", Offset::ZERO).unwrap();
    let before = super::Storage::free_bytes(&storage).unwrap();

    let left = Memory(storage.after_power_cut());
    assert_eq!(loss(left.storage().open(id(1))), Some(Loss::Missing));
    assert_eq!(loss(left.storage().open(id(3))), Some(Loss::Missing));
    assert_eq!(left.storage().free_bytes().unwrap(), before + 14, "their space is free again");
    put(left.storage(), 2, "doc").unwrap();
    assert_eq!(read(left.storage(), "doc").unwrap(), b"first");
    // The store of before the cut is another.
    nameless.check(size(5)).unwrap();
}
