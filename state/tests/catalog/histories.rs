//! How far a catalog has come; an older copy is told from it; a copy that is put back.

use crate::fixture::{Fixture, at};
use towline_state::Catalog;
use towline_state::catalog::{self, History, Sum, Usage};
use towline_types::UserId;

#[test]
fn a_copy_lacks_something_whatever_was_done_since() {
    let f = Fixture::new();
    let history = || f.catalog.history().wait().unwrap();
    let mut before = history();
    let steps: [(&str, &dyn Fn()); 4] = [
        ("an upload that begins", &|| _ = f.create("unfinished", 5)),
        ("a document", &|| _ = f.complete("doc", 5)),
        ("a user", &|| drop(f.catalog.add_user("bob", None, at(50)).wait().unwrap())),
        ("another epoch", &|| f.catalog.begin_epoch(at(60)).wait().unwrap()),
    ];
    for (what, step) in steps {
        step();
        let after = history();
        assert!(before.is_older_than(&after), "{what}: {before:?} {after:?}");
        assert!(!after.is_older_than(&before), "{what}");
        before = after;
    }
    assert!(!before.is_older_than(&before));
}

#[test]
fn another_history_has_other_epochs_and_other_numbers() {
    let f = Fixture::new();
    let (first, _) = f.complete("doc", 5);
    let seen = History { epoch: 1 << 50, changes: 70, documents: 4000, nodes: 5000 };
    assert!(f.catalog.history().wait().unwrap().is_older_than(&seen));
    f.catalog.begin_history(seen, at(100)).wait().unwrap();
    let found = f.catalog.history().wait().unwrap();
    assert!(!found.is_older_than(&seen), "{found:?}");
    assert_eq!(found.epoch, (1 << 50) + 1, "behind the last one, whatever the clock says");
    let (second, _) = f.complete("other", 5);
    assert_eq!((first.get(), second.get()), (1, 1_004_001));
    assert!(f.document(second).node_id.unwrap().get() > 1_005_000);
    // The numbers are there behind the end of the process, too.
    f.catalog.close().wait().unwrap();
    let catalog = Catalog::open(f.path()).unwrap();
    assert_eq!(catalog.history().wait().unwrap().documents, 1_004_001);
}

#[test]
fn a_copy_that_is_put_back_is_the_catalog_with_another_epoch() {
    let f = Fixture::new();
    let (document, _) = f.complete("doc", 5);
    let epoch = f.catalog.log_head(f.user).wait().unwrap().epoch;
    let copy = f.folder.path().join("copy.db");
    catalog::back_up(f.path(), &copy).unwrap();
    f.catalog.close().wait().unwrap();
    assert!(catalog::put_back(&copy, f.path()).is_err(), "there is a catalog");
    std::fs::remove_file(f.path()).unwrap();
    catalog::put_back(&copy, f.path()).unwrap();
    let catalog = Catalog::open(f.path()).unwrap();
    assert!(catalog.document(document).wait().unwrap().is_some());
    assert!(catalog.log_head(f.user).wait().unwrap().epoch > epoch);
    let mut names: Vec<_> = f.folder.path().read_dir().unwrap().flatten().collect();
    names.retain(|entry| entry.file_name().to_string_lossy().contains(".tmp"));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_damaged_copy_is_not_put_back() {
    let f = Fixture::new();
    f.complete("doc", 5);
    let copy = f.folder.path().join("copy.db");
    catalog::back_up(f.path(), &copy).unwrap();
    let mut bytes = std::fs::read(&copy).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0x5a);
    }
    std::fs::write(&copy, bytes).unwrap();
    let into = f.folder.path().join("new.db");
    assert!(catalog::put_back(&copy, &into).is_err());
    assert!(!into.exists());
}

#[test]
fn a_user_without_anything_has_nothing() {
    let f = Fixture::new();
    assert_eq!(f.catalog.usage(f.user).wait().unwrap(), Usage::default());
    f.complete("folder/doc", 5);
    let files = Sum { count: 1, bytes: 5 };
    assert_eq!(f.catalog.usage(f.user).wait().unwrap(), Usage { files, ..Usage::default() });
    assert_eq!(f.catalog.usage(UserId::MAX).wait().unwrap(), Usage::default());
}
