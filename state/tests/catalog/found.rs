//! Completed documents are found by content, and gone through in pages.

use crate::fixture::{Fixture, hash, size, user};

#[test]
fn content_is_found_again() {
    let f = Fixture::new();
    let (a, _) = f.complete("a", 7);
    let (b, _) = f.complete("b", 7);
    f.complete("c", 8);
    f.create("d", 9);
    let has = |filesize| f.catalog.has_completed_of_size(f.user, size(filesize)).wait().unwrap();
    assert!(has(7) && has(8));
    assert!(!has(9), "not completed");
    assert!(!f.catalog.has_completed_of_size(user(9), size(7)).wait().unwrap());
    let find = |filesize, blake3| -> Vec<_> {
        let found = f.catalog.find_completed(f.user, size(filesize), blake3).wait().unwrap();
        found.into_iter().map(|document| document.document_id).collect()
    };
    assert_eq!(find(7, hash(1)), [a, b]);
    assert_eq!(find(7, hash(2)), []);
    assert_eq!(find(9, hash(1)), []);
}

#[test]
fn pages_hold_every_completed_document_once() {
    let f = Fixture::new();
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.push(f.complete(&format!("doc {number}"), 1).0);
        f.create("unfinished", 1);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = f.catalog.documents_after(after, 3).wait().unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.document_id);
        assert!(page.len() <= 3);
        seen.extend(page.into_iter().map(|document| document.document_id));
    }
    assert_eq!(seen, expected);
}
