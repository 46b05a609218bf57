//! A catalog has an identity: its own, and the same for ever.

use crate::fixture::{Fixture, at};
use rusqlite::Connection;
use std::path::Path;
use towline_state::{Catalog, CatalogError};
use towline_types::Timestamp;

/// The catalog as a Towline made it that knew no identity, with these users.
fn of_before(path: &Path, users: &[&str]) {
    let made = tempfile::tempdir().unwrap();
    let template = made.path().join("catalog.db");
    Catalog::open(&template).unwrap().close().wait().unwrap();
    let old = Connection::open(path).unwrap();
    for sql in [
        include_str!("../../migrations/V1__users_documents_blocks.sql"),
        include_str!("../../migrations/V2__bytes.sql"),
    ] {
        old.execute_batch(sql).unwrap();
    }
    old.execute("ATTACH $1 AS template", [template.to_str().unwrap()]).unwrap();
    old.execute_batch(
        "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), \
             applied_on VARCHAR(255), checksum VARCHAR(255)); \
         INSERT INTO refinery_schema_history \
             SELECT * FROM template.refinery_schema_history WHERE version <= 2;",
    )
    .unwrap();
    for user in users {
        old.execute("INSERT INTO users (name, created_at) VALUES ($1, 1)", [user]).unwrap();
    }
}

fn now() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[test]
fn two_catalogs_are_two_stores_and_one_stays_the_same() {
    let (f, other) = (Fixture::new(), Fixture::new());
    let store = f.catalog.store();
    assert_ne!(store.store_id, other.catalog.store_id());
    assert_eq!((store.tokens_without_id_until, store.marked_at), (None, None));
    f.catalog.record_marked(at(7)).wait().unwrap();
    f.catalog.record_marked(at(8)).wait().unwrap();
    let path = f.path();
    let looking = Catalog::open_to_look(&path).unwrap();
    assert_eq!(looking.store_id(), store.store_id);
    drop(looking);
    drop(f.catalog);
    let again = Catalog::open(&path).unwrap().store();
    assert_eq!(again.store_id, store.store_id);
    assert_eq!(again.marked_at, Some(at(7)), "the first time counts");
}

#[test]
fn a_catalog_of_before_gets_its_identity_when_it_is_first_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    of_before(&path, &["ann"]);
    let before = Timestamp::try_from(now()).unwrap();
    let store = Catalog::open(&path).unwrap().store();
    let until = store.tokens_without_id_until.unwrap();
    assert!((before..=Timestamp::try_from(now()).unwrap()).contains(&until), "{until}");
    assert_eq!(Catalog::open(&path).unwrap().store(), store);
}

#[test]
fn a_catalog_of_before_without_users_has_issued_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    of_before(&path, &[]);
    assert_eq!(Catalog::open(&path).unwrap().store().tokens_without_id_until, None);
}

#[test]
fn an_identity_edited_by_hand_is_an_error_that_names_it() {
    let f = Fixture::new();
    f.edit("UPDATE store SET store_id = 'mine'");
    let path = f.path();
    drop(f.catalog);
    let error = Catalog::open(&path).unwrap_err();
    assert!(matches!(error, CatalogError::BadRow { table: "store", .. }), "{error:?}");
    assert!(error.to_string().contains("store_id"), "{error}");
}
