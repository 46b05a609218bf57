//! The contract of storage, held against a real folder.

use super::*;
use crate::storage::DataFolder;
use crate::storage::user_folders::Missing;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use tempfile::TempDir;
use towline_types::Offset;

struct Disk {
    storage: DiskStorage,
    _lock: FolderLock,
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let lock = DataFolder::open(folder.path()).unwrap().lock().unwrap();
        Self { storage: DiskStorage::new(&lock, 0), _lock: lock, folder }
    }

    /// As a killed process leaves it and the next one finds it.
    fn restarted(self) -> Self {
        let Self { storage, _lock, folder } = self;
        drop((storage, _lock));
        Self::in_folder(folder)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("uploads").join(path)
    }

    fn staging(&self, id: u64) -> PathBuf {
        self.at(".staging").join(format!("{id}.tmp"))
    }

    fn upload(&self, number: u64, bytes: &[u8]) -> Arc<dyn Staging> {
        let staging = self.storage.create(id(number), size(bytes.len() as u64)).unwrap();
        staging.write_all_at(bytes, Offset::ZERO).unwrap();
        staging.sync_data().unwrap();
        staging
    }
}

fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).unwrap()
}

/// Publishes on the usual file system, where nothing is copied.
fn put(storage: &DiskStorage, id: DocumentId, path: &DocumentPath) -> Result<(), StorageError> {
    let put = storage.publish(id, user(), path, any_hash(), &mut |_| false);
    put.map(|put| assert_eq!(put, Put::InPlace))
}

fn user() -> UserId {
    UserId::try_from(5).unwrap()
}

fn size(bytes: u64) -> FileSize {
    FileSize::try_from(bytes).unwrap()
}

fn offset(bytes: u64) -> Offset {
    Offset::try_from(bytes).unwrap()
}

fn any_hash() -> FileHash {
    // Looked at where the file has to be copied, and nowhere here.
    towline_types::block::hash_file(FileSize::MIN, [])
}

fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

fn loss<T>(answer: Result<T, StorageError>) -> Option<Loss> {
    match answer {
        Err(StorageError::Lost(loss)) => Some(loss),
        _ => None,
    }
}

#[test]
fn what_is_written_in_any_order_is_read_and_published() {
    let disk = Disk::new();
    let whole = size((2 << 20) + 3);
    let staging = disk.storage.create(id(1), whole).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), 0, "reserved space is no length");
    assert!(fs::metadata(disk.staging(1)).unwrap().blocks() * 512 >= 2 << 20);

    let late = vec![7; (1 << 20) + 3];
    staging.write_all_at(&late, offset(1 << 20)).unwrap();
    staging.write_all_at(&vec![3; 1 << 20], Offset::ZERO).unwrap();
    staging.start_writeback(Offset::ZERO, whole.get());
    staging.start_writeback(Offset::ZERO, 0);
    drop(staging.sync().unwrap());
    let mut middle = [0; 4];
    staging.read_exact_at(&mut middle, offset((1 << 20) - 2)).unwrap();
    assert_eq!(middle, [3, 3, 7, 7]);
    staging.check(whole).unwrap();
    staging.check_holds(offset(5)).unwrap();

    assert_eq!(disk.storage.published_size(user(), &path("a.bin")).unwrap(), None);
    put(&disk.storage, id(1), &path("a.bin")).unwrap();
    assert!(!disk.staging(1).exists());
    assert_eq!(disk.storage.published_size(user(), &path("a.bin")).unwrap(), Some(whole));
    let mut bytes = Vec::new();
    let all = Offset::ZERO..whole.end();
    let mut file = disk.storage.read(user(), &path("a.bin"), all).unwrap().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(&bytes[1 << 20..], late);
    let mode = fs::metadata(disk.at("5/a.bin")).unwrap().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
}

#[test]
fn an_empty_file_is_a_file() {
    let disk = Disk::new();
    let staging = disk.storage.create(id(1), size(0)).unwrap();
    staging.write_all_at(b"", Offset::ZERO).unwrap();
    staging.sync_data().unwrap();
    staging.check(size(0)).unwrap();
    put(&disk.storage, id(1), &path("empty")).unwrap();
    assert_eq!(disk.storage.published_size(user(), &path("empty")).unwrap(), Some(size(0)));
}

