//! The database is made, opened again, closed, and refused where it must be.

use crate::fixture::{Fixture, at};
use towline_state::{Catalog, CatalogError};

#[test]
fn what_was_answered_is_there_when_opened_again() {
    let f = Fixture::new();
    let (id, place) = f.complete("docs/a.pdf", 7);
    let (document, path) = (f.document(id), f.path());
    drop(f.catalog);
    let again = Catalog::open(path).unwrap();
    assert_eq!(again.document(id).wait().unwrap(), Some(document));
    assert_eq!(place, "docs/a.pdf");
    assert_eq!(again.users().wait().unwrap().len(), 1);
}

#[test]
fn closing_finishes_what_is_queued_and_refuses_what_comes_after() {
    let f = Fixture::new();
    let (queued, clone) = (f.catalog.add_user("bob", None, at(2)), f.catalog.clone());
    f.catalog.close().wait().unwrap();
    queued.wait().unwrap();
    for handle in [&f.catalog, &clone] {
        assert!(matches!(handle.users().wait(), Err(CatalogError::Closed)));
        assert!(matches!(handle.close().wait(), Err(CatalogError::Closed)));
    }
    assert!(!f.folder.path().join("catalog.db-wal").exists(), "a closed catalog is one file");
    assert_eq!(Catalog::open(f.path()).unwrap().users().wait().unwrap().len(), 2);
}

#[test]
fn dropping_the_last_handle_finishes_what_is_queued() {
    let f = Fixture::new();
    let queued: Vec<_> =
        (0..50).map(|n| f.catalog.add_user(format!("user{n}"), None, at(2))).collect();
    let path = f.path();
    drop(f.catalog);
    for reply in queued {
        reply.wait().unwrap();
    }
    assert_eq!(Catalog::open(path).unwrap().users().wait().unwrap().len(), 51);
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let f = Fixture::new();
    f.catalog.close().wait().unwrap();
    f.by_hand()
        .execute_batch(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES (999, 'of_the_future', 'whenever', 'what')",
        )
        .unwrap();
    let before = std::fs::read(f.path()).unwrap();
    let error = Catalog::open(f.path()).unwrap_err();
    assert!(matches!(error, CatalogError::NewerSchema { found: 999, .. }), "{error:?}");
    assert!(error.to_string().contains("catalog.db"), "{error}");
    assert!(error.to_string().contains("999"), "{error}");
    assert_eq!(std::fs::read(f.path()).unwrap(), before);
}

#[test]
fn a_newer_schema_keeps_the_journal_of_a_kill() {
    let f = Fixture::new();
    f.by_hand()
        .execute_batch(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES (999, 'of_the_future', 'whenever', 'what')",
        )
        .unwrap();
    let killed = tempfile::tempdir().unwrap();
    let read = |folder: &std::path::Path, name| std::fs::read(folder.join(name)).unwrap();
    for name in ["catalog.db", "catalog.db-wal"] {
        std::fs::write(killed.path().join(name), read(f.folder.path(), name)).unwrap();
    }
    let refused = Catalog::open(killed.path().join("catalog.db"));
    assert!(matches!(refused, Err(CatalogError::NewerSchema { found: 999, .. })), "{refused:?}");
    for name in ["catalog.db", "catalog.db-wal"] {
        assert_eq!(read(killed.path(), name), read(f.folder.path(), name), "{name}");
    }
}

#[test]
fn what_is_no_database_is_refused_untouched() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let content = "these are not the bytes of a database ".repeat(100);
    std::fs::write(&path, &content).unwrap();
    assert!(matches!(Catalog::open(&path), Err(CatalogError::Storage(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
}

#[cfg(unix)]
#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("new/state/catalog.db");
    let _catalog = Catalog::open(&path).unwrap();
    for file in ["new", "new/state"] {
        let mode = folder.path().join(file).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{file}");
    }
    for file in path.parent().unwrap().read_dir().unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}
