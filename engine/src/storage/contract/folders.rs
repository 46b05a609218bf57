//! Folders that hold no document.

use super::{Subject, living, on_every_store, path, put, put_bytes, read, upload, user};
use crate::storage::{Entry, StorageError};

on_every_store!(a_folder_is_made_and_found, a_folder_is_not_made_over_a_file);

pub(super) fn a_folder_is_made_and_found(subject: impl Subject) {
    let storage = subject.storage();
    assert_eq!(storage.is_there(user(), &living("a/b")).unwrap(), None);
    for _ in 0..2 {
        storage.make_folder(user(), &path("a/b")).unwrap();
    }
    for folder in ["a", "a/b"] {
        let found = storage.is_there(user(), &living(folder)).unwrap();
        assert_eq!(found, Some(Entry::Folder), "{folder}");
    }
    let subject = subject.after_kill();
    let storage = subject.storage();
    storage.make_folder(user(), &path("a/b")).unwrap();
    assert_eq!(storage.is_there(user(), &living("a/b")).unwrap(), Some(Entry::Folder));
    upload(storage, 1, b"bytes");
    put(storage, 1, "a/b/doc").unwrap();
    assert_eq!(read(storage, "a/b/doc").unwrap(), b"bytes");
    upload(storage, 2, b"other");
    let refused = put(storage, 2, "a/b");
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
}

pub(super) fn a_folder_is_not_made_over_a_file(subject: impl Subject) {
    let storage = subject.storage();
    put_bytes(storage, 1, "a/doc", b"bytes");
    let refused = storage.make_folder(user(), &path("a/doc"));
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    let refused = storage.make_folder(user(), &path("a/doc/b"));
    assert!(matches!(refused, Err(StorageError::NotAFolder)), "{refused:?}");
    assert_eq!(read(storage, "a/doc").unwrap(), b"bytes");
    let found = storage.is_there(user(), &living("a/doc")).unwrap().unwrap();
    assert!(matches!(found, Entry::File { filesize, .. } if filesize.get() == 5), "{found:?}");
}
