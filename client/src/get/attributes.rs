//! The time and the permission bits that a file gets here.

use crate::source::Attributes;
use rustix::fs::{Mode, Timespec, Timestamps, UTIME_OMIT};
use std::fs::File;
use std::io;
use towline_types::{ModifiedTime, PermissionBits};

/// A file that is there already, with the bytes that it should have, gets the time and the
/// permission bits that the server has. What the server does not know stays, and so do the finer
/// parts of a time that is the same to the millisecond.
pub(super) fn restore(file: &File, there: Attributes) -> io::Result<()> {
    let here = Attributes::of(&file.metadata()?);
    if let Some(mode) = there.mode.filter(|mode| here.mode != Some(*mode)) {
        set_mode(file, mode)?;
    }
    if let Some(mtime) = there.mtime.filter(|mtime| here.mtime != Some(*mtime)) {
        set_mtime(file, mtime)?;
    }
    Ok(())
}

pub(super) fn set_mode(file: &File, mode: PermissionBits) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode.bits()))?)
}

pub(super) fn set_mtime(file: &File, mtime: ModifiedTime) -> io::Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = timespec(mtime);
    Ok(rustix::fs::futimens(file, &Timestamps { last_access, last_modification })?)
}

fn timespec(time: ModifiedTime) -> Timespec {
    let ms = time.as_ms();
    Timespec { tv_sec: ms.div_euclid(1000), tv_nsec: ms.rem_euclid(1000) * 1_000_000 }
}
