//! What is set aside is neither deleted nor written over.

use super::{Disk, id, loss, path, put, user};
use crate::storage::{LocalDisk as _, Loss, Staged, Storage as _, StorageError, Stray};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

#[test]
fn a_stray_thing_is_set_aside_under_a_name_of_its_own() {
    let disk = Disk::new();
    let strays = |disk: &Disk| {
        let mut strays = disk.storage.strays().unwrap();
        strays.sort_by(|a, b| a.name.cmp(&b.name));
        strays
    };
    let mut places = Vec::new();
    for round in ["one", "two", "three"] {
        disk.upload(7, round.as_bytes());
        fs::write(disk.at(".staging/stranger"), round).unwrap();
        symlink("7.tmp", disk.at(".staging/8.tmp")).unwrap();
        fs::create_dir(disk.at(".staging/9.tmp")).unwrap();
        let staged = disk.storage.staged().unwrap();
        let expected = Staged { id: id(7), is_whole: false, length_bytes: round.len() as u64 };
        assert_eq!(staged, [expected]);
        let mut set_aside = vec![disk.storage.set_upload_aside(id(7)).unwrap().unwrap()];
        let strays_before = strays(&disk);
        assert_eq!(strays_before.len(), 3);
        for stray in strays_before {
            set_aside.push(disk.storage.set_stray_aside(&stray).unwrap());
        }
        for place in set_aside {
            assert!(fs::symlink_metadata(disk.folder.path().join(&place)).is_ok());
            assert!(!places.contains(&place));
            places.push(place);
        }
        assert!(strays(&disk).is_empty() && disk.storage.staged().unwrap().is_empty());
        assert_eq!(disk.storage.set_upload_aside(id(7)).unwrap(), None);
    }
    assert_eq!(places[0], Path::new("uploads/.staging/orphans/7.tmp"));
    for (place, round) in [(0, "one"), (4, "two"), (8, "three")] {
        let bytes = fs::read(disk.folder.path().join(&places[place])).unwrap();
        assert_eq!(bytes, round.as_bytes());
    }
    let aside = |name: &str| disk.storage.set_stray_aside(&Stray { name: name.into() });
    assert_eq!(loss(aside("none")), Some(Loss::Missing));
    for name in ["..", "orphans", "../x", "orphans/7.tmp"] {
        let refused = aside(name);
        assert!(matches!(refused, Err(StorageError::Unsafe { .. })), "{name}");
    }
    disk.upload(7, b"four");
    disk.storage.latch().close();
    let refused = disk.storage.set_upload_aside(id(7));
    assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
}

#[test]
fn a_damaged_file_is_set_aside_and_its_name_is_free() {
    let disk = Disk::new();
    for (number, name) in [(1, "5/a/doc"), (2, "5/a/doc"), (1, "5/a/doc")] {
        disk.upload(number, b"bytes");
        put(&disk.storage, id(number), &path("a/doc")).unwrap();
        let place = disk.storage.set_damaged_aside(id(number), user(), &path("a/doc")).unwrap();
        assert_eq!(fs::read(disk.folder.path().join(&place)).unwrap(), b"bytes");
        assert!(!disk.at(name).exists());
    }
    let aside = disk.at(".staging/orphans");
    assert_eq!(fs::metadata(disk.at(".staging")).unwrap().mode() & 0o077, 0, "for nobody else");
    for name in ["1.damaged", "1.damaged.1", "2.damaged"] {
        assert!(aside.join(name).exists(), "{name}");
    }
    // What is no file of ours stays where it is.
    let again = disk.storage.set_damaged_aside(id(1), user(), &path("a/doc"));
    assert_eq!(loss(again), Some(Loss::Missing));
    symlink("/etc/passwd", disk.at("5/a/doc")).unwrap();
    let again = disk.storage.set_damaged_aside(id(1), user(), &path("a/doc"));
    assert_eq!(loss(again), Some(Loss::NotAFile));
    let again = disk.storage.set_damaged_aside(id(1), user(), &path("none/doc"));
    assert_eq!(loss(again), Some(Loss::Missing));
}
