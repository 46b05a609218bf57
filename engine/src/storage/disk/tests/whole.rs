//! Files that came whole, on a disk.

use super::{Disk, id};
use crate::storage::Storage as _;
use std::fs;

#[test]
fn what_came_whole_has_a_name_that_says_so() {
    let disk = Disk::new();
    let whole = disk.at(".staging/1.new");
    drop(disk.storage.create_whole(id(1), b"bytes").unwrap());
    assert_eq!(fs::read(&whole).unwrap(), b"bytes");
    assert_eq!(disk.storage.open(id(1)).unwrap().length_bytes().unwrap(), 5);
    assert!(disk.staging(1).exists() && !whole.exists());

    // Of two files the one counts of which something may have been promised.
    fs::write(&whole, "others").unwrap();
    assert_eq!(disk.storage.staged().unwrap().len(), 2);
    assert_eq!(disk.storage.open(id(1)).unwrap().length_bytes().unwrap(), 5);
    disk.storage.discard_whole(id(1)).unwrap();
    assert!(disk.staging(1).exists() && !whole.exists());
    fs::write(&whole, "others").unwrap();
    disk.storage.discard(id(1)).unwrap();
    assert!(!disk.staging(1).exists() && !whole.exists());
}
