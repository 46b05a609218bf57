//! What lies in a data folder that no first start of a server leaves there. A folder that
//! holds such a thing and no catalog does not become a new store.

use super::directory::{Directory, is_folder};
use super::marker::Part;
use super::paths;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};

/// The most names that are told of each part. A listing ends there, so that the look stays
/// short also in a store with very many files.
const NAMES_MAX: usize = 5;

/// What lies in one part of the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The part.
    pub part: Part,
    /// Some of the names, in order; at least one.
    pub names: Vec<OsString>,
    /// There are more names than these.
    pub has_more: bool,
}

/// Looks at each part, from the data folder. A part that is missing, or that may not be
/// read, holds nothing.
pub(super) fn of(root: Option<&Directory>) -> Vec<Contents> {
    let Some(root) = root else { return Vec::new() };
    let in_part = |part: Part| match part {
        Part::Root => of_part(root, part),
        _ => root.folder(part.below()).and_then(|folder| of_part(&folder, part)),
    };
    Part::ALL.into_iter().filter_map(|part| in_part(part).ok().flatten()).collect()
}

fn of_part(folder: &Directory, part: Part) -> Result<Option<Contents>, Errno> {
    let (mut names, mut has_more) = (Vec::new(), false);
    for name in folder.entries()? {
        let name = name?;
        if is_of_first_start(part, &name) || is_vacant(folder, part, &name) {
            continue;
        }
        has_more = names.len() == NAMES_MAX;
        if has_more {
            break;
        }
        names.push(name);
    }
    names.sort();
    Ok((!names.is_empty()).then_some(Contents { part, names, has_more }))
}

/// Whether a first start that was cut off may have left an entry of that name. The last
/// thing that it makes without a catalog is the file of the catalog, still empty.
fn is_of_first_start(part: Part, name: &OsStr) -> bool {
    part.is_nothing(name) || (part == Part::State && paths::is_of_new_catalog(name))
}

/// Whether an entry of `uploads` is a folder without anything in it, such as a mount point
/// that was made for a disk of a user, or the root of that disk.
fn is_vacant(folder: &Directory, part: Part, name: &OsStr) -> bool {
    if part != Part::Uploads || !folder.stat(name).is_ok_and(|stat| is_folder(&stat)) {
        return false;
    }
    let holds_something = || -> Result<bool, Errno> {
        for name in folder.folder(name)?.entries()? {
            if !paths::is_of_the_file_system(&name?) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // A folder that may not be read is not a reason to refuse.
    !holds_something().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_first_start_leaves_is_nothing_and_everything_else_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let root = Directory::at_path(temp.path()).unwrap();
        assert_eq!(of(None), []);
        assert_eq!(of(Some(&root)), []);
        for folder in [
            "lost+found",
            "uploads/.staging/lost+found",
            "uploads/7/lost+found",
            "uploads/photos",
            "state",
            "keys/lost+found",
        ] {
            std::fs::create_dir_all(temp.path().join(folder)).unwrap();
        }
        for file in [
            "towlined.lock",
            ".towline-store.tmp",
            "uploads/.staging/nameless.probe",
            "state/catalog.db.lock",
            "state/.catalog.a1B2c3.tmp",
            "state/catalog.db",
            "state/catalog.db-wal",
            "state/catalog.db-shm",
            "state/catalog.db-journal",
        ] {
            std::fs::write(temp.path().join(file), "").unwrap();
        }
        assert_eq!(of(Some(&root)), []);
        for (file, part) in [
            ("report.odt", Part::Root),
            (".bashrc", Part::Root),
            ("ada.token", Part::Root),
            ("uploads/notes.txt", Part::Uploads),
            ("uploads/7/a.txt", Part::Uploads),
            ("uploads/photos/a.jpg", Part::Uploads),
            ("uploads/.staging/1.tmp", Part::Staging),
            ("state/uploads_state.json", Part::State),
            ("keys/ed25519.pk8", Part::Keys),
        ] {
            let path = temp.path().join(file);
            std::fs::write(&path, "").unwrap();
            let found = of(Some(&root));
            assert_eq!(found.len(), 1, "{file}: {found:?}");
            assert_eq!(found[0].part, part);
            assert!(file.contains(found[0].names[0].to_str().unwrap()), "{found:?}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn of_many_names_some_are_told() {
        let temp = tempfile::tempdir().unwrap();
        let root = Directory::at_path(temp.path()).unwrap();
        for number in 0..NAMES_MAX {
            std::fs::write(temp.path().join(number.to_string()), "").unwrap();
        }
        let names: Vec<OsString> = (0..NAMES_MAX).map(|number| number.to_string().into()).collect();
        let found = Contents { part: Part::Root, names, has_more: false };
        assert_eq!(of(Some(&root)), [found]);
        std::fs::write(temp.path().join("more"), "").unwrap();
        assert!(of(Some(&root))[0].has_more);
    }
}
