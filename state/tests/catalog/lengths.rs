//! Files whose length is declared after their upload has begun, and the second hash of a file.

use crate::fixture::{Fixture, MIB, block, checkpoint, hash, offset, path, refusal, size};
use towline_state::catalog::{Created, NewDocument, Refusal, Unless};
use towline_types::{DocumentId, SecondDigest, Sha256Hash};
use towline_upload::{Length, Phase};

fn begin(f: &Fixture, place: &str, max: u64) -> DocumentId {
    let length = Length::Open { max: size(max) };
    let new = NewDocument { length, ..f.new_document(place, 0) };
    f.create_new(new, u32::MAX).unwrap()
}

#[test]
fn a_length_is_open_until_it_is_declared_once() {
    let f = Fixture::new();
    let a = begin(&f, "a", 10 * MIB);
    assert_eq!(f.document(a).length(), Length::Open { max: size(10 * MIB) });
    let blocks = vec![block(0, 1), block(1, 2)];
    f.catalog.checkpoint(vec![checkpoint(a, 2 * MIB + 5, blocks.clone())]).wait().unwrap();
    f.catalog.declare_length(a, size(2 * MIB + 7)).wait().unwrap();
    let document = f.document(a);
    assert_eq!(document.length(), Length::Declared(size(2 * MIB + 7)));
    assert_eq!(document.durable_offset.get(), offset(2 * MIB + 5));
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), blocks);
    let twice = f.catalog.declare_length(a, size(2 * MIB + 7)).wait();
    assert_eq!(refusal(twice), Refusal::BadLength);
    f.begin(a).unwrap();
    assert_eq!(f.document(a).phase, Phase::Publishing);
}

#[test]
fn the_only_block_of_a_file_leaves_its_value_and_not_its_promise() {
    let f = Fixture::new();
    let a = begin(&f, "a", 10 * MIB);
    f.catalog.checkpoint(vec![checkpoint(a, MIB, vec![block(0, 1)])]).wait().unwrap();
    f.catalog.declare_length(a, size(MIB)).wait().unwrap();
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), []);
    assert_eq!(f.document(a).durable_offset.get(), offset(MIB));
}

#[test]
fn nothing_is_published_whose_length_is_open_and_no_length_is_shorter_than_a_promise() {
    let f = Fixture::new();
    let a = begin(&f, "a", 10 * MIB);
    assert_eq!(refusal(f.begin(a)), Refusal::BadLength);
    f.catalog.checkpoint(vec![checkpoint(a, MIB, vec![])]).wait().unwrap();
    let shorter = f.catalog.declare_length(a, size(MIB - 1)).wait();
    assert_eq!(refusal(shorter), Refusal::BadLength);
    assert_eq!(f.document(a).length(), Length::Open { max: size(10 * MIB) });
}

#[test]
fn an_upload_of_open_length_is_not_found_by_the_length_that_it_may_become() {
    let f = Fixture::new();
    begin(&f, "a", MIB);
    let find = || f.catalog.find(f.user, &path("a"), size(MIB), None).wait().unwrap().unfinished;
    assert_eq!(find(), None);
    let unless = Unless { unfinished: true, ..Unless::default() };
    let new = f.new_document("a", MIB);
    let created = f.catalog.create_document(new, unless, u32::MAX, |id| id).wait().unwrap();
    let Created::New(b) = created else { panic!("{created:?}") };
    assert_eq!(find().map(|document| document.document_id), Some(b));
}

#[test]
fn a_second_hash_is_asked_for_and_kept() {
    let f = Fixture::new();
    let new = NewDocument { second_digest: SecondDigest::Sha256, ..f.new_document("a", 1) };
    let a = f.create_new(new, u32::MAX).unwrap();
    assert_eq!((f.document(a).second_digest, f.document(a).sha256), (SecondDigest::Sha256, None));
    let sha256 = Sha256Hash::from_bytes(*hash(3).as_bytes());
    f.catalog.note_sha256(a, sha256).wait().unwrap();
    f.begin(a).unwrap();
    assert_eq!(f.document(a).sha256, Some(sha256));
    let late = f.catalog.note_sha256(a, sha256).wait();
    assert_eq!(refusal(late), Refusal::WrongPhase(Phase::Publishing));
    f.catalog.complete_publish(a, None, crate::fixture::at(20)).wait().unwrap();
    assert_eq!(f.document(a).sha256, Some(sha256));
}

#[test]
fn blocks_are_read_a_page_at_a_time() {
    let f = Fixture::new();
    let a = f.create("a", 100 * MIB);
    let blocks: Vec<_> = [0, 1, 2, 5, 9, 10, 90].map(|index| block(index, 7)).into();
    f.catalog.checkpoint(vec![checkpoint(a, 3 * MIB, blocks.clone())]).wait().unwrap();
    let (mut from, mut read) = (block(0, 0).0, Vec::new());
    loop {
        let page = f.catalog.blocks_from(a, from, 3).wait().unwrap();
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 3);
        from = last.next();
        read.extend(page);
    }
    assert_eq!(read, blocks);
}
