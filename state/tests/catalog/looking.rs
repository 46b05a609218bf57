//! A catalog is looked at by somebody who may change nothing.

use crate::fixture::{Fixture, at};
use std::collections::BTreeMap;
use std::path::Path;
use towline_state::{Catalog, CatalogError};

/// Every file of a folder with what is in it, but for the journal's index: that
/// one says who is reading, and nothing else rests on it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .filter(|(name, _)| !name.ends_with("-shm"))
        .collect()
}

#[test]
fn looking_leaves_a_closed_catalog_as_it_was() {
    let f = Fixture::new();
    let (done, _) = f.complete("a", 7);
    f.catalog.close().wait().unwrap();
    let before = contents(f.folder.path());
    let looking = Catalog::open_to_look(f.path()).unwrap();
    assert!(looking.document(done).wait().unwrap().is_some());
    let refused = looking.add_user("bob", None, at(2)).wait();
    assert!(refused.is_err(), "nothing may be written");
    looking.close().wait().unwrap();
    assert_eq!(contents(f.folder.path()), before);
    assert!(!f.folder.path().join("catalog.db-shm").exists());
}

#[test]
fn looking_leaves_the_journal_of_a_kill_as_it_was() {
    let f = Fixture::new();
    let (done, _) = f.complete("a", 7);
    // What a kill leaves is a copy taken while the catalog is open.
    let killed = tempfile::tempdir().unwrap();
    for name in ["catalog.db", "catalog.db-wal"] {
        std::fs::copy(f.folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let before = contents(killed.path());
    assert!(!before["catalog.db-wal"].is_empty());
    let path = killed.path().join("catalog.db");
    for _ in 0..2 {
        let looking = Catalog::open_to_look(&path).unwrap();
        assert!(looking.document(done).wait().unwrap().is_some(), "the journal is read");
        looking.close().wait().unwrap();
        assert_eq!(contents(killed.path()), before);
    }
    let catalog = Catalog::open(&path).unwrap();
    assert!(catalog.document(done).wait().unwrap().is_some());
    catalog.close().wait().unwrap();
    assert_eq!(contents(killed.path()).len(), 2, "the catalog and its lock");
}

#[test]
fn looking_sees_what_another_writes_meanwhile() {
    let f = Fixture::new();
    let looking = Catalog::open_to_look(f.path()).unwrap();
    for name in ["a", "b", "c"] {
        let (done, _) = f.complete(name, 1);
        assert!(looking.document(done).wait().unwrap().is_some());
    }
    looking.close().wait().unwrap();
    f.complete("d", 1);
}

#[test]
fn there_is_nothing_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let error = Catalog::open_to_look(&path).unwrap_err();
    assert!(matches!(error, CatalogError::NotThere { .. }), "{error:?}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is made");
    std::fs::write(&path, "").unwrap();
    let error = Catalog::open_to_look(&path).unwrap_err();
    assert!(matches!(error, CatalogError::OlderSchema { found: 0, .. }), "{error:?}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is made");
}
