//! A staging file that another program has changed is noticed.

use super::{Disk, id, loss, offset, path, put, size};
use crate::storage::{Loss, Storage as _};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use towline_types::Offset;

#[test]
fn a_staging_file_that_was_tampered_with_is_noticed() {
    let disk = Disk::new();
    let staging = disk.upload(1, b"12345");
    let file = disk.staging(1);

    fs::File::options().write(true).open(&file).unwrap().set_len(3).unwrap();
    let short = Loss::Length { expected_bytes: 5, found_bytes: 3 };
    assert_eq!(loss(staging.check(size(5))), Some(short));
    assert_eq!(loss(staging.check_holds(offset(5))), Some(short));
    staging.check_holds(offset(3)).unwrap();
    assert_eq!(loss(staging.read_exact_at(&mut [0; 5], Offset::ZERO)), Some(short));
    fs::File::options().write(true).open(&file).unwrap().set_len(9).unwrap();
    let long = Loss::Length { expected_bytes: 5, found_bytes: 9 };
    assert_eq!(loss(staging.check(size(5))), Some(long));
    staging.truncate(offset(5)).unwrap();
    staging.check(size(5)).unwrap();

    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(loss(staging.check(size(5))), Some(Loss::Permissions));
    fs::rename(&file, disk.at("elsewhere")).unwrap();
    assert_eq!(loss(staging.check(size(5))), Some(Loss::Missing));
    assert_eq!(loss(disk.storage.open(id(1))), Some(Loss::Missing));
    assert_eq!(loss(put(&disk.storage, id(1), &path("doc"))), Some(Loss::Missing));
    fs::write(&file, "54321").unwrap();
    assert_eq!(loss(staging.check(size(5))), Some(Loss::Replaced));
    fs::remove_file(&file).unwrap();
    symlink(disk.at("elsewhere"), &file).unwrap();
    assert_eq!(loss(staging.check(size(5))), Some(Loss::NotAFile));
    assert_eq!(loss(disk.storage.open(id(1))), Some(Loss::NotAFile));
    assert_eq!(loss(put(&disk.storage, id(1), &path("doc"))), Some(Loss::NotAFile));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(loss(disk.storage.open(id(1))), Some(Loss::NotAFile));
    assert_eq!(loss(put(&disk.storage, id(1), &path("doc"))), Some(Loss::NotAFile));
}
