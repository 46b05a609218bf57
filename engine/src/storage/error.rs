//! What can go wrong with stored bytes, by whose business it is. What an error of the
//! system means is decided here and nowhere else: whether it passes, or stands for good.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why storage refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The final name has a file already. The person chooses another.
    #[error("a file of that name exists already")]
    Exists,
    /// A file has the name of one of the folders. Another file name does not help.
    #[error("a file stands where a folder is needed")]
    NotAFolder,
    /// The staging area exists although the upload is new. Recovery was skipped.
    #[error("the staging area exists already")]
    Occupied,
    /// The bytes are not what we left. The upload fails; it is never continued.
    #[error("the stored bytes were lost: {0}")]
    Lost(Loss),
    /// Something is used up. Freeing some of it helps.
    #[error("{resource}")]
    NoSpace {
        /// What is used up.
        resource: Resource,
        /// How many more bytes had to be free, where that is known; at least one.
        missing_bytes: Option<u64>,
        /// Where.
        place: Place,
    },
    /// The volume takes no changes: it is mounted so, or a sync failed before.
    #[error("the volume takes no changes: it is mounted read-only, or a sync failed earlier")]
    ReadOnly,
    /// A folder that the server holds open was removed: whatever was in it is not there any
    /// more, and nothing can be put there before the server starts anew.
    #[error("the folder was removed while the server uses it")]
    FolderRemoved {
        /// The folder.
        place: Place,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The device did not keep what was written. The volume is closed from now on.
    #[error("the device failed to keep what was written")]
    SyncFailed(#[source] io::Error),
    /// A symbolic link, a mount or a device lies where a file or folder of ours belongs.
    /// Trying again does not help.
    #[error("cannot {what}: something other than a plain file or folder is in the way")]
    Unsafe {
        /// What was being done.
        what: &'static str,
        /// Where.
        place: Place,
    },
    /// No file can be so large: the file system has no larger ones, or a limit of the
    /// server's process.
    #[error(
        "cannot {what}: the file is too large for the file system or for a limit of the process"
    )]
    TooLarge {
        /// What was being done.
        what: &'static str,
    },
    /// The system refuses this place or this name, and will refuse it again.
    #[error("cannot {what}")]
    Refused {
        /// What was being done.
        what: &'static str,
        /// Why.
        denial: Denial,
        /// Where.
        place: Place,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else the system says. It may pass: trying again can help.
    #[error("cannot {what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        place: Place,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a file system can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Resource {
    /// Room for bytes.
    #[error("the file system is full")]
    Bytes,
    /// Room for more files, however small.
    #[error("the file system has no room for more files (inodes)")]
    Files,
    /// What the quota of the server's user allows.
    #[error("the disk quota of the server's user is used up")]
    Quota,
}

/// Why the system refuses a place or a name for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The server's user may not do that there.
    Permission,
    /// The file system does not take a name of that length.
    NameTooLong,
    /// The file system does not take that name.
    BadName,
    /// The folder is on a file system that is mounted read-only; the rest is not.
    ReadOnly,
    /// The file system cannot do that at all.
    Impossible,
    /// What is to be moved, or a part of it, is on another file system than its new place.
    OtherFileSystem,
    /// A folder is to be moved below itself.
    IntoItself,
}

/// Where something went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Seen from the data folder: for the operator. Empty where it is not known.
    pub path: PathBuf,
    /// The same as the user of the document names it; nothing where it is no document's.
    pub document: Option<String>,
}

/// How stored bytes differ from what was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// No file has the name.
    #[error("the file is gone")]
    Missing,
    /// Another file has the name.
    #[error("the file was replaced")]
    Replaced,
    /// The name belongs to a folder, a link or a device.
    #[error("it is no longer a plain file")]
    NotAFile,
    /// It is what was verified no longer.
    #[error("its bytes have changed")]
    Altered,
    /// We may not read and write it.
    #[error("its permissions were changed")]
    Permissions,
    /// It is shorter or longer than it has to be.
    #[error("it has {found_bytes} bytes instead of {expected_bytes}")]
    Length {
        /// What it has to have, or at least.
        expected_bytes: u64,
        /// What it has.
        found_bytes: u64,
    },
}

/// What an error of the system comes to.
enum Meaning {
    /// The file system takes no changes until its operator has looked at it.
    ReadOnly,
    /// Something is used up.
    Short(Resource),
    /// The file cannot be so large.
    TooLarge,
    /// It stands for good.
    Denied(Denial),
    /// It may pass.
    Passing,
}

/// The one place that says which errors of the system pass and which stand for good.
const fn meaning(errno: Errno) -> Meaning {
    match errno {
        Errno::ROFS => Meaning::ReadOnly,
        Errno::NOSPC => Meaning::Short(Resource::Bytes),
        Errno::DQUOT => Meaning::Short(Resource::Quota),
        Errno::FBIG => Meaning::TooLarge,
        Errno::ACCESS | Errno::PERM => Meaning::Denied(Denial::Permission),
        Errno::NAMETOOLONG => Meaning::Denied(Denial::NameTooLong),
        Errno::INVAL | Errno::ILSEQ => Meaning::Denied(Denial::BadName),
        // A loop of links, a file in the way of a folder, another file system, more
        // folders in a folder than it can have, no such device, a call that is not known.
        Errno::LOOP
        | Errno::NOTDIR
        | Errno::ISDIR
        | Errno::XDEV
        | Errno::MLINK
        | Errno::NODEV
        | Errno::NXIO
        | Errno::OVERFLOW
        | Errno::NOSYS
        | Errno::OPNOTSUPP => Meaning::Denied(Denial::Impossible),
        // EIO, EAGAIN, EINTR, EBUSY, ESTALE, ENOENT (a folder was removed meanwhile), and
        // EMFILE, ENFILE and ENOMEM: nothing is wrong with the place.
        _ => Meaning::Passing,
    }
}

