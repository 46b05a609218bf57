//! Files that become whole, and files whose fetching was interrupted.

use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use towline_types::ModifiedTime;

const UMASK: u32 = 0o022;

fn name() -> Name {
    Name::new("a.bin").unwrap()
}

fn blocks(bytes: &[u8]) -> Vec<(BlockIndex, ChainingValue, &[u8])> {
    let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
    let blocks = bytes.chunks(1 << 20).zip(0u64..);
    blocks
        .map(|(bytes, index)| {
            let index = BlockIndex::try_from(index).unwrap();
            (index, hash_block(index, filesize, bytes), bytes)
        })
        .collect()
}

fn expected(bytes: &[u8]) -> Expected {
    let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
    let blake3 = FileHash::from_bytes(*blake3::hash(bytes).as_bytes());
    let mode = Some(PermissionBits::of_mode(0o100_640));
    Expected { filesize, blake3, mtime: Some(ModifiedTime::from_ms(-1500)), mode }
}

fn open(folder: &Path, bytes: &[u8]) -> Result<Staging, Unusable> {
    let folder = LocalFolder::open(folder).unwrap();
    Staging::open(&folder, &name(), expected(bytes), Durability::Synced)
}

fn content() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..(5u32 << 19) + 77).map(|n| (n % 251) as u8).collect();
    bytes[1 << 20..2 << 20].fill(0);
    bytes
}

#[test]
fn a_file_gets_its_name_when_it_is_whole_with_mode_time_and_holes() {
    let home = tempfile::tempdir().unwrap();
    let bytes = content();
    let mut staging = open(home.path(), &bytes).unwrap();
    for (index, value, bytes) in blocks(&bytes) {
        assert_eq!(staging.hash(), None);
        staging.write(index, value, bytes).unwrap();
    }
    assert_eq!(staging.hash(), Some(staging.expected.blake3));
    staging.publish(&name(), false, Mode::from_raw_mode(UMASK)).unwrap();
    let path = home.path().join("a.bin");
    assert!(std::fs::read(&path).unwrap() == bytes);
    let metadata = path.metadata().unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-2, 500_000_000));
    // A block of zeros has no room on the disk, where the file system has holes.
    assert!(metadata.blocks() * 512 < metadata.len(), "{}", metadata.blocks());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);

    // The name is taken now, and only `replaces` takes it over.
    let mut other = open(home.path(), b"other").unwrap();
    let (index, value, bytes) = blocks(b"other")[0];
    other.write(index, value, bytes).unwrap();
    let taken = other.publish(&name(), false, Mode::from_raw_mode(UMASK)).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    other.publish(&name(), true, Mode::from_raw_mode(UMASK)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"other");
}

#[test]
fn an_interrupted_fetch_goes_on_behind_the_last_whole_block() {
    let home = tempfile::tempdir().unwrap();
    let bytes = content();
    let blocks = blocks(&bytes);
    let mut staging = open(home.path(), &bytes).unwrap();
    for (index, value, bytes) in &blocks[..2] {
        staging.write(*index, *value, bytes).unwrap();
    }
    drop(staging);
    let staging = open(home.path(), &bytes).unwrap();
    assert_eq!(staging.known_bytes(), 2 << 20);
    drop(staging);

    // The last block is damaged: it was being written when the client was killed.
    let path = std::fs::read_dir(home.path()).unwrap();
    let path = path.map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.extension().unwrap() == "part").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"x", (1 << 20) + 5).unwrap();
    let mut staging = open(home.path(), &bytes).unwrap();
    assert_eq!(staging.known_bytes(), 1 << 20);
    for (index, value, bytes) in &blocks[1..] {
        staging.write(*index, *value, bytes).unwrap();
    }
    assert_eq!(staging.hash(), Some(staging.expected.blake3));
    drop(staging);

    // Of another file nothing is taken up.
    let staging = open(home.path(), &bytes[1..]).unwrap();
    assert_eq!(staging.known_bytes(), 0);
}

/// Over several connections blocks come in any order.
#[test]
fn an_interrupted_fetch_goes_on_with_the_blocks_that_are_missing() {
    let home = tempfile::tempdir().unwrap();
    let bytes = content();
    let blocks = blocks(&bytes);
    let mut staging = open(home.path(), &bytes).unwrap();
    for (index, value, bytes) in [&blocks[0], &blocks[2]] {
        staging.write(*index, *value, bytes).unwrap();
    }
    // A part of the block between them was written when the client was killed.
    staging.file.write_all_at(b"x", (1 << 20) + 5).unwrap();
    drop(staging);
    let mut staging = open(home.path(), &bytes).unwrap();
    assert_eq!(staging.missing(), std::iter::once(1 << 20..2 << 20).collect::<Vec<_>>());
    let (index, value, zeros) = blocks[1];
    staging.write(index, value, zeros).unwrap();
    assert_eq!(staging.missing(), []);
    assert_eq!(staging.hash(), Some(staging.expected.blake3));
    staging.publish(&name(), false, Mode::from_raw_mode(UMASK)).unwrap();
    assert!(std::fs::read(home.path().join("a.bin")).unwrap() == bytes);
}

#[test]
fn a_short_file_takes_the_place_of_an_interrupted_long_one() {
    let home = tempfile::tempdir().unwrap();
    let bytes = content();
    let mut staging = open(home.path(), &bytes).unwrap();
    let (index, value, block) = blocks(&bytes)[0];
    staging.write(index, value, block).unwrap();
    drop(staging);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);

    let mut staging = open(home.path(), b"short").unwrap();
    let (index, value, block) = blocks(b"short")[0];
    staging.write(index, value, block).unwrap();
    staging.publish(&name(), false, Mode::from_raw_mode(UMASK)).unwrap();
    assert_eq!(std::fs::read(home.path().join("a.bin")).unwrap(), b"short");
    // Nothing of the long one is left.
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn one_process_at_a_time_fetches_into_a_name() {
    let home = tempfile::tempdir().unwrap();
    let first = open(home.path(), b"first").unwrap();
    assert!(matches!(open(home.path(), b"first"), Err(Unusable::Busy)));
    first.discard();
    drop(first);
    drop(open(home.path(), b"second").unwrap());
}
