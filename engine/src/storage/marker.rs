//! The marker: a small file in each part of the data folder that may be a mount of its own.
//! It says to which store the part belongs.
//!
//! A folder under a mount point looks the same whether its disk is mounted or not, and an
//! empty one looks like lost bytes. The marker tells the two apart.

use super::directory::Directory;
use super::paths;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use towline_types::StoreId;

/// A part of the data folder that may be a mount of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The data folder itself.
    Root,
    /// Final files.
    Uploads,
    /// Staging files.
    Staging,
    /// The catalog.
    State,
    /// The keys.
    Keys,
}

impl Part {
    /// All of them, outer folders before inner ones.
    pub const ALL: [Self; 5] = [Self::Root, Self::Uploads, Self::Staging, Self::State, Self::Keys];

    /// Where the part lies, seen from the data folder.
    #[must_use]
    pub fn below(self) -> PathBuf {
        match self {
            Self::Root => PathBuf::new(),
            Self::Uploads => paths::UPLOADS.into(),
            Self::Staging => Path::new(paths::UPLOADS).join(paths::STAGING),
            Self::State => paths::STATE.into(),
            Self::Keys => paths::KEYS.into(),
        }
    }

    /// The word for the part in its marker.
    fn word(self) -> &'static str {
        match self {
            Self::Root => "data",
            Self::Uploads => "uploads",
            Self::Staging => "staging",
            Self::State => "state",
            Self::Keys => "keys",
        }
    }

    /// Whether an entry of the part says nothing about a store: it belongs to the file
    /// system, is one of the other parts, or is left by a start that was cut off.
    pub(super) fn is_nothing(self, name: &std::ffi::OsStr) -> bool {
        let names: &[&str] = match self {
            Self::Root => &[paths::UPLOADS, paths::STATE, paths::KEYS, paths::LOCK],
            Self::Uploads => &[paths::STAGING],
            Self::Staging => &[paths::PROBE],
            Self::State => &paths::STATE_LOCKS,
            Self::Keys => &[],
        };
        paths::is_of_the_file_system(name)
            || paths::is_marker(name)
            || names.iter().any(|other| name == *other)
    }
}

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Which store the part belongs to.
    pub store_id: StoreId,
    /// Which part of it this is.
    pub part: Part,
}

/// A longer file is no marker.
const BYTES_MAX: u64 = 4096;

const HEAD: &str = "towline-store 1";

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store_id, part } = self;
        writeln!(f, "{HEAD}\nstore_id {store_id}\npart {}\n", part.word())?;
        writeln!(f, "This file says to which Towline store this folder belongs.")?;
        writeln!(f, "The server does not start where it is missing: leave it here, and copy it")?;
        writeln!(f, "together with the folder.")
    }
}

impl Marker {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let store_id = lines.next()?.strip_prefix("store_id ")?.parse().ok()?;
        let word = lines.next()?.strip_prefix("part ")?;
        let part = Part::ALL.into_iter().find(|part| part.word() == word)?;
        Some(Self { store_id, part })
    }

    /// Reads the marker of a folder. The outer `Option` is whether there is one, the inner
    /// one whether it reads as one.
    pub(super) fn read(folder: &Directory) -> Result<Option<Option<Self>>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match folder.file(paths::MARKER, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Some(None)),
            Err(errno) => return Err(errno),
        };
        let mut text = String::new();
        let read = file.take(BYTES_MAX).read_to_string(&mut text);
        Ok(Some(read.ok().and_then(|_| Self::parse(&text))))
    }

    /// Writes the marker into its folder, over another one where there is one. On return it
    /// survives a power cut: a start relies on it from then on.
    pub(super) fn write(self, folder: &Directory) -> Result<(), Errno> {
        // A temporary file of a start that was killed is written over.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let mut file = File::from(folder.file(paths::MARKER_TMP, flags, mode)?);
        let written = file.write_all(self.to_string().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::renameat(folder, paths::MARKER_TMP, folder, paths::MARKER)?;
        folder.sync()
    }
}

/// What was found in the place of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is no such folder.
    Missing,
    /// There is nothing in it that a store would leave there, and no marker.
    Empty,
    /// There are files in it, and no marker.
    Unmarked,
    /// A marker.
    Marked(Marker),
    /// The file with the marker's name is no marker.
    Damaged,
}

/// Looks at one part, from the folder at `data_dir`, and changes nothing.
pub(super) fn look(root: Option<&Directory>, part: Part) -> Result<Found, Errno> {
    let Some(root) = root else { return Ok(Found::Missing) };
    let opened;
    let folder = if part == Part::Root {
        root
    } else {
        match root.folder(part.below()) {
            Ok(folder) => {
                opened = folder;
                &opened
            }
            Err(Errno::NOENT) => return Ok(Found::Missing),
            Err(errno) => return Err(errno),
        }
    };
    match Marker::read(folder)? {
        Some(Some(marker)) => Ok(Found::Marked(marker)),
        Some(None) => Ok(Found::Damaged),
        None => {
            for name in folder.entries()? {
                if !part.is_nothing(&name?) {
                    return Ok(Found::Unmarked);
                }
            }
            Ok(Found::Empty)
        }
    }
}

/// The marker in the folder at that path: the outer `Option` is whether there is one, the
/// inner one whether it can be read as one.
pub(super) fn at(path: &Path) -> Option<Option<Marker>> {
    match Directory::at_path(path).and_then(|folder| Marker::read(&folder)) {
        Ok(found) => found,
        // A folder that may be passed through and not be read.
        Err(_) => path.join(paths::MARKER).symlink_metadata().is_ok().then_some(None),
    }
}

/// Whether there is anything in a folder of a user, which is one that is named by a number.
pub(super) fn has_folders_of_users(root: Option<&Directory>) -> Result<bool, Errno> {
    let Some(root) = root else { return Ok(false) };
    let uploads = match root.folder(paths::UPLOADS) {
        Ok(uploads) => uploads,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    for name in uploads.entries()? {
        let name = name?;
        if paths::folder_owner(&name).is_none() {
            continue;
        }
        // A file, or a folder that may not be read, is not a reason to refuse.
        let Ok(folder) = uploads.folder(&name) else { continue };
        for name in folder.entries()? {
            // Not the root of a disk on which nothing was stored yet.
            if !paths::is_of_the_file_system(&name?) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether something lies in the folder of a user, or at least the folder is there.
pub(super) fn has_folder_of(root: &Directory, user: towline_types::UserId) -> bool {
    let below = Path::new(paths::UPLOADS).join(paths::user_folder(user));
    rustix::fs::statat(root, &below, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_and_nothing_else_does() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Directory::at_path(temp.path()).unwrap();
        let store_id: StoreId = "5f1c0a9e7b3d42688e21c4f09d6ab735".parse().unwrap();
        assert_eq!(Marker::read(&folder), Ok(None));
        for part in Part::ALL {
            let marker = Marker { store_id, part };
            marker.write(&folder).unwrap();
            assert_eq!(Marker::read(&folder), Ok(Some(Some(marker))));
        }
        assert_eq!(temp.path().read_dir().unwrap().count(), 1, "no temporary file stays");
        let path = temp.path().join(paths::MARKER);
        for text in ["", "towline-store 1\n", "towline-store 2\nstore_id x\npart data\n", "\u{0}"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Marker::read(&folder), Ok(Some(None)), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(Marker::read(&folder), Ok(Some(None)), "no link is followed");
    }
}
