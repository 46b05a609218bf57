//! A path to what is held open. It leads there whatever names that has by now.

use rustix::fd::{AsRawFd as _, BorrowedFd};
use rustix::fs::{fstat, stat};
use std::path::PathBuf;

/// See the module's description. Good as long as the descriptor is open. Nothing where the system has no
/// such paths, or `/proc` is not there.
pub(crate) fn held_path(held: BorrowedFd<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    let (there, here) = (stat(&path).ok()?, fstat(held).ok()?);
    ((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)).then_some(path)
}

/// The name that it has now, for messages: the system says it where it can.
pub(crate) fn name_now(held: BorrowedFd<'_>) -> Option<PathBuf> {
    let name = rustix::fs::readlink(held_path(held)?, Vec::new()).ok()?.into_bytes();
    let name =
        PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(name));
    let there = stat(&name).ok()?;
    let here = fstat(held).ok()?;
    ((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)).then_some(name)
}
