//! A process that is killed while it moves, replaces, removes and deletes: the next one repeats the
//! call that was cut off, and goes on.

use crate::door::{bytes, offset, size};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use tempfile::TempDir;
use towline_engine::storage::{
    DataFolder, Deleted, DiskStorage, Entry, FolderLock, Put, Spot, Storage as _, TreeStorage as _,
    Verdict,
};
use towline_types::{DocumentId, DocumentPath, FileHash, NodeId, UserId};

const FOLDER: &str = "TOWLINE_TEST_FOLDER";
const SIGKILL: i32 = 9;

/// The points of these calls; how often each is passed is found out.
const POINTS: [&str; 10] = [
    "delete.done",
    "folder.made",
    "relocate.folders_made",
    "relocate.new_name_synced",
    "relocate.renamed",
    "relocate.settled",
    "replace.folder_synced",
    "replace.kept",
    "replace.kept_synced",
    "replace.renamed",
];

/// One call, with what it has to bring about.
enum Step {
    Folder(&'static str),
    /// The new version, the old one, and their name. Where there is no old version, it is published.
    Put(u64, Option<u64>, &'static str),
    Move(Spot, Spot),
    DeleteTrash(u64),
    DeleteVersions(&'static [u64]),
}

fn steps() -> Vec<Step> {
    vec![
        Step::Put(1, None, "a/b/doc"),
        Step::Put(9, None, "a/stays"),
        Step::Folder("c/d"),
        Step::Put(2, Some(1), "a/b/doc"),
        Step::Move(living("a"), living("c/d/a")),
        Step::Move(living("c/d/a/b/doc"), living("x/moved")),
        Step::Move(living("c"), trash(7)),
        Step::Move(trash(7), living("e")),
        Step::Put(3, Some(2), "x/moved"),
        Step::Move(living("x/moved"), trash(8)),
        Step::DeleteTrash(8),
        Step::DeleteVersions(&[1, 2]),
    ]
}

/// Behind which of the steps the bytes of a document may be gone.
const DELETED_AT: [(u64, usize); 4] = [(1, 11), (2, 11), (3, 10), (9, usize::MAX)];

fn id(number: u64) -> DocumentId {
    DocumentId::try_from(number).unwrap()
}

fn node(number: u64) -> NodeId {
    NodeId::try_from(number).unwrap()
}

fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

fn living(text: &str) -> Spot {
    Spot::Living(path(text))
}

fn trash(number: u64) -> Spot {
    Spot::Trash(node(number))
}

fn user() -> UserId {
    UserId::try_from(5).unwrap()
}

fn content(number: u64) -> Vec<u8> {
    bytes(2_000, u8::try_from(number).unwrap())
}

struct Store {
    storage: DiskStorage,
    _lock: FolderLock,
    folder: PathBuf,
}

impl Store {
    fn over(folder: &Path) -> Self {
        let lock = DataFolder::open(folder).unwrap().lock().unwrap();
        Self { storage: DiskStorage::new(&lock, 0), _lock: lock, folder: folder.to_owned() }
    }

    /// Which step a process is at, where the next one finds it.
    fn note(&self, step: usize) {
        fs::write(self.folder.join("step"), step.to_string()).unwrap();
    }

    fn make(&self, step: &Step) {
        let any_hash = FileHash::from_bytes([0; 32]);
        match step {
            Step::Folder(folder) => self.storage.make_folder(user(), &path(folder)).unwrap(),
            Step::Move(from, to) => self.storage.relocate(user(), from, to).unwrap(),
            Step::DeleteTrash(number) => {
                let judge = &mut |_: &[_]| Verdict::Delete;
                let deleted = self.storage.delete_trash(user(), node(*number), judge);
                assert_eq!(deleted.unwrap(), Deleted::All);
            }
            Step::DeleteVersions(numbers) => {
                let versions: Vec<_> = numbers.iter().map(|number| id(*number)).collect();
                self.storage.delete_versions(user(), &versions).unwrap();
            }
            Step::Put(number, old, at) => {
                let at = path(at);
                let goes_on = &mut |_| panic!("nothing is copied here");
                let put = match old {
                    None => self.storage.publish(id(*number), user(), &at, any_hash, goes_on),
                    Some(old) => {
                        self.storage.replace(id(*number), user(), &at, id(*old), any_hash, goes_on)
                    }
                };
                assert_eq!(put.unwrap(), Put::InPlace);
            }
        }
    }

    fn stage(&self, step: &Step) {
        let Step::Put(number, _, _) = step else { return };
        let content = content(*number);
        let staging = self.storage.create(id(*number), size(content.len())).unwrap();
        staging.write_all_at(&content, offset(0)).unwrap();
        staging.sync().unwrap();
    }

    /// Repeats a step that was cut off, as a start does.
    fn repeat(&self, step: &Step) {
        let is_staged = |number| {
            let staged = self.storage.staged().unwrap();
            staged.iter().any(|staged| staged.id == id(number))
        };
        match step {
            // The staging area is gone, so the new bytes have the name.
            Step::Put(number, Some(old), at) if !is_staged(*number) => {
                let at = path(at);
                assert!(self.storage.is_there(user(), &Spot::Version(id(*old))).unwrap().is_some());
                self.storage.sync_published(user(), &at).unwrap();
            }
            step => self.make(step),
        }
    }

    /// The bytes of all files in the folders of users, and of what was removed and replaced.
    fn contents(&self) -> BTreeSet<Vec<u8>> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.folder.join("uploads")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

/// The half that is killed. It is run by the test below, in a process of its own.
#[test]
#[ignore = "the test below runs it, in a process that is killed"]
fn works_and_is_killed() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the test below says where"));
    let store = Store::over(&folder);
    for (index, step) in steps().iter().enumerate() {
        store.stage(step);
        store.note(index);
        store.make(step);
    }
}

#[test]
fn what_a_kill_cuts_off_is_repeated_and_nothing_is_lost() {
    let mut kills = 0;
    for point in POINTS {
        for time in 1.. {
            let folder = TempDir::new().unwrap();
            let status = Process::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "killed_store::works_and_is_killed"])
                .env(FOLDER, folder.path())
                .env("TOWLINE_FAILPOINTS", format!("{point}=kill@{time}"))
                .output()
                .unwrap()
                .status;
            if status.success() {
                assert!(time > 1, "{point} is never reached");
                break;
            }
            assert_eq!(status.signal(), Some(SIGKILL), "{point}@{time}");
            kills += 1;
            goes_on(folder.path(), &format!("{point}@{time}"));
        }
    }
    println!("{kills} kills");
}

fn goes_on(folder: &Path, killed_at: &str) {
    let store = Store::over(folder);
    let at: usize = fs::read_to_string(folder.join("step")).unwrap().parse().unwrap();
    let steps = steps();
    let found = store.contents();
    for (number, deleted_at) in DELETED_AT {
        let was_put =
            steps.iter().position(|step| matches!(step, Step::Put(n, ..) if *n == number));
        let is_due = was_put.unwrap() <= at && at < deleted_at;
        assert!(!is_due || found.contains(&content(number)), "{killed_at}: {number} is lost");
    }
    store.repeat(&steps[at]);
    for step in &steps[at + 1..] {
        store.stage(step);
        store.make(step);
    }

    let there = |spot: &Spot| store.storage.is_there(user(), spot).unwrap();
    for folder in ["e/d", "e/d/a/b", "x"] {
        assert_eq!(there(&living(folder)), Some(Entry::Folder), "{killed_at}: {folder}");
    }
    let gone = ["a", "c", "x/moved"].map(living).into_iter();
    let versions = [1, 2, 3].map(|number| Spot::Version(id(number)));
    for gone in gone.chain([trash(7), trash(8)]).chain(versions) {
        assert_eq!(there(&gone), None, "{killed_at}: {gone:?}");
    }
    assert!(store.storage.staged().unwrap().is_empty(), "{killed_at}");
    let left = store.contents();
    assert!(left.contains(&content(9)) && left.len() == 1, "{killed_at}: {}", left.len());
}
