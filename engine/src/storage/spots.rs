//! Where a [`Spot`] lies: in the user's folder, or among what was removed or replaced.
//!
//! What was removed or replaced stays on the file system that it was on, for only there does a
//! rename or a link lead. So it is looked for on the usual one first, and then on each that is
//! mounted in the folder of its user.

use super::directory::{is_folder, is_plain_file, stamp};
use super::error::Place;
use super::file::length_bytes;
use super::user_folders::UserFolders;
use super::{Entry, Spot, StorageError, paths};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use towline_state::catalog::FileStamp;
use towline_types::{FileSize, Name, UserId};

/// The folder and the name of something, the folder seen from `uploads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) folder: PathBuf,
    pub(super) name: OsString,
}

impl Location {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// Where that spot lies on the file system that is mounted at that path, which is empty for the
/// usual one. A living thing lies in its place wherever that is.
pub(super) fn location(user: UserId, spot: &Spot, mount_point: &Path) -> Location {
    let (folder, name) = match spot {
        Spot::Living(path) => {
            (paths::final_folder(user, path), path.filename().as_str().to_owned())
        }
        Spot::Trash(node) => (paths::trash(mount_point, user), node.to_string()),
        Spot::BelowTrash { root, below } => {
            let mut folder = paths::trash(mount_point, user).join(root.to_string());
            let (name, above) = below.split_last().expect("a name below what was removed");
            folder.extend(above.iter().map(Name::as_str));
            (folder, name.as_str().to_owned())
        }
        Spot::Quarantine(document) => (paths::quarantine(mount_point, user), document.to_string()),
        Spot::Version(document) => (paths::versions(mount_point, user), document.to_string()),
    };
    Location { folder, name: name.into() }
}

/// The place of a spot, for messages.
pub(super) fn place(user: UserId, spot: &Spot) -> Place {
    match spot {
        Spot::Living(path) => paths::final_place(user, path),
        _ => paths::kept_place(&location(user, spot, Path::new("")).path()),
    }
}

/// Everywhere that spot may lie, the usual file system first.
pub(super) fn locations(folders: &UserFolders, user: UserId, spot: &Spot) -> Vec<Location> {
    let mut all = vec![location(user, spot, Path::new(""))];
    if !matches!(spot, Spot::Living(_)) {
        let points = folders.mount_points.of(user);
        all.extend(points.iter().map(|point| location(user, spot, point)));
    }
    all
}

/// Where that spot lies, and what lies there; `None` where nothing does.
///
/// # Errors
/// Where the disk is away on which it may lie, and where a folder on the way cannot be opened.
pub(super) fn find(
    folders: &UserFolders,
    user: UserId,
    spot: &Spot,
) -> Result<Option<(Location, Stat)>, StorageError> {
    const WHAT: &str = "look for what was kept";
    let opening = |errno| StorageError::opening(WHAT, errno);
    if let Spot::Living(path) = spot {
        let folder = paths::final_folder(user, path);
        folders.mount_points.refuse_if_away(&folder).map_err(opening)?;
    }
    let usual = location(user, spot, Path::new(""));
    if let Some(stat) = folders.look(&usual.folder, &usual.name).map_err(opening)? {
        return Ok(Some((usual, stat)));
    }
    if matches!(spot, Spot::Living(_)) {
        return Ok(None);
    }
    for location in locations(folders, user, spot).into_iter().skip(1) {
        if let Some(stat) = folders.look(&location.folder, &location.name).map_err(opening)? {
            return Ok(Some((location, stat)));
        }
    }
    folders.mount_points.refuse_if_any_is_away(user).map_err(opening)?;
    Ok(None)
}

/// See [`TreeStorage::is_there`](super::TreeStorage::is_there).
pub(super) fn entry(
    folders: &UserFolders,
    user: UserId,
    spot: &Spot,
) -> Result<Option<Entry>, StorageError> {
    const WHAT: &str = "look at what was kept";
    let Some((location, stat)) = find(folders, user, spot)? else { return Ok(None) };
    if is_folder(&stat) {
        return Ok(Some(Entry::Folder));
    }
    if !is_plain_file(&stat) {
        return Err(StorageError::in_the_way(WHAT));
    }
    let filesize = FileSize::try_from(length_bytes(&stat))
        .map_err(|_| StorageError::new(WHAT, Errno::OVERFLOW))?;
    let depth = folders.mount_points.depth(&location.folder);
    let mount_depth = depth.map_err(|errno| StorageError::opening(WHAT, errno))?;
    let stamp = FileStamp { mount_depth, ..stamp(&stat) };
    Ok(Some(Entry::File { filesize, stamp }))
}

/// Opens the file that lies in that spot, or that many names below it.
pub(super) fn open(
    folders: &UserFolders,
    user: UserId,
    spot: &Spot,
    below: &[Name],
) -> Result<Option<(File, FileSize, FileStamp)>, StorageError> {
    let Some((location, _)) = find(folders, user, spot)? else { return Ok(None) };
    let mut path = location.path();
    path.extend(below.iter().map(Name::as_str));
    folders.open_file(&path)
}