#[test]
fn a_name_that_is_taken_keeps_its_file_and_the_upload_its_bytes() {
    let disk = Disk::new();
    disk.upload(1, b"first");
    put(&disk.storage, id(1), &path("doc")).unwrap();
    let second = disk.upload(2, b"second");
    let refused = put(&disk.storage, id(2), &path("doc"));
    assert!(matches!(refused, Err(StorageError::Exists)));
    assert_eq!(fs::read(disk.at("5/doc")).unwrap(), b"first");
    second.check(size(6)).unwrap();

    put(&disk.storage, id(2), &path("doc (1)")).unwrap();
    assert_eq!(fs::read(disk.at("5/doc (1)")).unwrap(), b"second");
    // A folder has the name, even an empty one.
    fs::create_dir(disk.at("5/taken")).unwrap();
    disk.upload(3, b"third");
    let refused = put(&disk.storage, id(3), &path("taken"));
    assert!(matches!(refused, Err(StorageError::Exists)));
    let refused = disk.storage.published_size(user(), &path("taken"));
    assert!(matches!(refused, Err(StorageError::Unsafe { .. })));
}

#[test]
fn a_file_in_the_way_of_a_folder_is_told_before_and_at_publish() {
    let disk = Disk::new();
    disk.upload(1, b"file");
    put(&disk.storage, id(1), &path("a")).unwrap();
    let staging = disk.upload(2, b"other");
    let below = path("a/b");
    assert!(matches!(disk.storage.published_size(user(), &below), Err(StorageError::NotAFolder)));
    assert!(matches!(put(&disk.storage, id(2), &below), Err(StorageError::NotAFolder)));
    staging.check(size(5)).unwrap();
}

#[test]
fn folders_are_made_found_and_shared() {
    let disk = Disk::new();
    for (number, name) in [(1, "a/b/c/one"), (2, "a/b/c/two"), (3, "a/three"), (4, "b/four")] {
        disk.upload(number, b"x");
        put(&disk.storage, id(number), &path(name)).unwrap();
        assert_eq!(disk.storage.published_size(user(), &path(name)).unwrap(), Some(size(1)));
    }
    let deepest = vec!["d"; towline_types::limits::FOLDER_DEPTH].join("/") + "/file";
    disk.upload(5, b"x");
    put(&disk.storage, id(5), &path(&deepest)).unwrap();
    let disk = disk.restarted();
    assert_eq!(disk.storage.published_size(user(), &path(&deepest)).unwrap(), Some(size(1)));
}

#[test]
fn publishes_at_the_same_time_make_the_same_folders() {
    let disk = Disk::new();
    for number in 1..=16 {
        disk.upload(number, b"x");
    }
    std::thread::scope(|scope| {
        for number in 1..=16 {
            let storage = &disk.storage;
            scope.spawn(move || {
                put(storage, id(number), &path(&format!("a/b/{number}"))).unwrap();
            });
        }
    });
    assert_eq!(fs::read_dir(disk.at("5/a/b")).unwrap().count(), 16);

    // One name for all of them: one gets it.
    for number in 21..=28 {
        disk.upload(number, b"x");
    }
    let published = std::thread::scope(|scope| {
        let storage = &disk.storage;
        let publish = |number| move || put(storage, id(number), &path("one")).is_ok();
        let threads: Vec<_> = (21..=28).map(|number| scope.spawn(publish(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|&ok| ok).count()
    });
    assert_eq!(published, 1);
    assert_eq!(disk.storage.staged().unwrap().len(), 7);
}

#[test]
fn a_planted_link_is_refused_and_nothing_outside_is_touched() {
    for link in ["5", "5/a", "5/a/b"] {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("a/b")).unwrap();
        fs::create_dir_all(outside.path().join("b")).unwrap();
        for folder in ["", "a/b", "b"] {
            fs::write(outside.path().join(folder).join("secret"), "secret").unwrap();
        }
        let disk = Disk::new();
        fs::create_dir_all(disk.at(link).parent().unwrap()).unwrap();
        symlink(outside.path(), disk.at(link)).unwrap();
        let before = everything_in(outside.path());

        let staging = disk.upload(1, b"x");
        let unsafe_path = |answer| matches!(answer, Err(StorageError::Unsafe { .. }));
        assert!(unsafe_path(put(&disk.storage, id(1), &path("a/b/doc"))), "{link}");
        let secret = path("a/b/secret");
        assert!(unsafe_path(disk.storage.sync_published(user(), &secret)));
        assert!(unsafe_path(disk.storage.published_size(user(), &secret).map(drop)));
        assert!(unsafe_path(disk.storage.published(user(), &secret).map(drop)));
        assert_eq!(everything_in(outside.path()), before);
        staging.check(size(1)).unwrap();
    }
}

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn a_link_in_the_place_of_a_final_file_is_neither_read_nor_replaced() {
    let disk = Disk::new();
    let secret = disk.folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(disk.at("5")).unwrap();
    symlink(&secret, disk.at("5/doc")).unwrap();
    disk.upload(1, b"x");
    let doc = path("doc");
    let refused = disk.storage.published(user(), &doc);
    assert!(matches!(refused, Err(StorageError::Unsafe { .. })));
    let refused = put(&disk.storage, id(1), &doc);
    assert!(matches!(refused, Err(StorageError::Exists)));
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
}

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

#[test]
fn a_staging_file_is_continued_after_a_restart() {
    let disk = Disk::new();
    let whole = size(3 << 20);
    let staging = disk.storage.create(id(1), whole).unwrap();
    staging.write_all_at(b"12345 and more", Offset::ZERO).unwrap();
    drop(staging.sync().unwrap());
    drop(staging);

    let disk = disk.restarted();
    assert!(matches!(disk.storage.create(id(1), whole), Err(StorageError::Occupied)));
    let staging = disk.storage.open(id(1)).unwrap();
    staging.truncate(offset(5)).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), 5);
    staging.reserve(whole).unwrap();
    let reserved = fs::metadata(disk.staging(1)).unwrap().blocks();
    assert!(reserved * 512 >= whole.get());
    staging.truncate(offset(5)).unwrap();
    staging.truncate(offset(99)).unwrap();
    assert_eq!(staging.length_bytes().unwrap(), 5, "never made longer");
    assert_eq!(fs::metadata(disk.staging(1)).unwrap().blocks(), reserved);
    staging.write_all_at(b"678", offset(5)).unwrap();
    drop(staging.sync().unwrap());
    assert_eq!(fs::read(disk.staging(1)).unwrap(), b"12345678");
}

