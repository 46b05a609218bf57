//! A name that nothing has, for a file that is there. Nothing else renames or links.

use super::directory::Directory;
use rustix::fs::{AtFlags, RenameFlags};
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
