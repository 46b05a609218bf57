//! Completed documents are found by content.

use crate::fixture::{Fixture, hash, path, size, user};
use towline_state::catalog::{Created, Unless};

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
    let known = Unless { same_bytes: Some(hash(1)), unfinished: false };
    let Created::SameBytes(found) = wish("z", 7, known) else { panic!("its bytes are there") };
    assert_eq!(found.iter().map(|one| one.document_id).collect::<Vec<_>>(), [done]);
    let beside = Unless { same_bytes: Some(hash(2)), unfinished: true };
    let Created::Found(found) = wish("docs/b", 8, beside) else { panic!("it is begun") };
    assert_eq!(found.unfinished.unwrap().document_id, begun);
    for (place, filesize, unless) in
        [("z", 8, known), ("docs/b", 7, beside), ("b", 8, beside), ("docs/b", 8, Unless::default())]
    {
        assert!(matches!(wish(place, filesize, unless), Created::New(id) if id > begun), "{place}");
    }
}
