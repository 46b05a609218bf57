//! What a store moves, replaces, removes and deletes, on real file systems: the power is cut
//! behind each call, and a disk of its own is mounted in the folder of a user.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use towline_engine::storage::{
    DataFolder, Deleted, Denial, DiskStorage, Entry, FolderLock, Put, Spot, Storage, StorageError,
    TreeStorage, Verdict,
};
use towline_tests::volume::Volume;
use towline_types::{BlockIndex, block, file_hash};
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, NodeId, Offset, UserId};

struct Store {
    storage: DiskStorage,
    _lock: FolderLock,
}

impl Store {
    fn over(folder: &Path) -> Self {
        let lock = DataFolder::open(folder).expect("a data folder").lock().expect("the lock");
        Self { storage: DiskStorage::new(&lock, 0), _lock: lock }
    }

    fn stage(&self, number: u64, bytes: &[u8]) {
        let filesize = FileSize::try_from(bytes.len() as u64).expect("a size");
        let staging = self.storage.create(id(number), filesize).expect("room");
        staging.write_all_at(bytes, Offset::ZERO).expect("room");
        staging.sync().expect("a sync");
    }

    fn put(&self, number: u64, at: &str, bytes: &[u8]) {
        self.stage(number, bytes);
        let put = self.storage.publish(id(number), user(), &path(at), hash(bytes), &mut |_| true);
        assert_eq!(put.expect("a free name"), Put::InPlace);
        self.storage.discard(id(number)).expect("what a copy leaves");
    }

    fn replace(&self, number: u64, old: u64, at: &str, bytes: &[u8]) {
        self.stage(number, bytes);
        let (at, go_on) = (path(at), &mut |_| true);
        let put = self.storage.replace(id(number), user(), &at, id(old), hash(bytes), go_on);
        assert_eq!(put.expect("a name"), Put::InPlace);
        self.storage.discard(id(number)).expect("what a copy leaves");
    }

    /// The same, by a call that a crash has cut off before the row was recorded, and one that
    /// repeats it.
    fn replace_twice(&self, number: u64, old: u64, at: &str, bytes: &[u8]) {
        self.stage(number, bytes);
        for _ in 0..2 {
            let (at, go_on) = (path(at), &mut |_| true);
            let put = self.storage.replace(id(number), user(), &at, id(old), hash(bytes), go_on);
            assert_eq!(put.expect("a name"), Put::InPlace);
        }
        self.storage.discard(id(number)).expect("what a copy leaves");
    }

    fn relocate(&self, from: &Spot, to: &Spot) {
        self.storage.relocate(user(), from, to).expect("a free name");
    }

    fn is_there(&self, spot: &Spot) -> bool {
        self.storage.is_there(user(), spot).expect("an answer").is_some()
    }

    /// What lies there as text; `None` where no file does.
    fn text(&self, spot: &Spot) -> Option<String> {
        let found = self.storage.open_spot(user(), spot, &[]).expect("an answer")?;
        let mut bytes = vec![0; usize::try_from(found.filesize.get()).expect("a small file")];
        found.read_exact_at(&mut bytes, Offset::ZERO).expect("its bytes");
        Some(String::from_utf8(bytes).expect("text"))
    }
}

fn hash(bytes: &[u8]) -> FileHash {
    let filesize = FileSize::try_from(bytes.len() as u64).expect("a size");
    let first = BlockIndex::new(0).expect("the first block");
    file_hash::hash_file(filesize, [block::hash_block(first, filesize, bytes)])
}

fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).expect("a number")
}

fn user() -> UserId {
    UserId::try_from(5).expect("a number")
}

fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).expect("a path")
}

fn living(text: &str) -> Spot {
    Spot::Living(path(text))
}

fn trash(number: u64) -> Spot {
    Spot::Trash(NodeId::try_from(number).expect("a number"))
}

fn version(number: u64) -> Spot {
    Spot::Version(id(number))
}

fn node(number: u64) -> NodeId {
    NodeId::try_from(number).expect("a number")
}

type Call = (&'static str, fn(&Store), &'static [(&'static str, &'static str)]);

