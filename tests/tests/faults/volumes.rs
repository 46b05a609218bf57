//! Checks that the volumes of the test kit lose the data that a disk would lose.

use std::fs::{self, File};
use std::io::Write as _;
use towline_tests::volume::Volume;

const SIZE_BYTES: u64 = 16 << 20;

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    let Some(volume) = Volume::ext4(SIZE_BYTES) else { return };
    let path = |name| volume.path().join(name);
    let mut synced = File::create(path("synced")).unwrap();
    synced.write_all(b"kept").unwrap();
    synced.sync_all().unwrap();
    File::open(volume.path()).unwrap().sync_all().unwrap();
    fs::write(path("unsynced"), b"gone").unwrap();
    fs::rename(path("synced"), path("renamed")).unwrap();

    volume.power_off();
    assert!(synced.sync_all().is_err(), "nothing can be promised without power");
    drop(synced);
    volume.power_on();

    assert_eq!(fs::read(path("synced")).unwrap(), b"kept", "the rename was not synced");
    assert!(!path("renamed").exists());
    assert!(!path("unsynced").exists());
}

#[test]
fn a_small_volume_is_full_when_it_is_full() {
    let Some(volume) = Volume::memory(1 << 20) else { return };
    let full = fs::write(volume.path().join("file"), vec![0; 2 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
}
