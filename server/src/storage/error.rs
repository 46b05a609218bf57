//! What can go wrong with stored bytes, by whose business it is.

use rustix::io::Errno;
use std::io;

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
    /// The volume is full, or the quota used up. Freeing space helps.
    #[error("not enough space: {missing_bytes} bytes are missing")]
    NoSpace {
        /// How many more bytes had to be free; at least one.
        missing_bytes: u64,
    },
    /// The volume takes no changes: it is mounted so, or a sync failed before.
    #[error("the volume is read-only")]
    ReadOnly,
    /// The device did not keep what was written. The volume is closed from now on.
    #[error("the device failed to keep what was written")]
    SyncFailed(#[source] io::Error),
    /// A symbolic link, a mount or a device lies where a file or folder of ours belongs.
    #[error("{what}: something other than a plain file or folder is in the way")]
    Unsafe {
        /// What was being done.
        what: &'static str,
    },
    /// Anything else the system says.
    #[error("cannot {what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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

impl StorageError {
    /// Whether the system has run out of descriptors or memory: nothing is wrong
    /// with the bytes, and trying again helps.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        let errno = Errno::from_io_error(source);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
    }

    /// Whether the disk, or the file system on it, does not give out what was written
    /// there. To try again does not help.
    pub(crate) fn is_damage(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        let errno = Errno::from_io_error(source);
        // The last two are what file systems say of a checksum that is wrong.
        matches!(errno, Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG))
    }

    /// A published file that was opened cannot be read.
    pub(crate) const fn unreadable(source: io::Error) -> Self {
        Self::Io { what: "read the published file", source }
    }

    /// What the system's answer means wherever nothing more is known about it.
    pub(super) fn new(what: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::ROFS => Self::ReadOnly,
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace { missing_bytes: 1 },
            _ => Self::Io { what, source: errno.into() },
        }
    }

    /// What it means when a path was being opened: `openat2` says `ELOOP` for a
    /// symbolic link and `EXDEV` for a way out of the data folder.
    pub(super) fn opening(what: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::XDEV => Self::Unsafe { what },
            Errno::NOTDIR => Self::NotAFolder,
            _ => Self::new(what, errno),
        }
    }
}
