//! A folder of a user that holds no document yet.

use super::directory::is_folder;
use super::error::StorageError;
use super::paths;
use super::relocate;
use super::user_folders::Missing;
use super::volume::Volume;
use crate::failpoint;
use rustix::io::Errno;
use std::ffi::OsStr;
use towline_types::{DocumentPath, UserId};

const WHAT: &str = "make the folder";

/// See [`TreeStorage::make_folder`](super::TreeStorage::make_folder). Each folder is made in the one
/// above, and that one is synced (P3), also where an earlier process made it and was killed (P4).
pub(super) fn make(
    volume: &Volume,
    user: UserId,
    folder: &DocumentPath,
) -> Result<(), StorageError> {
    volume.latch.refuse_if_closed()?;
    let folders = &volume.user_folders;
    let made = match folders.open_folder(&paths::final_file(user, folder), Missing::Make) {
        Err(Errno::NOTDIR) if is_file(volume, user, folder) => return Err(StorageError::Exists),
        made => made.map_err(|errno| StorageError::opening(WHAT, errno))?,
    };
    failpoint::reach("folder.made");
    let synced = folders.sync_parents(&made, &volume.latch);
    synced.map_err(|error| relocate::on_its_volume(&made, error))
}

/// Whether it is the folder's own name that a file has.
fn is_file(volume: &Volume, user: UserId, folder: &DocumentPath) -> bool {
    let (above, name) = (paths::final_folder(user, folder), folder.filename().as_str());
    let found = volume.user_folders.look(&above, OsStr::new(name));
    matches!(found, Ok(Some(stat)) if !is_folder(&stat))
}
