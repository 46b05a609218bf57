//! Many hands on one file, and who else may look at it.

use super::{entry, fresh};
use towline_state::StateFile;

#[test]
fn concurrent_updaters_lose_no_entry_and_readers_see_whole_files() {
    const UPDATERS: u32 = 8;
    const ENTRIES: u32 = 12;
    let (_folder, file) = fresh();
    std::thread::scope(|scope| {
        for updater in 0..UPDATERS {
            let file = StateFile::at(file.path());
            scope.spawn(move || {
                for number in 1..=ENTRIES {
                    let key = (updater * ENTRIES + number).to_string();
                    file.update(|state| state.uploads.insert(key, entry("doc.pdf"))).unwrap();
                    assert!(file.read().unwrap().uploads.len() >= number as usize);
                }
            });
        }
    });
    assert_eq!(file.read().unwrap().uploads.len(), (UPDATERS * ENTRIES) as usize);
}

#[test]
fn an_update_hands_out_what_the_change_returns() {
    let (_folder, file) = fresh();
    let before = file.update(|state| state.uploads.insert("1".to_owned(), entry("a"))).unwrap();
    assert_eq!(before, None);
    let removed = file.update(|state| state.uploads.remove("1")).unwrap();
    assert_eq!(removed, Some(entry("a")));
}

#[cfg(unix)]
#[test]
fn file_and_folder_are_for_their_owner_alone_and_nothing_is_left_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, file) = fresh();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    file.update(|state| state.uploads.insert("1".to_owned(), entry("a"))).unwrap();
    file.update(|state| state.uploads.insert("2".to_owned(), entry("b"))).unwrap();
    let folder = file.path().parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    assert_eq!(mode(file.path()), 0o600);
    let mut names: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["uploads_state.json", "uploads_state.json.lock"]);
}
