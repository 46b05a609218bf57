//! New names for files and folders that have a name. A file that has none gets its first one in
//! `unnamed.rs`, and `marker.rs` puts a marker in its place; nothing else renames or links.

use super::directory::{Directory, is_folder};
use rustix::fs::{AtFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;

/// How a file came to its new name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// In one step.
    Renamed,
    /// It has both names now. The old one may go when the new one is durable; sooner,
    /// and a power cut could take both (P3).
    OldNameStays,
}

/// Gives a file a name that nothing has, or says `EEXIST` and changes nothing.
pub(super) fn move_to_free_name(
    from: &Directory,
    old: &OsStr,
    to: &Directory,
    new: &OsStr,
) -> Result<Moved, Errno> {
    let answer = match rename_to_free_name(from, old, to, new) {
        Ok(()) => return Ok(Moved::Renamed),
        // To link refuses a name that is taken, just as well.
        Err(errno) if knows_no_noreplace(errno) => link(from, old, to, new),
        Err(errno) => Err(errno),
    };
    match answer {
        // An earlier call linked the file and was killed before it removed the old
        // name. Then what has the new name is no other file.
        Err(Errno::EXIST) if is_same_file(from, old, to, new)? => Ok(Moved::OldNameStays),
        answer => answer,
    }
}

/// The same in one step, where the file system knows that.
pub(super) fn rename_to_free_name(
    from: &Directory,
    old: &OsStr,
    to: &Directory,
    new: &OsStr,
) -> Result<(), Errno> {
    rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE)
}

/// As [`move_to_free_name`], for a file or a whole folder, of which `stat` says what it is.
pub(super) fn move_entry_to_free_name(
    (from, old): (&Directory, &OsStr),
    (to, new): (&Directory, &OsStr),
    stat: &Stat,
) -> Result<Moved, Errno> {
    match rename_to_free_name(from, old, to, new) {
        Ok(()) => Ok(Moved::Renamed),
        // A folder has no second name. Between the look and the rename another program may make
        // an empty folder of that name, which the rename then replaces: nothing is lost.
        Err(errno) if knows_no_noreplace(errno) && is_folder(stat) => match to.stat(new) {
            Err(Errno::NOENT) => rustix::fs::renameat(from, old, to, new).map(|()| Moved::Renamed),
            Ok(_) => Err(Errno::EXIST),
            Err(errno) => Err(errno),
        },
        Err(errno) if knows_no_noreplace(errno) => match link(from, old, to, new) {
            Err(Errno::EXIST) => old_name_stays((from, old), (to, new)),
            linked => linked,
        },
        Err(Errno::EXIST) if !is_folder(stat) => old_name_stays((from, old), (to, new)),
        Err(errno) => Err(errno),
    }
}

/// Whether an earlier call linked a file and was killed before it removed the old name; else the
/// new name is taken. On a file system that does not tell `doc` from `Doc`, both lead to one file
/// that has one name: that must not be removed, so the listing of the folder decides.
fn old_name_stays(
    (from, old): (&Directory, &OsStr),
    (to, new): (&Directory, &OsStr),
) -> Result<Moved, Errno> {
    if !is_same_file(from, old, to, new)? {
        return Err(Errno::EXIST);
    }
    let (from_stat, to_stat) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    if (from_stat.st_dev, from_stat.st_ino) == (to_stat.st_dev, to_stat.st_ino) {
        let mut found = 0;
        for name in from.entries()? {
            let name = name?;
            found += usize::from(name == old || name == new);
        }
        if found < 2 {
            return Err(Errno::EXIST);
        }
    }
    Ok(Moved::OldNameStays)
}

/// Gives a file the name of another one, in one step: that one loses it.
pub(super) fn replace_name(
    (from, old): (&Directory, &OsStr),
    (to, new): (&Directory, &OsStr),
) -> Result<(), Errno> {
    rustix::fs::renameat(from, old, to, new)
}

/// Gives a file a second name that nothing has.
pub(super) fn add_name(
    (from, old): (&Directory, &OsStr),
    (to, new): (&Directory, &OsStr),
) -> Result<(), Errno> {
    link(from, old, to, new).map(drop)
}

/// Whether that file cannot have a second name: its file system knows none, or the system allows
/// none for a file of another user.
pub(super) const fn knows_no_links(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK)
}

/// Some network and user-space file systems do not, and some sandboxes.
pub(super) const fn knows_no_noreplace(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn link(from: &Directory, old: &OsStr, to: &Directory, new: &OsStr) -> Result<Moved, Errno> {
    rustix::fs::linkat(from, old, to, new, AtFlags::empty())?;
    Ok(Moved::OldNameStays)
}

/// Whether both names lead to one file.
pub(super) fn is_same_file(
    from: &Directory,
    old: &OsStr,
    to: &Directory,
    new: &OsStr,
) -> Result<bool, Errno> {
    let (old, new) = (from.stat(old)?, to.stat(new)?);
    Ok((old.st_dev, old.st_ino) == (new.st_dev, new.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_to_the_same_file_is_removed_only_where_there_are_two() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("old"), "bytes").unwrap();
        std::fs::hard_link(temp.path().join("old"), temp.path().join("new")).unwrap();
        let folder = Directory::at_path(temp.path()).unwrap();
        let at = |name| (&folder, OsStr::new(name));
        let stat = folder.stat("old").unwrap();
        let moved = move_entry_to_free_name(at("old"), at("new"), &stat);
        assert_eq!(moved, Ok(Moved::OldNameStays));
        // As a file system says that does not tell upper case from lower case.
        assert_eq!(old_name_stays(at("old"), at("old")), Err(Errno::EXIST));
    }

    #[test]
    fn a_link_moves_without_replacing_and_is_taken_up_where_it_was_cut_off() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("old"), "new bytes").unwrap();
        std::fs::write(temp.path().join("taken"), "old bytes").unwrap();
        let folder = Directory::at_path(temp.path()).unwrap();
        let name = OsStr::new;

        let refused = link(&folder, name("old"), &folder, name("taken"));
        assert_eq!(refused, Err(Errno::EXIST));
        assert_eq!(std::fs::read(temp.path().join("taken")).unwrap(), b"old bytes");

        let linked = link(&folder, name("old"), &folder, name("new"));
        assert_eq!(linked, Ok(Moved::OldNameStays));
        let again = move_to_free_name(&folder, name("old"), &folder, name("new"));
        assert_eq!(again, Ok(Moved::OldNameStays));
        let taken = move_to_free_name(&folder, name("old"), &folder, name("taken"));
        assert_eq!(taken, Err(Errno::EXIST));
    }
}