/// A call, and what lies where behind it.
const CALLS: &[Call] = &[
    ("put", |store| store.put(1, "a/b/doc", b"one"), &[("a/b/doc", "one")]),
    (
        "replace",
        |store| store.replace(2, 1, "a/b/doc", b"two"),
        &[("a/b/doc", "two"), ("version 1", "one")],
    ),
    (
        "make a folder",
        |store| store.storage.make_folder(user(), &path("c/d")).expect("a folder"),
        &[("c/d", "folder"), ("a/b/doc", "two")],
    ),
    (
        "move a folder",
        |store| store.relocate(&living("a"), &living("c/d/a")),
        &[("a", ""), ("c/d/a/b/doc", "two")],
    ),
    (
        "put into the old path",
        |store| store.put(3, "a/b/doc", b"three"),
        &[("a/b/doc", "three"), ("c/d/a/b/doc", "two")],
    ),
    (
        "put into the new path",
        |store| store.put(4, "c/d/a/b/four", b"four"),
        &[("c/d/a/b/four", "four"), ("a/b/four", "")],
    ),
    (
        "move a file",
        |store| store.relocate(&living("c/d/a/b/doc"), &living("x/doc")),
        &[("c/d/a/b/doc", ""), ("x/doc", "two")],
    ),
    (
        "remove a folder",
        |store| store.relocate(&living("c"), &trash(7)),
        &[("c", ""), ("trash 7", "folder")],
    ),
    (
        "restore it",
        |store| store.relocate(&trash(7), &living("e/f")),
        &[("trash 7", ""), ("e/f/d/a/b/four", "four")],
    ),
    (
        "remove a file",
        |store| store.relocate(&living("x/doc"), &trash(8)),
        &[("x/doc", ""), ("trash 8", "two")],
    ),
    (
        "delete what was removed",
        |store| {
            let deleted = store.storage.delete_trash(user(), node(8), &mut |_| Verdict::Delete);
            assert_eq!(deleted.expect("a deletion"), Deleted::All);
        },
        &[("trash 8", ""), ("version 1", "one")],
    ),
    (
        "delete a version",
        |store| store.storage.delete_versions(user(), &[id(1)]).expect("a deletion"),
        &[("version 1", ""), ("a/b/doc", "three")],
    ),
];

/// What lies where a test says.
fn found(store: &Store, at: &str) -> String {
    let number = |text: &str| text.parse().expect("a number");
    let spot = match at.split_once(' ') {
        Some(("version", document)) => version(number(document)),
        Some(("trash", node)) => trash(number(node)),
        _ => living(at),
    };
    match store.storage.is_there(user(), &spot).expect("an answer") {
        Some(Entry::Folder) => "folder".to_owned(),
        Some(Entry::File { .. }) => store.text(&spot).expect("a file"),
        None => String::new(),
    }
}

/// Behind each call the power goes at once: what the call has told is so when it comes back.
#[test]
fn what_was_moved_replaced_removed_or_deleted_stays_so_behind_a_power_cut() {
    let Some(volume) = Volume::ext4(32 << 20) else { return };
    let folder = volume.path().join("storage");
    for (what, call, expected) in CALLS {
        let store = Store::over(&folder);
        call(&store);
        volume.power_off();
        drop(store);
        volume.power_on();
        let store = Store::over(&folder);
        for (at, content) in *expected {
            assert_eq!(found(&store, at), *content, "{what}: {at}");
        }
        drop(store);
    }
}

/// The power goes at a moment that nothing has prepared, in one process that knows of no folder
/// more than it has found out itself: all calls but the last were answered.
#[test]
fn what_was_told_of_many_calls_stays_so_behind_one_power_cut() {
    let Some(volume) = Volume::ext4(32 << 20) else { return };
    for count in 1..=CALLS.len() {
        let folder = volume.path().join(format!("storage {count}"));
        let store = Store::over(&folder);
        for (_, call, _) in &CALLS[..count] {
            call(&store);
        }
        volume.power_off();
        drop(store);
        volume.power_on();
        let store = Store::over(&folder);
        let (what, _, expected) = CALLS[count - 1];
        for (at, content) in expected {
            assert_eq!(found(&store, at), *content, "{what}: {at}");
        }
    }
}

/// The names of all files and folders in a folder and below.
fn everything_in(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().into_string().expect("text");
        if name == "lost+found" {
            continue;
        }
        if entry.path().is_dir() {
            let below = everything_in(&entry.path());
            found.extend(below.into_iter().map(|below| format!("{name}/{below}")));
        }
        found.insert(name);
    }
    found
}

