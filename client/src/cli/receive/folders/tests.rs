//! Which folders are taken for a sender's.

use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const UMASK: Mode = Mode::WGRP.union(Mode::RWXO);

struct Desk {
    home: TempDir,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for name in ["dir", "hidden"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        Self { home }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join("dir").join(below)
    }

    fn folders(&self) -> Folders {
        let [base, hidden] =
            ["dir", "hidden"].map(|name| LocalFolder::open(&self.home.path().join(name)).unwrap());
        Folders::open(base, hidden, UMASK, "01".repeat(16).parse().unwrap()).unwrap()
    }

    /// Where the folder with these names is that a sender has sent.
    fn make(&self, folders: &mut Folders, names: &str, mode: Option<u32>) -> String {
        let names: Vec<_> = names.split('/').map(|name| Name::new(name).unwrap()).collect();
        let (folder, _) =
            folders.make(UserId::MIN, &names, mode.map(PermissionBits::of_mode)).unwrap();
        let below = folder.path().strip_prefix(self.path("")).unwrap();
        below.to_str().unwrap().to_owned()
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_sender_reaches_no_folder_that_the_person_has_made_in_a_received_one() {
    let desk = Desk::new();
    let mut folders = desk.folders();
    assert_eq!(desk.make(&mut folders, "top", Some(0o755)), "top");
    let hooks = desk.path("top/.git/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for path in [&hooks, &desk.path("top/.git")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(desk.make(&mut folders, "top/.git/hooks", Some(0o755)), "top/.git (1)/hooks");
    assert_eq!(desk.make(&mut folders, "top/.git", Some(0o755)), "top/.git (1)");
    assert_eq!(mode(&desk.path("top/.git")), 0o700);
    assert_eq!(mode(&desk.path("top/.git (1)")), 0o750, "the sender's own");
    assert!(hooks.read_dir().unwrap().next().is_none());
    // Another run knows the same.
    let mut folders = desk.folders();
    assert_eq!(desk.make(&mut folders, "top/.git/hooks", None), "top/.git (1)/hooks");
    assert_eq!(desk.make(&mut folders, "top/.git/objects", None), "top/.git (1)/objects");
}

#[test]
fn whatever_has_the_name_of_a_folder_it_gets_another_one() {
    let desk = Desk::new();
    let mut folders = desk.folders();
    desk.make(&mut folders, "top", None);
    std::fs::write(desk.path("top/file"), "mine").unwrap();
    symlink("/etc", desk.path("top/link")).unwrap();
    assert_eq!(desk.make(&mut folders, "top/file/x", None), "top/file (1)/x");
    assert_eq!(desk.make(&mut folders, "top/link/x", None), "top/link (1)/x");
    // One that was received and that the person has replaced.
    assert_eq!(desk.make(&mut folders, "top/a/b", None), "top/a/b");
    std::fs::rename(desk.path("top/a"), desk.path("mine")).unwrap();
    std::fs::write(desk.path("top/a"), "mine").unwrap();
    assert_eq!(desk.make(&mut folders, "top/a/b", None), "top/a (1)/b");
    assert!(desk.path("mine/b").read_dir().unwrap().next().is_none());
}

#[test]
fn a_folder_with_the_numbers_of_one_that_is_gone_is_another_one() {
    let desk = Desk::new();
    let mut folders = desk.folders();
    desk.make(&mut folders, "top", None);
    let made = &folders.made["1/top"];
    assert_eq!(made.identity.inode, desk.path("top").metadata().unwrap().ino());
    let Some(at) = made.identity.made_ns else { return };
    folders.made.get_mut("1/top").unwrap().identity.made_ns = Some(at - 1);
    assert_eq!(desk.make(&mut folders, "top", None), "top (1)");
}

#[test]
fn a_line_is_written_for_a_folder_and_not_all_of_them() {
    let desk = Desk::new();
    let mut folders = desk.folders();
    let length = || desk.home.path().join("hidden").join(NAME).metadata().unwrap().len();
    let mut lengths = vec![length()];
    for number in 0..200 {
        desk.make(&mut folders, &format!("{number:03}"), None);
        lengths.push(length());
    }
    let added: Vec<_> = lengths.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(added.iter().all(|bytes| (1..300).contains(bytes)), "{added:?}");
    assert_eq!(desk.folders().made, folders.made);
}

#[test]
fn two_folders_that_have_had_one_path_are_both_synced() {
    let desk = Desk::new();
    let mut folders = desk.folders();
    desk.make(&mut folders, "top/x", None);
    let before = folders.changed.len();
    std::fs::rename(desk.path("top"), desk.path("moved")).unwrap();
    desk.make(&mut folders, "top/x", None);
    assert_eq!(folders.changed.len(), before + 1);
    folders.sync().unwrap();
    assert!(folders.changed.is_empty());
}
