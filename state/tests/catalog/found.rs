//! Completed documents are found by content.

use crate::fixture::{Fixture, hash, path, size, user};

#[test]
fn content_is_found_again() {
    let f = Fixture::new();
    let (a, _) = f.complete("a", 7);
    let (b, _) = f.complete("b", 7);
    f.complete("c", 8);
    f.create("d", 9);
    let has = |owner, filesize| {
        f.catalog.find(owner, &path("z"), size(filesize)).wait().unwrap().same_size
    };
    assert!(has(f.user, 7) && has(f.user, 8));
    assert!(!has(f.user, 9), "not completed");
    assert!(!has(user(9), 7));
    let find = |filesize, blake3| -> Vec<_> {
        let found = f.catalog.find_completed(f.user, size(filesize), blake3).wait().unwrap();
        found.into_iter().map(|document| document.document_id).collect()
    };
    assert_eq!(find(7, hash(1)), [a, b]);
    assert_eq!(find(7, hash(2)), []);
    assert_eq!(find(9, hash(1)), []);
}