#[test]
fn what_does_not_fit_is_refused_with_what_is_missing_and_leaves_nothing() {
    let disk = Disk::new();
    let free = disk.storage.free_bytes().unwrap();
    let absurd = size(1 << 62);
    let refused = disk.storage.create(id(1), absurd).map(drop).unwrap_err();
    let StorageError::NoSpace { missing_bytes: Some(missing_bytes), .. } = refused else {
        panic!("{refused}")
    };
    // Others write to this disk too; a gibibyte off is near enough.
    assert!(missing_bytes.abs_diff(absurd.get() - free) < 1 << 30, "{missing_bytes}");
    assert!(!disk.staging(1).exists());

    let staging = disk.upload(2, b"12345");
    assert!(matches!(staging.reserve(absurd), Err(StorageError::NoSpace { .. })));
    staging.check(size(5)).unwrap();

    let Disk { _lock: lock, folder: _folder, .. } = disk;
    let nothing_left = DiskStorage::new(&lock, u64::MAX);
    let refused = nothing_left.create(id(3), size(1)).map(drop);
    assert!(matches!(refused, Err(StorageError::NoSpace { .. })));
    nothing_left.create(id(3), size(0)).unwrap();
}

/// On a small disk of its own, which takes root. `None`, and a line that says so,
/// where that is not to be had.
fn small_disk(bytes: u64) -> Option<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
        .arg(folder.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("SKIPPED: no small disk, since mounting a tmpfs needs root");
        return None;
    }
    Some(folder)
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let Some(folder) = small_disk(4 << 20) else { return };
    let disk = Disk::in_folder(folder);
    // Dropped first, so that the folder can be removed after.
    let _unmount = Unmount(disk.folder.path().to_owned());
    let filler = disk.folder.path().join("filler");

    // Reserved at `create`, so that others cannot take it.
    let reserved = disk.storage.create(id(1), size(2 << 20)).unwrap();
    let other = disk.storage.create(id(2), size(1 << 20)).unwrap();
    let rest = usize::try_from(disk.storage.free_bytes().unwrap()).unwrap();
    fs::write(&filler, vec![0; rest]).unwrap();
    let block = vec![1; 1 << 20];
    reserved.write_all_at(&block, Offset::ZERO).unwrap();
    reserved.write_all_at(&block, offset(1 << 20)).unwrap();

    let full = other.write_all_at(&block, Offset::ZERO);
    assert!(
        matches!(full, Err(StorageError::NoSpace { missing_bytes: Some(missing), .. }) if missing == 1 << 20)
    );
    assert!(!disk.storage.latch().is_closed(), "a full disk is no broken disk");
    fs::remove_file(&filler).unwrap();
    other.write_all_at(&block, Offset::ZERO).unwrap();
    other.sync_data().unwrap();
    other.check(size(1 << 20)).unwrap();
    put(&disk.storage, id(2), &path("doc")).unwrap();
}

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
}

