//! A mark in a folder that `get -o NAME` has made, until all of it is there.
//!
//! `get photos -o new` makes `new`, and into a folder that is there it fetches `new/photos`. So the
//! same command again has to know whether it made that folder itself and did not come to its end.
//! The mark says so. The mark is an empty file. Its name looks like the name of a staging file, so
//! `put` leaves it out, and has a hash of the source, so another source is not fetched into that
//! folder.

use super::local_folder::LocalFolder;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::io;
use towline_types::PermissionBits;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Unfinished {
    folder: LocalFolder,
    name: String,
}

impl Unfinished {
    /// Whether the folder has the mark of that source.
    pub(crate) fn is_in(folder: &LocalFolder, source: &str) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(folder.fd(), mark_name(source), flags).is_ok()
    }

    /// Marks a folder that this fetch has made, or continues to fill.
    ///
    /// # Errors
    /// Where the folder takes no file.
    pub(crate) fn mark(folder: LocalFolder, source: &str) -> io::Result<Self> {
        let name = mark_name(source);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mark = Self { folder, name };
        let make = || {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::openat(mark.folder.fd(), mark.name.as_str(), flags, mode)
        };
        mark.with_access(|| make().map(drop))?;
        Ok(mark)
    }

    /// Removes the mark, because all of it is there. The folder keeps the permissions that it has
    /// by now.
    ///
    /// # Errors
    /// Where the mark cannot be removed.
    pub(crate) fn has_ended(self) -> io::Result<()> {
        let unlink =
            || rustix::fs::unlinkat(self.folder.fd(), self.name.as_str(), AtFlags::empty());
        let mode = rustix::fs::fstat(self.folder.fd())?.st_mode;
        match self.with_access(unlink) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if rustix::fs::fstat(self.folder.fd())?.st_mode != mode {
            rustix::fs::fchmod(self.folder.fd(), Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }

    /// The folder may be read-only, from an earlier run or from this one.
    fn with_access(&self, work: impl Fn() -> Result<(), Errno>) -> io::Result<()> {
        match work() {
            Err(Errno::ACCESS) => {
                self.folder.set_mode(PermissionBits::of_mode(0o700))?;
                Ok(work()?)
            }
            done => Ok(done?),
        }
    }
}

/// The hash is of a text with a zero byte, which is in no file's name. So the mark never has the
/// name of a staging file.
fn mark_name(source: &str) -> String {
    let hash = blake3::hash(format!("{source}\0").as_bytes()).to_hex();
    format!(".towline-{}.part", &hash[..16])
}
