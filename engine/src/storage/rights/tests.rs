use super::*;
use crate::storage::DataFolder;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A whole data folder with a key, a catalog and a token.
fn store() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("storage");
    DataFolder::open(&path).unwrap();
    for file in ["keys/ed25519.pk8", "keys/tls.pem", "state/catalog.db", "ada.token"] {
        fs::write(path.join(file), "x").unwrap();
        chmod(&path.join(file), 0o600);
    }
    (parent, path)
}

/// The faults of the store, each as the path below it and what is wrong.
fn faults(path: &Path) -> Vec<(String, RightsFaultKind)> {
    let below = |fault: RightsFault| {
        let below = fault.path.strip_prefix(path).unwrap().to_str().unwrap().to_owned();
        (below, fault.kind)
    };
    look(path).unwrap().into_iter().map(below).collect()
}

#[test]
fn what_the_server_makes_itself_is_safe() {
    let (_parent, path) = store();
    assert_eq!(faults(&path), []);
    assert_eq!(look(&path.join("none")).unwrap(), []);
}

#[test]
fn each_right_of_other_users_is_a_fault_and_its_command_mends_it() {
    use RightsFaultKind::{GroupWrites, OthersRead, OthersWrite, OwnGroupWrites};
    for (below, mode, kind) in [
        ("", 0o757, OthersWrite),
        ("", 0o777, OthersWrite),
        ("", 0o770, OwnGroupWrites),
        ("uploads", 0o752, OthersWrite),
        ("uploads", 0o770, OwnGroupWrites),
        ("uploads/.staging", 0o770, GroupWrites),
        ("state", 0o720, GroupWrites),
        ("keys", 0o702, OthersWrite),
        ("keys/ed25519.pk8", 0o640, OthersRead),
        ("keys/tls.pem", 0o604, OthersRead),
        ("ada.token", 0o644, OthersRead),
    ] {
        let (_parent, path) = store();
        let changed = path.join(below);
        chmod(&changed, mode);
        assert_eq!(faults(&path), [(below.to_owned(), kind)], "{below} {mode:o}");
        let message = look(&path).unwrap()[0].to_string();
        let (_, command) = message.rsplit_once(": ").unwrap();
        let shell = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(shell.success(), "{command}");
        assert_eq!(faults(&path), [], "{command}");
    }
}

#[test]
fn files_of_the_catalog_matter_only_where_others_get_to_them() {
    let (_parent, path) = store();
    let catalog = path.join("state/catalog.db");
    chmod(&catalog, 0o666);
    assert_eq!(faults(&path), []);
    chmod(&path.join("state"), 0o755);
    assert_eq!(faults(&path), [("state/catalog.db".to_owned(), RightsFaultKind::OthersWrite)]);
}

#[test]
fn a_second_name_and_a_link_are_faults() {
    for file in ["keys/ed25519.pk8", "state/catalog.db"] {
        let (parent, path) = store();
        let (file, other) = (file.to_owned(), parent.path().join("other"));
        fs::hard_link(path.join(&file), &other).unwrap();
        assert_eq!(faults(&path), [(file.clone(), RightsFaultKind::Linked)]);
        let message = look(&path).unwrap()[0].to_string();
        let (_, command) = message.rsplit_once(": ").unwrap();
        assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
        assert_eq!(faults(&path), [], "{command}");
        fs::remove_file(path.join(&file)).unwrap();
        std::os::unix::fs::symlink(&other, path.join(&file)).unwrap();
        assert_eq!(faults(&path), [(file, RightsFaultKind::NotAFile)]);
    }
}

#[test]
fn what_belongs_to_another_user_is_a_fault_and_what_belongs_to_root_is_not() {
    if !geteuid().is_root() {
        println!("needs root to give files away");
        return;
    }
    let (_parent, path) = store();
    std::os::unix::fs::chown(path.join("keys/tls.pem"), Some(65_534), None).unwrap();
    let owner = RightsFaultKind::Owner { owner: 65_534, service: 0 };
    assert_eq!(faults(&path), [("keys/tls.pem".to_owned(), owner)]);
}

#[test]
fn a_private_key_outside_may_be_read_by_its_group_and_a_public_file_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    for (mode, private, public) in [
        (0o640, None, None),
        (0o644, Some(RightsFaultKind::OthersRead), None),
        (0o660, Some(RightsFaultKind::GroupWrites), Some(RightsFaultKind::GroupWrites)),
    ] {
        chmod(&path, mode);
        let metadata = path.metadata().unwrap();
        let kind = |file: OutsideFile| file.faults(&path, &metadata).first().map(|one| one.kind);
        assert_eq!(kind(OutsideFile::PrivateKey), private, "{mode:o}");
        assert_eq!(kind(OutsideFile::Public), public, "{mode:o}");
    }
}