#[test]
fn a_cut_off_publish_is_taken_up_again() {
    // Killed after the move, before its syncs and its row.
    let disk = Disk::new();
    disk.upload(1, b"bytes");
    fs::create_dir_all(disk.at("5/a")).unwrap();
    fs::rename(disk.staging(1), disk.at("5/a/doc")).unwrap();
    let disk = disk.restarted();
    disk.storage.sync_published(user(), &path("a/doc")).unwrap();
    disk.storage.sync_published(user(), &path("a/doc")).unwrap();
    for none in ["doc", "b/doc"] {
        let answer = disk.storage.sync_published(user(), &path(none));
        assert_eq!(loss(answer), Some(Loss::Missing));
    }
    assert!(!disk.at("5/b").exists(), "settling makes nothing");

    // Killed between link and unlink, where there is no NOREPLACE.
    disk.upload(2, b"bytes");
    fs::hard_link(disk.staging(2), disk.at("5/a/linked")).unwrap();
    put(&disk.storage, id(2), &path("a/linked")).unwrap();
    assert!(!disk.staging(2).exists());
    assert_eq!(fs::read(disk.at("5/a/linked")).unwrap(), b"bytes");
}

#[test]
fn discarding_is_forgetting_even_twice() {
    let disk = Disk::new();
    let staging = disk.upload(1, b"x");
    disk.storage.discard(id(1)).unwrap();
    disk.storage.discard(id(1)).unwrap();
    assert!(disk.storage.staged().unwrap().is_empty());
    assert_eq!(loss(staging.check(size(1))), Some(Loss::Missing));
}

#[test]
fn a_read_only_volume_refuses_every_change_and_goes_on_reading() {
    let disk = Disk::new();
    disk.upload(1, b"published");
    put(&disk.storage, id(1), &path("doc")).unwrap();
    let staging = disk.upload(2, b"staged");
    let storage = &disk.storage;
    assert!(!storage.latch().is_closed());
    storage.latch().close();
    assert!(storage.latch().is_closed());

    for refused in [
        storage.create(id(3), size(1)).map(drop),
        put(storage, id(2), &path("other")),
        storage.sync_published(user(), &path("doc")),
        storage.discard(id(2)),
        storage.set_upload_aside(id(2)).map(drop),
        staging.write_all_at(b"x", Offset::ZERO),
        staging.sync().map(drop),
        staging.sync_data(),
        staging.truncate(Offset::ZERO),
        staging.reserve(size(6)),
    ] {
        assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
    }
    let mut bytes = [0; 6];
    staging.read_exact_at(&mut bytes, Offset::ZERO).unwrap();
    assert_eq!(&bytes, b"staged");
    staging.check(size(6)).unwrap();
    assert!(storage.published(user(), &path("doc")).unwrap().is_some());
    assert_eq!(storage.staged().unwrap().len(), 1);

    let disk = disk.restarted();
    assert!(!disk.storage.latch().is_closed());
    put(&disk.storage, id(2), &path("other")).unwrap();
}

