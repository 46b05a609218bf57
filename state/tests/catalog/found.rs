//! Completed documents are found by place and by content.

use crate::fixture::{Fixture, at, hash, path, size, user};
use towline_state::catalog::{Created, Document, FileStamp, Unless};
use towline_types::{DocumentId, OnConflict};

fn ids(documents: Vec<Document>) -> Vec<DocumentId> {
    documents.into_iter().map(|document| document.document_id).collect()
}

#[test]
fn content_is_found_again() {
    let f = Fixture::new();
    let (a, _) = f.complete("a", 7);
    let (b, _) = f.complete("b", 7);
    f.complete("c", 8);
    f.create("d", 9);
    let has = |owner, filesize| {
        f.catalog.find(owner, &path("z"), size(filesize), None).wait().unwrap().same_size
    };
    assert!(has(f.user, 7) && has(f.user, 8));
    assert!(!has(f.user, 9), "not completed");
    assert!(!has(user(9), 7));
    let find = |filesize, blake3| {
        ids(f.catalog.same_bytes(f.user, size(filesize), blake3).wait().unwrap())
    };
    assert_eq!(find(7, hash(1)), [a, b]);
    assert_eq!(find(7, hash(2)), []);
    assert_eq!(find(9, hash(1)), []);
    // As many as are needed, and not all that there are.
    for n in 0..20 {
        f.complete(&format!("{n}/a"), 7);
    }
    assert_eq!(find(7, hash(1)).len(), 8);
}

#[test]
fn a_place_is_the_one_that_it_has_or_was_to_have() {
    let f = Fixture::new();
    let (first, _) = f.complete("in/Doc", 7);
    let (second, place) = f.complete("in/doc", 7);
    assert_eq!(place, "in/doc (1)");
    let (plain, _) = f.complete("doc", 7);
    let at = |place: &str, filesize, on_conflict| {
        let found =
            f.catalog.same_place(f.user, &path(place), size(filesize), hash(1), on_conflict);
        ids(found.wait().unwrap())
    };
    let (rename, reject) = (OnConflict::Rename, OnConflict::Reject);
    assert_eq!(at("in/Doc", 7, rename), [first]);
    assert_eq!(at("in/doc", 7, rename), [first, second]);
    assert_eq!(at("in/doc", 7, reject), [first]);
    assert_eq!(at("in/doc (1)", 7, reject), [second]);
    assert_eq!(at("doc", 7, rename), [plain]);
    for (place, filesize) in [("IN/Doc", 7), ("in/doc", 8), ("out/doc", 7), ("in", 7)] {
        assert_eq!(at(place, filesize, rename), [], "{place}");
    }
    let found = |place: &str, blake3| {
        let found = f.catalog.find(f.user, &path(place), size(7), Some(blake3)).wait().unwrap();
        (ids(found.same_place), found.is_known)
    };
    assert_eq!(found("in/Doc", hash(1)), (vec![first], true));
    assert_eq!(found("other", hash(1)), (vec![], true));
    assert_eq!(found("in/Doc", hash(2)), (vec![], false));
    let there = |places: &[&str]| {
        let places: Vec<_> = places.iter().map(|place| path(place)).collect();
        ids(f.catalog.at_places(f.user, &places).wait().unwrap())
    };
    assert_eq!(there(&["IN/DOC", "in/doc (1)", "in", "x"]), [first, second]);
    // A twin from before keys were folded in full keeps a key of its own.
    f.edit(&format!(
        "UPDATE nodes SET name_key = 'doc' || char(1) || node_id WHERE version_id = {plain}"
    ));
    assert_eq!(there(&["doc"]), [plain]);
}

#[test]
fn what_a_file_is_known_by_lasts_as_long_as_its_document() {
    let f = Fixture::new();
    let stamp = FileStamp { inode: u64::MAX, modified_ns: -5, mount_depth: None };
    let a = f.create("a", 7);
    f.begin(a).unwrap();
    let completed = f.catalog.complete_publish(a, Some(stamp), at(30)).wait().unwrap();
    assert_eq!((completed.stamp, &completed), (Some(stamp), &f.document(a)));
    let later = FileStamp { modified_ns: i64::MAX, mount_depth: Some(3), ..stamp };
    f.catalog.note_stamp(a, later).wait().unwrap();
    assert_eq!(f.document(a).stamp, Some(later));
    // What was seen of an earlier file says nothing about this one.
    f.catalog.doubt_file(a, stamp).wait().unwrap();
    assert_eq!(f.document(a).stamp, Some(later));
    f.catalog.doubt_file(a, later).wait().unwrap();
    let doubted = f.document(a).stamp.unwrap();
    assert_eq!(
        (doubted.inode, doubted.mount_depth),
        (later.inode, Some(3)),
        "where it is expected"
    );
    assert!(!later.is_known_by(Some(doubted)) && !doubted.is_known_by(Some(doubted)));
    f.catalog.note_stamp(a, later).wait().unwrap();
    assert!(later.is_known_by(f.document(a).stamp), "it was read, and is the right one");
    f.catalog.lose(a, "gone", at(40)).wait().unwrap();
    assert_eq!(f.document(a).stamp, None);
    f.catalog.note_stamp(a, later).wait().unwrap();
    assert_eq!(f.document(a).stamp, None, "it is no document any more");
}

#[test]
fn a_new_document_is_not_made_where_it_is_needless() {
    let f = Fixture::new();
    let (done, _) = f.complete("a", 7);
    let begun = f.create("docs/b", 8);
    let wish = |place: &str, filesize, unless| {
        f.catalog
            .create_document(f.new_document(place, filesize), unless, 9, |id| id)
            .wait()
            .unwrap()
    };
    let there = Unless { same_place: Some(hash(1)), ..Unless::default() };
    let Created::SamePlace(found) = wish("a", 7, there) else { panic!("it is there") };
    assert_eq!(ids(found), [done]);
    let known = Unless { same_bytes: Some(hash(1)), ..there };
    let Created::SameBytes(found) = wish("z", 7, known) else { panic!("its bytes are there") };
    assert_eq!(ids(found), [done]);
    let beside = Unless { same_bytes: Some(hash(2)), unfinished: true, ..Unless::default() };
    let Created::Found(found) = wish("docs/b", 8, beside) else { panic!("it is begun") };
    assert_eq!(found.unfinished.unwrap().document_id, begun);
    for (place, filesize, unless) in [
        ("z", 7, there),
        ("z", 8, known),
        ("docs/b", 7, beside),
        ("b", 8, beside),
        ("docs/b", 8, Unless::default()),
    ] {
        assert!(matches!(wish(place, filesize, unless), Created::New(id) if id > begun), "{place}");
    }
}