/// A disk of its own at the folder of a user, or below it: what is replaced or removed there stays
/// on it, and nothing is moved between it and the rest.
#[test]
fn a_disk_in_a_users_folder_keeps_what_was_removed_and_replaced_on_it() {
    let Some(volume) = Volume::ext4(32 << 20) else { return };
    for mounted_at in ["5", "5/disk"] {
        let temp = tempfile::tempdir().expect("a folder");
        let below = |place: &str| match mounted_at {
            "5" => place.to_owned(),
            _ => format!("disk/{place}"),
        };
        let uploads = temp.path().join("uploads");
        fs::create_dir_all(uploads.join(mounted_at)).expect("a folder");
        let shown = volume.show_at(&uploads.join(mounted_at));
        let store = Store::over(temp.path());

        let doc = below("a/doc");
        store.put(1, &doc, b"one");
        store.replace_twice(2, 1, &doc, b"two");
        // The same bytes once more.
        store.replace_twice(3, 2, &doc, b"two");
        let mut asked = 0;
        store.stage(9, b"nine");
        let stopped =
            store.storage.replace(id(9), user(), &path(&doc), id(3), hash(b"nine"), &mut |_| {
                asked += 1;
                asked < 2
            });
        assert_eq!(stopped.expect("no fault"), Put::Stopped);
        store.storage.discard(id(9)).expect("a staging file");
        assert_eq!(store.text(&living(&doc)).as_deref(), Some("two"));
        assert_eq!(store.text(&version(1)).as_deref(), Some("one"));
        assert_eq!(store.text(&version(2)).as_deref(), Some("two"));
        store.relocate(&living(&below("a")), &living(&below("b/c")));
        store.put(4, &doc, b"four");
        assert_eq!(store.text(&living(&below("b/c/doc"))).as_deref(), Some("two"));
        store.relocate(&living(&below("b")), &trash(7));
        assert!(store.is_there(&trash(7)));
        let kept = everything_in(volume.path());
        for kept_there in [" towline-versions/5/1", " towline-versions/5/2", " towline-trash/5/7"] {
            assert!(kept.contains(kept_there), "{kept:?}");
        }
        assert!(!uploads.join(".trash").exists() && !uploads.join(".versions").exists());

        if mounted_at == "5/disk" {
            store.put(5, "usual", b"five");
            let to_another_disk = [
                (living("usual"), living("disk/usual")),
                (living("disk/a"), living("a")),
                (trash(7), living("b")),
                // The disk itself, and a folder with the disk in it.
                (living("disk"), living("other")),
                (living("disk"), trash(9)),
            ];
            for (from, to) in to_another_disk {
                let refused = store.storage.relocate(user(), &from, &to);
                let Err(StorageError::Refused { denial, .. }) = refused else {
                    panic!("{from:?} {to:?}: {refused:?}")
                };
                assert_eq!(denial, Denial::OtherFileSystem);
                assert!(store.is_there(&from) && !store.is_there(&to), "{from:?} {to:?}");
            }
        }
        store.relocate(&trash(7), &living(&below("b")));
        assert_eq!(store.text(&living(&below("b/c/doc"))).as_deref(), Some("two"));
        store.relocate(&living(&below("b")), &trash(7));
        let deleted = store.storage.delete_trash(user(), node(7), &mut |_| Verdict::Delete);
        assert_eq!(deleted.expect("a deletion"), Deleted::All);
        store.storage.delete_versions(user(), &[id(1), id(2)]).expect("a deletion");
        let left = everything_in(volume.path());
        assert!(left.contains("a/doc"), "{left:?}");
        for gone in [" towline-versions/5/1", " towline-versions/5/2", " towline-trash/5/7"] {
            assert!(!left.contains(gone), "{left:?}");
        }

        // The disk is away: what may be on it is not said to be gone.
        store.relocate(&living(&doc), &trash(8));
        store.put(6, &doc, b"six");
        assert!(store.text(&living(&doc)).is_some());
        shown.hide();
        assert!(store.storage.is_there(user(), &trash(8)).is_err());
        let away = store.storage.delete_trash(user(), node(8), &mut |_| Verdict::Delete);
        assert!(away.is_err(), "{away:?}");
        assert!(store.storage.delete_versions(user(), &[id(1)]).is_err());
        let shown = volume.show_at(&uploads.join(mounted_at));
        assert_eq!(store.text(&trash(8)).as_deref(), Some("four"));
        drop(store);
        shown.hide();
        for entry in fs::read_dir(volume.path()).expect("a folder").flatten() {
            if entry.file_name() != "lost+found" {
                fs::remove_dir_all(entry.path()).expect("its own folder");
            }
        }
    }
}
