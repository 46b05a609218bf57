//! What was written at a position is read at that position.

use super::{Subject, id, loss, offset, on_every_store, path, put, read, size, upload, user};
use crate::storage::{Loss, Synced};
use std::io::Read as _;
use towline_types::Offset;

on_every_store!(
    what_is_written_in_any_order_is_read_and_published,
    a_range_of_a_document_is_read_and_nothing_beside_it,
    an_open_document_is_the_one_that_was_opened,
    an_open_document_says_whether_it_was_written_to,
    the_file_number_stays_and_the_stamp_changes_with_the_bytes,
);

pub(super) fn what_is_written_in_any_order_is_read_and_published(subject: impl Subject) {
    let storage = subject.storage();
    let whole = size((2 << 20) + 3);
    let staging = storage.create(id(1), whole).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), 0, "reserved space is no length");

    let late = vec![7; (1 << 20) + 3];
    staging.write_all_at(&late, offset(1 << 20)).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), whole.get());
    staging.write_all_at(&vec![3; 1 << 20], Offset::ZERO).unwrap();
    staging.start_writeback(Offset::ZERO, whole.get());
    staging.start_writeback(Offset::ZERO, 0);
    staging.sync().unwrap();
    staging.drop_cached();
    let mut middle = [0; 4];
    staging.read_exact_at(&mut middle, offset((1 << 20) - 2)).unwrap();
    assert_eq!(middle, [3, 3, 7, 7]);
    let behind = staging.read_exact_at(&mut middle, offset(whole.get() - 2));
    let (expected_bytes, found_bytes) = (whole.get() + 2, whole.get());
    assert_eq!(loss(behind), Some(Loss::Length { expected_bytes, found_bytes }));
    staging.check(whole).unwrap();
    staging.check_holds(offset(5)).unwrap();
    assert!(matches!(loss(staging.check(size(5))), Some(Loss::Length { .. })));

    assert_eq!(read(storage, "a.bin"), None);
    put(storage, 1, "a.bin").unwrap();
    let bytes = read(storage, "a.bin").unwrap();
    assert!(bytes[..1 << 20] == vec![3; 1 << 20] && bytes[1 << 20..] == late);
}

pub(super) fn a_range_of_a_document_is_read_and_nothing_beside_it(subject: impl Subject) {
    let storage = subject.storage();
    let bytes: Vec<u8> = (0..=250).cycle().take(200_000).collect();
    upload(storage, 1, &bytes);
    put(storage, 1, "doc").unwrap();
    for (start, end) in [(0, 200_000), (0, 1), (65_530, 65_540), (199_999, 1 << 40), (5, 5), (9, 3)]
    {
        let mut found = Vec::new();
        let range = offset(start)..offset(end);
        let mut reader = storage.read(user(), &path("doc"), range).unwrap().unwrap();
        reader.read_to_end(&mut found).unwrap();
        let [start, end] = [start, end].map(|bound| usize::try_from(bound).unwrap().min(200_000));
        assert!(found == bytes.get(start..end).unwrap_or_default(), "{start}..{end}");
    }
    assert!(storage.read(user(), &path("none"), Offset::ZERO..offset(9)).unwrap().is_none());
}

pub(super) fn an_open_document_is_the_one_that_was_opened(subject: impl Subject) {
    let storage = subject.storage();
    upload(storage, 1, b"bytes");
    put(storage, 1, "doc").unwrap();
    let document = storage.published(user(), &path("doc")).unwrap().unwrap();
    assert_eq!(document.filesize, size(5));
    let document = document.from_device();
    let mut bytes = [0; 5];
    document.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert_eq!(&bytes, b"bytes");
    document.read_exact_at(&mut bytes[..2], offset(3)).unwrap();
    assert_eq!(&bytes[..2], b"es");
    let behind = loss(document.read_exact_at(&mut bytes, offset(3)));
    assert_eq!(behind, Some(Loss::Length { expected_bytes: 8, found_bytes: 5 }));
}

pub(super) fn an_open_document_says_whether_it_was_written_to(subject: impl Subject) {
    let storage = subject.storage();
    let staging = upload(storage, 1, b"bytes");
    put(storage, 1, "doc").unwrap();
    let document = storage.published(user(), &path("doc")).unwrap().unwrap();
    assert!(document.is_unchanged().unwrap());
    let mut bytes = [0; 5];
    document.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert!(document.is_unchanged().unwrap(), "a read changes nothing");
    staging.write_all_at(b"more", offset(5)).unwrap();
    assert!(!document.is_unchanged().unwrap());
    assert_eq!(document.look().unwrap().length_bytes, 9);
}

pub(super) fn the_file_number_stays_and_the_stamp_changes_with_the_bytes(subject: impl Subject) {
    let storage = subject.storage();
    let (first, second) = (upload(storage, 1, b"bytes"), upload(storage, 2, b"bytes"));
    assert_ne!(first.file_number(), second.file_number());
    let stamp = first.stamp();
    put(storage, 1, "a/doc").unwrap();
    let published = storage.published(user(), &path("a/doc")).unwrap().unwrap();
    assert_eq!(published.file_number(), first.file_number());
    assert_eq!(stamp, Some(published.stamp));

    let other = storage.create(id(3), size(5)).unwrap();
    assert!(Synced::by_sync_of(&*other).unwrap().is_of(other.file_number()));
    assert!(!Synced::by_sync_of(&*second).unwrap().is_of(other.file_number()));
}
