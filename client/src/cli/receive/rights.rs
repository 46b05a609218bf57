//! Whether another user of the machine could put another folder in the place of DIR, or of what lands in
//! it: whoever may rename DIR, or a folder that it lies in.
//!
//! Then the store's files that are opened by their path, and what a sender sends, would come to a place
//! that this user has chosen, and could replace what the person owns there (P6, P7). So all folders from
//! DIR up to the root are looked at, as `sshd` does (`StrictModes`).

use super::private_group::is_private;
use crate::get::local_folder::LocalFolder;
use crate::system::in_words;
use crate::text::{shell_word, shown};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, Stat};
use std::io;
use std::path::Path;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// A folder on the way needs no more than to be passed through.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What another user may do with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It belongs to that user.
    Owner,
    /// The users of its group may rename what lies in it.
    Group,
    /// So may everybody.
    Everybody,
}

/// Why a folder is not safe, in words for a person.
#[derive(Debug)]
pub(super) struct Unsafe {
    pub(super) message: String,
    /// What mends it.
    pub(super) advice: String,
}

/// Looks whether others could move the folder away, or rename something in it.
///
/// Each folder is opened from the one in it, from DIR on upwards, and not by a path. So those that are
/// looked at are those that DIR lies in; and as no other user may write in the one that was looked at
/// before, no other user can take DIR out of it afterwards.
///
/// # Errors
/// With the folder, and what mends it.
pub(super) fn refuse_others(dir: &LocalFolder, user: u32) -> Result<(), Unsafe> {
    let failed = |path: &Path, error: &io::Error| {
        let message = format!("{} cannot be looked at: {}", shown(path), in_words(error));
        Unsafe { message, advice: "choose a folder of your own".to_owned() }
    };
    let mut path = dir.path();
    let mut about = dir.about().map_err(|error| failed(path, &error))?;
    let mut above: Option<OwnedFd> = None;
    loop {
        let here = above.as_ref().map_or_else(|| dir.fd(), |fd| fd.as_fd());
        if let Some(fault) = fault(here, &about, user) {
            return Err(told(dir.path(), path, fault, about.st_uid == user));
        }
        let next = rustix::fs::openat(here, "..", PASS, Mode::empty())
            .and_then(|next| Ok((rustix::fs::fstat(&next)?, next)));
        let upper = path.parent().unwrap_or(path);
        let (next_about, next) = next.map_err(|errno| failed(upper, &errno.into()))?;
        // The root lies in itself.
        if (next_about.st_dev, next_about.st_ino) == (about.st_dev, about.st_ino) {
            return Ok(());
        }
        (path, about, above) = (upper, next_about, Some(next));
    }
}

fn fault(folder: BorrowedFd<'_>, about: &Stat, user: u32) -> Option<Fault> {
    let mode = about.st_mode;
    // Root may rename everything anyway.
    if ![0, user].contains(&about.st_uid) {
        return Some(Fault::Owner);
    }
    // With the sticky bit only the owner of a thing may rename it, and that was looked at.
    if mode & STICKY != 0 {
        return None;
    }
    if mode & OTHERS_WRITE != 0 {
        return Some(Fault::Everybody);
    }
    let by_group = mode & GROUP_WRITES != 0 && !is_private(folder, about.st_gid, user);
    by_group.then_some(Fault::Group)
}

fn told(dir: &Path, folder: &Path, fault: Fault, is_own: bool) -> Unsafe {
    let is_above = folder != dir;
    let (dir, place, word) = (shown(dir), shown(folder), shell_word(folder));
    let who = match fault {
        Fault::Owner => format!("{place} belongs to another user"),
        Fault::Group => format!("the users of its group may rename what lies in {place}"),
        Fault::Everybody => format!("all users of this machine may rename what lies in {place}"),
    };
    let message = match (is_above, fault) {
        (false, Fault::Owner) => format!("{who}, who could rename what arrives"),
        (false, _) => who,
        (true, Fault::Owner) => {
            format!("{who}, who could put something else in the place of {dir}")
        }
        (true, _) => format!("{who}, and so put something else in the place of {dir}"),
    };
    let advice = match fault {
        Fault::Group if is_own => format!("to mend it: chmod g-w {word}"),
        Fault::Everybody if is_own => format!("to mend it: chmod go-w {word}"),
        _ => "choose a folder of your own".to_owned(),
    };
    Unsafe { message, advice }
}
