//! No call answers with more than it was asked for, however much one user has.

use crate::fixture::{Fixture, at, hash, path, size};
use std::time::Instant;
use towline_state::catalog::{Created, OnConflict, Unless};
use towline_types::DocumentId;

const ROWS: u32 = 100_000;

/// A user with so many uploads on their way, and as many documents of one content.
fn crowded() -> Fixture {
    let f = Fixture::new();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
    );
    let by_hand = f.by_hand();
    for rest in [
        "INSERT INTO documents (user_id, folder, filename, filesize, status, on_conflict, \
         durable_offset, started_at, last_chunk_at) \
         SELECT 1, 'folder ' || i, 'same.bin', 7, 'uploading', 'rename', 0, 10, 10 FROM n",
        "INSERT INTO documents (user_id, folder, filename, filesize, status, on_conflict, \
         durable_offset, started_at, last_chunk_at, blake3, file_path, node_id, created_at, \
         finished_at) SELECT 1, '', 'same.bin', 7, 'completed', 'rename', 7, 10, 10, \
         x'0101010101010101010101010101010101010101010101010101010101010101', \
         'same (' || i || ').bin', i, 20, 20 FROM n",
        "INSERT INTO nodes (node_id, user_id, kind, name, name_key, version_id, place_rev, \
         content_rev) SELECT i, 1, 'file', 'same (' || i || ').bin', 'same (' || i || ').bin', \
         i + (SELECT max(document_id) FROM documents WHERE status = 'uploading'), i, i FROM n",
    ] {
        let made = by_hand.execute(&format!("{numbers} {rest}"), []).unwrap();
        assert_eq!(made, ROWS as usize);
    }
    f
}

#[test]
fn a_user_with_two_hundred_thousand_documents() {
    let f = crowded();
    let catalog = &f.catalog;
    let page = catalog.documents_after(None, 100).wait().unwrap();
    assert_eq!(page.len(), 100);
    let quiet = catalog.quiet_since(at(11), None, 100).wait().unwrap();
    assert_eq!(quiet.len(), 100);
    let behind = DocumentId::try_from(u64::from(ROWS) - 1).unwrap();
    assert_eq!(catalog.quiet_since(at(11), Some(behind), 100).wait().unwrap().len(), 1);
    let found =
        catalog.find(f.user, &path("folder 5/same.bin"), size(7), Some(hash(1))).wait().unwrap();
    assert!(found.same_size && found.is_known && found.unfinished.is_some());
    assert!(found.same_place.len() <= 8, "{}", found.same_place.len());
    assert_eq!(catalog.same_bytes(f.user, size(7), hash(1)).wait().unwrap().len(), 8);
    let place = path("same.bin");
    let wish = OnConflict::Rename;
    let same = catalog.same_place(f.user, &place, size(7), hash(1), wish).wait().unwrap();
    assert!((1..=9).contains(&same.len()), "{}", same.len());
    // A new upload of these bytes does not read them all, either.
    let began = Instant::now();
    for number in 0..100 {
        let new = f.new_document(&format!("new {number}"), 7);
        let same = Some(hash(1));
        let unless = Unless { same_place: same, same_bytes: same, unfinished: true };
        let created = catalog.create_document(new, unless, u32::MAX, drop).wait().unwrap();
        match created {
            Created::Found(_) | Created::New(()) => {}
            Created::SameBytes(same) | Created::SamePlace(same) => {
                assert!(same.len() <= 9, "{}", same.len())
            }
        }
    }
    println!("100 new uploads beside 200,000 documents: {:?}", began.elapsed());
    assert!(catalog.document(quiet[0]).wait().unwrap().is_some());
    assert!(catalog.has_documents().wait().unwrap());
    assert!(catalog.document_at(f.user, &path("same (5).bin")).wait().unwrap().is_some());
    assert_eq!(catalog.users().wait().unwrap().len(), 1);
}