impl StorageError {
    /// Whether the system has run out of descriptors or memory: nothing is wrong
    /// with the bytes, and trying again helps.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self.errno(), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
    }

    /// Whether the disk, or the file system on it, does not give out what was written
    /// there. To try again does not help.
    pub(crate) fn is_damage(&self) -> bool {
        // The last two are what file systems say of a checksum that is wrong.
        matches!(self.errno(), Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG))
    }

    /// What the system said, where that is what it is about.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { source, .. }
            | Self::Refused { source, .. }
            | Self::FolderRemoved { source, .. }
            | Self::SyncFailed(source) => Errno::from_io_error(source),
            Self::NoSpace { resource: Resource::Quota, .. } => Some(Errno::DQUOT),
            Self::NoSpace { .. } => Some(Errno::NOSPC),
            _ => None,
        }
    }

    /// Where it went wrong, where that is known.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Io { place, .. }
            | Self::Refused { place, .. }
            | Self::Unsafe { place, .. }
            | Self::NoSpace { place, .. }
            | Self::FolderRemoved { place, .. } => Some(place),
            _ => None,
        }
    }

    /// The same with the place in it, unless a nearer one is known.
    pub(super) fn at(mut self, where_it_is: impl FnOnce() -> Place) -> Self {
        if let Self::Io { place, .. }
        | Self::Refused { place, .. }
        | Self::Unsafe { place, .. }
        | Self::NoSpace { place, .. } = &mut self
            && place.path.as_os_str().is_empty()
        {
            *place = where_it_is();
        }
        self
    }

    /// A published file that was opened cannot be read.
    pub(crate) fn unreadable(source: io::Error) -> Self {
        Self::Io { what: "read the published file", place: Place::default(), source }
    }

    /// For a store that has no such operation.
    pub(crate) fn unsupported(what: &'static str) -> Self {
        Self::new(what, Errno::OPNOTSUPP)
    }

    /// That number of bytes does not fit.
    pub(crate) fn no_room(missing_bytes: u64) -> Self {
        let (missing_bytes, place) = (Some(missing_bytes), Place::default());
        Self::NoSpace { resource: Resource::Bytes, missing_bytes, place }
    }

    /// What is to be moved would have to be copied.
    pub(super) fn other_file_system(what: &'static str) -> Self {
        let (place, source) = (Place::default(), Errno::XDEV.into());
        Self::Refused { what, denial: Denial::OtherFileSystem, place, source }
    }

    /// A folder is to be moved below itself.
    pub(super) fn into_itself(what: &'static str) -> Self {
        let (place, source) = (Place::default(), Errno::INVAL.into());
        Self::Refused { what, denial: Denial::IntoItself, place, source }
    }

    /// What is in the way is no plain file or folder.
    pub(super) fn in_the_way(what: &'static str) -> Self {
        Self::Unsafe { what, place: Place::default() }
    }

    /// What the system's answer means wherever nothing more is known about it.
    pub(super) fn new(what: &'static str, errno: Errno) -> Self {
        let (place, source) = (Place::default(), io::Error::from(errno));
        match meaning(errno) {
            Meaning::ReadOnly => Self::ReadOnly,
            Meaning::Short(resource) => Self::NoSpace { resource, missing_bytes: None, place },
            Meaning::TooLarge => Self::TooLarge { what },
            Meaning::Denied(denial) => Self::Refused { what, denial, place, source },
            Meaning::Passing => Self::Io { what, place, source },
        }
    }

    /// What it means when a path was being opened: `openat2` says `ELOOP` for a
    /// symbolic link and `EXDEV` for a way out of the data folder.
    pub(super) fn opening(what: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::XDEV => Self::in_the_way(what),
            Errno::NOTDIR => Self::NotAFolder,
            _ => Self::new(what, errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stands_for_good() {
        let of = |errno| StorageError::new("try", errno);
        for errno in [
            Errno::ACCESS,
            Errno::PERM,
            Errno::XDEV,
            Errno::INVAL,
            Errno::NAMETOOLONG,
            Errno::LOOP,
            Errno::NOTDIR,
        ] {
            assert!(matches!(of(errno), StorageError::Refused { .. }), "{errno}");
        }
        for errno in [
            Errno::IO,
            Errno::AGAIN,
            Errno::INTR,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::BUSY,
            Errno::STALE,
        ] {
            assert!(matches!(of(errno), StorageError::Io { .. }), "{errno}");
        }
        assert!(matches!(of(Errno::FBIG), StorageError::TooLarge { .. }));
        assert!(matches!(of(Errno::ROFS), StorageError::ReadOnly));
        for (errno, used_up) in [(Errno::NOSPC, Resource::Bytes), (Errno::DQUOT, Resource::Quota)] {
            // How much is missing is not known, and no number is made up.
            let StorageError::NoSpace { resource, missing_bytes: None, .. } = of(errno) else {
                panic!("{errno}")
            };
            assert_eq!(resource, used_up);
        }
    }
}
