//! Documents begin, and read back as they were written.

use crate::fixture::{Fixture, at, id, path, refusal, size, user};
use towline_state::catalog::{
    Availability, Bytes, Document, DurableOffset, Kept, NodeWish, OnConflict, Refusal,
};
use towline_state::{Catalog, CatalogError};
use towline_types::SecondDigest;
use towline_upload::Phase;

#[test]
fn a_new_document_reads_back() {
    let f = Fixture::new();
    let document_id = f.create("lectures/week 1/Übung.pdf", 5_242_880);
    let expected = Document {
        document_id,
        user_id: f.user,
        path: path("lectures/week 1/Übung.pdf"),
        filesize: size(5_242_880),
        length_is_open: false,
        blake3: None,
        second_digest: SecondDigest::None,
        sha256: None,
        availability: Availability::Available,
        phase: Phase::Uploading,
        on_conflict: OnConflict::Rename,
        chunk_size: Some(65536),
        durable_offset: DurableOffset::NOTHING,
        bytes: Bytes::Synced,
        file_path: None,
        kept: Kept::InPlace,
        node_id: None,
        replaces: None,
        wish: NodeWish::default(),
        stamp: None,
        reason: None,
        started_at: at(10),
        last_chunk_at: at(10),
        created_at: None,
        finished_at: None,
    };
    assert_eq!(f.document(document_id), expected);
    assert_eq!(f.catalog.document(id(99)).wait().unwrap(), None);
}

#[test]
fn numbers_are_never_used_again() {
    let mut f = Fixture::new();
    let first = f.create("a", 1);
    f.edit("DELETE FROM documents WHERE document_id = 1");
    let second = f.create("a", 1);
    assert!(second > first);
    f.edit("DELETE FROM documents WHERE document_id = 2");
    f.catalog.close().wait().unwrap();
    f.catalog = Catalog::open(f.path()).unwrap();
    let third = f.catalog.reserve_document_id(f.user).unwrap();
    assert!(third > second);
    assert!(f.create("a", 1) > third, "reserved, and not used");
    f.edit("UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'documents'");
    f.catalog.close().wait().unwrap();
    f.catalog = Catalog::open(f.path()).unwrap();
    assert!(matches!(f.catalog.reserve_document_id(f.user), Err(CatalogError::BadRow { .. })));
    let refused = f.create_new(f.new_document("a", 1), 10);
    assert!(matches!(refused, Err(CatalogError::BadRow { .. })), "{refused:?}");
}

#[test]
fn only_users_who_are_there_begin_documents() {
    let f = Fixture::new();
    let mut new = f.new_document("a", 1);
    new.user_id = user(9);
    let refused = refusal(f.create_new(new, 10));
    assert_eq!(refused, Refusal::NoSuchUser);
    f.catalog.remove_user(f.user, at(2)).wait().unwrap();
    let refused = refusal(f.create_new(f.new_document("a", 1), 10));
    assert_eq!(refused, Refusal::NoSuchUser);
}

#[test]
fn unfinished_uploads_are_capped_per_user() {
    let f = Fixture::new();
    let create = || f.create_new(f.new_document("a", 1), 2);
    let first = create().unwrap();
    create().unwrap();
    assert_eq!(refusal(create()), Refusal::TooManyUnfinished { limit: 2 });
    // What is being published waits for nobody's bytes.
    f.begin(first).unwrap();
    create().unwrap();
    assert_eq!(refusal(create()), Refusal::TooManyUnfinished { limit: 2 });
    let bob = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let mut new = f.new_document("a", 1);
    new.user_id = bob;
    f.create_new(new, 2).unwrap();
}

#[test]
fn reject_is_refused_at_once_where_the_place_or_its_twin_is_taken() {
    let f = Fixture::new();
    let reject = |place: &str| {
        let mut new = f.new_document(place, 1);
        new.on_conflict = OnConflict::Reject;
        f.create_new(new, 100)
    };
    let uploading = f.create("docs/Café.txt", 1);
    reject("docs/Café.txt").unwrap();
    f.begin(uploading).unwrap();
    for twin in ["docs/Café.txt", "DOCS/cafe\u{301}.TXT"] {
        assert_eq!(refusal(reject(twin)), Refusal::PathTaken);
    }
    f.catalog.complete_publish(uploading, None, at(30)).wait().unwrap();
    assert_eq!(refusal(reject("docs/café.txt")), Refusal::PathTaken);
    reject("docs/Café 2.txt").unwrap();
    reject("Café.txt").unwrap();
}

#[test]
fn a_row_edited_by_hand_is_an_error_that_names_it() {
    for (edit, column) in [
        ("filename = '../../etc/passwd'", "filename"),
        ("folder = 'a//b'", "folder"),
        ("status = 'sleeping'", "status"),
        ("on_conflict = 'overwrite'", "on_conflict"),
        ("filesize = -1", "filesize"),
        ("blake3 = x'00'", "blake3"),
        ("file_path = '/etc/passwd'", "file_path"),
        ("chunk_size = -1", "chunk_size"),
        ("last_chunk_at = -1", "last_chunk_at"),
        ("reason = CAST(x'ff' AS TEXT)", "reason"),
    ] {
        let f = Fixture::new();
        f.create("a", 1);
        let bad = f.create("b", 1);
        f.edit(&format!("UPDATE documents SET {edit} WHERE document_id = {bad}"));
        for error in [
            f.catalog.document(bad).wait().unwrap_err(),
            f.catalog.unfinished(None, 100).wait().unwrap().rows[1].clone().unwrap_err(),
            f.catalog.complete_publish(bad, None, at(30)).wait().unwrap_err(),
        ] {
            let named = matches!(&error, CatalogError::BadRow { table: "document", id: 2, column: found, .. } if *found == column);
            assert!(named, "{edit}: {error:?}");
            assert!(error.to_string().contains("document 2"), "{error}");
        }
        f.create("c", 1);
    }
}
