//! Where the file lies: behind a link, beside what a killed run left, under a lock that
//! another process holds.

use super::{entry, fresh};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use towline_state::{StateFile, StateFileError};
use towline_types::Timestamp;

fn add(file: &StateFile, key: &str) {
    file.update(|state| state.uploads.insert(key.to_owned(), entry("a"))).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_link_stays_and_the_file_that_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("shared")).unwrap();
    let real = StateFile::at(at("shared/real.json"));
    add(&real, "1");
    // Relative, absolute, and one that leads to a link.
    symlink("shared/real.json", at("relative.json")).unwrap();
    symlink(at("shared/real.json"), at("absolute.json")).unwrap();
    symlink("relative.json", at("twice.json")).unwrap();
    for (key, name) in [("2", "relative.json"), ("3", "absolute.json"), ("4", "twice.json")] {
        let linked = StateFile::at(at(name));
        assert!(linked.read().unwrap().uploads.contains_key("1"));
        add(&linked, key);
        assert!(at(name).is_symlink(), "{name} stays a link");
        assert!(!at("shared/real.json").is_symlink());
        assert!(real.read().unwrap().uploads.contains_key(key), "{name} reached the file");
        let mut state = linked.read().unwrap();
        state.uploads.insert(format!("1{key}"), entry("b"));
        linked.replace(&state).unwrap();
        assert!(at(name).is_symlink() && real.read().unwrap() == state);
    }
    // The lock is one for all of the names.
    assert_eq!(names(&at("shared")), ["real.json", "real.json.lock"]);
    assert_eq!(names(folder.path()), ["absolute.json", "relative.json", "shared", "twice.json"]);
}

#[test]
fn a_link_to_nothing_makes_the_file_there() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("state.json");
    symlink("not/there/yet.json", &link).unwrap();
    let file = StateFile::at(&link);
    assert!(file.read().unwrap().uploads.is_empty());
    add(&file, "1");
    assert!(link.is_symlink());
    assert!(folder.path().join("not/there/yet.json").is_file());
    assert_eq!(file.read().unwrap().uploads.len(), 1);
}

#[test]
fn a_damaged_file_behind_a_link_is_set_aside_beside_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("shared")).unwrap();
    fs::write(at("shared/real.json"), "torn").unwrap();
    symlink("shared/real.json", at("state.json")).unwrap();
    let file = StateFile::at(at("state.json"));
    let aside = file.set_aside(Timestamp::MIN).unwrap().unwrap();
    assert_eq!(fs::read_to_string(&aside).unwrap(), "torn");
    assert!(!aside.is_symlink() && at("state.json").is_symlink());
    add(&file, "1");
    assert!(at("shared/real.json").is_file());
}

#[test]
fn a_ring_of_links_is_an_error_and_no_loop() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    symlink("b.json", at("a.json")).unwrap();
    symlink("a.json", at("b.json")).unwrap();
    let file = StateFile::at(at("a.json"));
    assert!(matches!(file.read(), Err(StateFileError::Io { .. })));
    assert!(matches!(file.update(|_| ()), Err(StateFileError::Io { .. })));
}

#[test]
fn temporary_files_of_killed_runs_are_swept_and_nothing_else() {
    let (_folder, file) = fresh();
    let folder = file.path().parent().unwrap();
    fs::create_dir_all(folder.join(".uploads_state.json.folder.tmp")).unwrap();
    let others = [
        ".uploads_state.json.a.b.tmp",
        ".uploads_state.json.tmp",
        ".other.json.abc123.tmp",
        "uploads_state.json.corrupt-7",
    ];
    let left = [".uploads_state.json.abc123.tmp", ".uploads_state.json.XYZ789.tmp"];
    for name in others.into_iter().chain(left) {
        fs::write(folder.join(name), "half").unwrap();
    }
    file.read().unwrap();
    assert!(folder.join(left[0]).exists(), "a reader has no lock and removes nothing");
    // By a writer, and by the question whether one could write, unless another process has
    // the lock: what lies there then may be its own.
    let lock = File::create(folder.join("uploads_state.json.lock")).unwrap();
    lock.lock().unwrap();
    StateFile::at(file.path()).check_writable().unwrap();
    assert!(left.iter().all(|name| folder.join(name).exists()));
    lock.unlock().unwrap();
    StateFile::at(file.path()).check_writable().unwrap();
    assert!(!left.iter().any(|name| folder.join(name).exists()));
    for name in left {
        fs::write(folder.join(name), "half").unwrap();
    }
    add(&StateFile::at(file.path()), "1");
    for name in left {
        assert!(!folder.join(name).exists(), "{name}");
    }
    for name in others.into_iter().chain([".uploads_state.json.folder.tmp"]) {
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[test]
fn a_wait_for_the_lock_is_told_and_can_be_given_up() {
    let (_folder, file) = fresh();
    add(&file, "1");
    let lock_path = file.path().with_extension("json.lock");
    let lock = File::options().write(true).open(&lock_path).unwrap();
    lock.lock().unwrap();

    let asked = Arc::new(AtomicU32::new(0));
    let (counted, expected) = (Arc::clone(&asked), lock_path.clone());
    let impatient = StateFile::at(file.path()).while_waiting(move |path, waited| {
        assert_eq!(path, expected);
        assert!(counted.fetch_add(1, Ordering::Relaxed) > 0 || waited < Duration::from_secs(5));
        counted.load(Ordering::Relaxed) < 3
    });
    let given_up = impatient.update(|state| state.uploads.clear());
    assert!(matches!(&given_up, Err(StateFileError::Locked { lock }) if *lock == lock_path));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(impatient.read().unwrap().uploads.len(), 1, "nothing was changed");

    // One that waits gets it when it is let go.
    let (waits, is_waiting) = mpsc::channel();
    let patient = StateFile::at(file.path()).while_waiting(move |_, _| {
        let _ = waits.send(());
        true
    });
    let waiter = std::thread::spawn(move || add(&patient, "2"));
    is_waiting.recv().unwrap();
    drop(lock);
    waiter.join().unwrap();
    assert_eq!(file.read().unwrap().uploads.len(), 2);
}

#[test]
fn what_cannot_be_written_is_known_before() {
    let (_folder, file) = fresh();
    file.check_writable().unwrap();
    let folder = file.path().parent().unwrap();
    assert_eq!(names(folder), ["uploads_state.json.lock"], "nothing but the lock is left");
    // Also where rights do not count, as for root: a folder below a plain file.
    fs::write(folder.join("plain"), "").unwrap();
    let below = StateFile::at(folder.join("plain/state.json"));
    assert!(matches!(below.check_writable(), Err(StateFileError::Io { .. })));
    fs::create_dir(folder.join("closed")).unwrap();
    fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    if File::create(folder.join("closed/probe")).is_err() {
        let closed = StateFile::at(folder.join("closed/state.json"));
        assert!(matches!(closed.check_writable(), Err(StateFileError::Io { .. })));
    }
}