#[test]
fn a_sync_of_all_vouches_only_for_folders_that_were_there() {
    let disk = Disk::new();
    disk.upload(1, b"bytes");
    let name = disk.storage.open(id(1)).unwrap().rename(user(), &path("a/doc")).unwrap();
    let is_durable = |document: &str| {
        let folders = &disk.storage.volume.user_folders;
        folders.open(user(), &path(document), Missing::Make).unwrap().is_durable()
    };
    drop(name);
    disk.storage.sync_all().unwrap();
    assert!(!is_durable("a/doc"), "nobody said what was moved there before");
    disk.storage.sync_deferred(&[(user(), path("a/doc"))]).unwrap();
    assert!(is_durable("a/doc"));
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

#[test]
fn what_came_whole_is_published_or_becomes_a_staging_file_or_nothing() {
    let disk = Disk::new();
    let whole = |number| disk.at(&format!(".staging/{number}.new"));
    for number in 1..=3 {
        disk.storage.create_whole(id(number), b"bytes").unwrap();
        assert_eq!(fs::read(whole(number)).unwrap(), b"bytes");
        let again = disk.storage.create_whole(id(number), b"bytes").map(drop);
        assert!(matches!(again, Err(StorageError::Occupied)), "{again:?}");
    }
    let staged = disk.storage.staged().unwrap();
    assert!(staged.iter().all(|entry| entry.is_whole), "{staged:?}");

    // Whoever opens it may promise something of it.
    assert_eq!(disk.storage.open(id(1)).unwrap().length_bytes().unwrap(), 5);
    assert!(disk.staging(1).exists() && !whole(1).exists());
    put(&disk.storage, id(2), &path("doc")).unwrap();
    assert_eq!(fs::read(disk.at("5/doc")).unwrap(), b"bytes");
    disk.storage.discard_whole(id(3)).unwrap();
    assert!(!whole(3).exists());

    // Of two the one counts of which something may have been promised.
    fs::write(whole(1), "others").unwrap();
    assert_eq!(disk.storage.open(id(1)).unwrap().length_bytes().unwrap(), 5);
    disk.storage.discard_whole(id(1)).unwrap();
    assert!(disk.staging(1).exists() && !whole(1).exists());
    disk.storage.discard(id(1)).unwrap();
    assert!(!disk.staging(1).exists());
    // Taken up means changed.
    disk.storage.create_whole(id(4), b"bytes").unwrap();
    disk.storage.latch().close();
    let refused = disk.storage.open(id(4)).map(drop);
    assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
    assert_eq!(loss(disk.storage.open(id(5))), Some(Loss::Missing));
}

#[test]
fn a_file_for_which_there_is_no_room_leaves_nothing() {
    let Disk { storage, _lock, folder: _folder } = Disk::new();
    let storage = (drop(storage), DiskStorage::new(&_lock, u64::MAX)).1;
    let refused = storage.create_whole(id(1), b"bytes").map(drop);
    assert!(matches!(refused, Err(StorageError::NoSpace { .. })), "{refused:?}");
    assert!(storage.staged().unwrap().is_empty());
}

#[test]
fn a_file_without_a_name_gets_its_final_one_or_leaves_nothing() {
    let Disk { storage, _lock, folder } = Disk::new();
    let storage = (drop(storage), DiskStorage::unpaced(&_lock, 0)).1;
    let volume = &storage.volume;
    if volume.unnamed.link_method(&volume.staging.directory).is_none() {
        println!("skipped: files here have names from the beginning");
        return;
    }
    let published = folder.path().join("uploads/5/a/doc");
    let first = storage.create_unnamed(id(1), b"bytes").unwrap();
    assert!(storage.staged().unwrap().is_empty());
    let name = first.rename(user(), &path("a/doc")).unwrap().unwrap();
    assert_eq!(fs::read(&published).unwrap(), b"bytes");
    assert_eq!(fs::metadata(&published).unwrap().ino(), first.file_number());
    first.sync_data().unwrap();
    name.sync_name().unwrap();

    let second = storage.create_unnamed(id(2), b"other").unwrap();
    let refused = second.rename(user(), &path("a/doc")).map(drop);
    assert!(matches!(refused, Err(StorageError::Exists)), "{refused:?}");
    assert_eq!(fs::read(&published).unwrap(), b"bytes");
    let refused = second.rename(user(), &path("a/doc/below")).map(drop);
    assert!(matches!(refused, Err(StorageError::NotAFolder)), "{refused:?}");
    second.rename(user(), &path("a/other")).unwrap().unwrap().sync_name().unwrap();
    assert_eq!(fs::read(published.with_file_name("other")).unwrap(), b"other");
}

#[test]
fn to_find_out_how_files_get_names_leaves_nothing() {
    let disk = Disk::new();
    let staging = &disk.storage.volume.staging.directory;
    let Some(way) = UnnamedFiles::wanted().link_method(staging) else {
        println!("skipped: files here have names from the beginning");
        return;
    };
    assert!(disk.storage.staged().unwrap().is_empty(), "{way:?} leaves something");
    // Nor is what a kill left in the way.
    let probe = disk.at(".staging").join(paths::PROBE);
    fs::write(&probe, "").unwrap();
    assert!(disk.storage.staged().unwrap().is_empty());
    assert_eq!(UnnamedFiles::wanted().link_method(staging), Some(way));
    assert!(!probe.exists());
    assert_eq!(UnnamedFiles::none().link_method(staging), None);
}

#[test]
fn a_folder_that_was_removed_a_moment_ago_is_made_anew() {
    let disk = Disk::new();
    for number in 1..=6 {
        // The second time the folder is known to be durable, and is kept.
        for document in ["a/b/first", "a/b/doc"] {
            let number = 2 * number + u64::from(document.ends_with("doc"));
            let staging = disk.upload(number, b"bytes");
            staging.rename(user(), &path(document)).unwrap().unwrap().sync_name().unwrap();
        }
        assert_eq!(fs::read(disk.at("5/a/b/doc")).unwrap(), b"bytes");
        fs::remove_dir_all(disk.at("5/a")).unwrap();
    }
}
