//! Whether other users of the machine may change the store, or read its keys and tokens.
//!
//! A server that serves such a store serves what those users have made of it: keys of their own,
//! another catalog. So a start looks at the owner and the mode of each folder and file that the
//! promises rest on, as `sshd` does (`StrictModes`), and says what mends each fault.

use super::directory::{Directory, is_plain_file};
use super::folder::FolderError;
use super::path_error::PathError;
use super::paths::{self, GuardedFile};
use crate::shell_word::shell_word;
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The bits of a mode: what the group may do, and what all others may do.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
const NOT_OWNER: u32 = 0o077;

/// Something that gives other users of the machine more rights than is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightsFault {
    /// The folder or file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: RightsFaultKind,
}

/// What is wrong with a folder or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsFaultKind {
    /// It belongs to another user than the one that the server runs as.
    Owner {
        /// The number of the user that it belongs to.
        owner: u32,
        /// The number of the user that the server runs as.
        service: u32,
    },
    /// The users of its group may write into it.
    GroupWrites,
    /// All users may write into it.
    OthersWrite,
    /// It is a secret, and other users may read it.
    OthersRead,
    /// It says what users do, and all users of the machine may read it.
    OthersReadRecords,
    /// It is a file with another name somewhere on the disk.
    Linked,
    /// A link, or another thing that is no plain file, has the name.
    NotAFile,
    /// The group of the folder may write into it, and is the server's own group. On many systems
    /// such a group has one user alone, so this is only a warning.
    OwnGroupWrites,
}

impl RightsFault {
    /// Whether a start goes on all the same, with a warning.
    #[must_use]
    pub const fn is_only_a_warning(&self) -> bool {
        matches!(self.kind, RightsFaultKind::OwnGroupWrites)
    }
}

impl fmt::Display for RightsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, word) = (self.path.display(), shell_word(&self.path));
        match self.kind {
            RightsFaultKind::Owner { owner, service: 0 } => write!(
                f,
                "{path} belongs to user {owner}, and this server runs as root. Run the server as that \
                 user, or give it to root: chown -R 0:0 {word}"
            ),
            RightsFaultKind::Owner { owner, service } => write!(
                f,
                "{path} belongs to user {owner}, and this server runs as user {service}. To mend it: \
                 chown -R {service} {word}"
            ),
            RightsFaultKind::GroupWrites => {
                write!(
                    f,
                    "other users of its group may write into {path}. To mend it: chmod g-w {word}"
                )
            }
            RightsFaultKind::OwnGroupWrites => write!(
                f,
                "users of the group of this server may write into {path}. Unless the group has no other \
                 users: chmod g-w {word}"
            ),
            RightsFaultKind::OthersWrite => write!(
                f,
                "everybody on this machine may write into {path}. To mend it: chmod go-w {word}"
            ),
            RightsFaultKind::OthersRead => {
                write!(
                    f,
                    "others on this machine may read {path}, a secret. To mend it: chmod 600 {word}"
                )
            }
            RightsFaultKind::OthersReadRecords => write!(
                f,
                "everybody on this machine may read {path}, which says what users do. To mend it: \
                 chmod o-r {word}"
            ),
            RightsFaultKind::Linked => write!(
                f,
                "{path} has another name somewhere else (a hard link), through which it may be \
                 changed. To mend it: cp -p {word} {word}.new && mv {word}.new {word}"
            ),
            RightsFaultKind::NotAFile => write!(
                f,
                "{path} is a link or no plain file. To mend it, put the file itself there"
            ),
        }
    }
}

/// A file that the operator has named and that lies outside of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutsideFile {
    /// A private key: its group may read it, so that a service can use the key of another program.
    PrivateKey,
    /// The audit log, which says what users do: its group may read it.
    AuditLog,
    /// A file that anybody may read.
    Public,
}

impl OutsideFile {
    /// What is wrong with the rights of the file. A link to it was followed.
    #[must_use]
    pub fn faults(self, path: &Path, metadata: &Metadata) -> Vec<RightsFault> {
        let mut found = Faults(Vec::new());
        let mode = metadata.mode();
        found.of_owner(path, metadata.uid());
        found.of_writers(path, mode, false);
        match self {
            Self::PrivateKey if mode & OTHERS_READ != 0 => {
                found.add(path, RightsFaultKind::OthersRead);
            }
            Self::AuditLog if mode & OTHERS_READ != 0 => {
                found.add(path, RightsFaultKind::OthersReadRecords);
            }
            Self::PrivateKey | Self::AuditLog | Self::Public => {}
        }
        found.0
    }
}

/// Everything that is wrong with the rights of the store at that path. Nothing is wrong where there
/// is no folder. Nothing is changed.
///
/// # Errors
/// Where the system does not let the folder be looked at.
pub(crate) fn look(data_dir: &Path) -> Result<Vec<RightsFault>, FolderError> {
    let path = std::path::absolute(data_dir);
    let data_dir = &*path.unwrap_or_else(|_| data_dir.to_owned());
    let root = match Directory::at_path(data_dir) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(data_dir, errno)),
    };
    let mut found = Faults(Vec::new());
    let about = rustix::fs::fstat(&root).map_err(|errno| failed(data_dir, errno))?;
    found.of_folder(data_dir, &about, true);
    for (below, is_shared) in paths::guarded_folders() {
        let path = data_dir.join(&below);
        let folder = match root.folder(&below) {
            Ok(folder) => folder,
            // What is missing, or no folder, is a matter of `identity.rs` and of the next step.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => continue,
            Err(errno) => return Err(failed(&path, errno)),
        };
        let about = rustix::fs::fstat(&folder).map_err(|errno| failed(&path, errno))?;
        found.of_folder(&path, &about, is_shared);
        if !is_shared {
            found.of_files(&path, &folder, &about)?;
        }
    }
    found.of_tokens(data_dir, &root)?;
    Ok(found.0)
}

/// What was found so far.
struct Faults(Vec<RightsFault>);

impl Faults {
    fn add(&mut self, path: &Path, kind: RightsFaultKind) {
        self.0.push(RightsFault { path: path.to_owned(), kind });
    }

    /// Root may change everything anyway, so what belongs to root is as safe as what is the
    /// server's own.
    fn of_owner(&mut self, path: &Path, owner: u32) {
        let service = geteuid().as_raw();
        if owner != service && owner != 0 {
            self.add(path, RightsFaultKind::Owner { owner, service });
        }
    }

    fn of_writers(&mut self, path: &Path, mode: u32, is_own_group: bool) {
        if mode & OTHERS_WRITE != 0 {
            self.add(path, RightsFaultKind::OthersWrite);
        } else if mode & GROUP_WRITES != 0 {
            let kind = match is_own_group {
                true => RightsFaultKind::OwnGroupWrites,
                false => RightsFaultKind::GroupWrites,
            };
            self.add(path, kind);
        }
    }

    /// `is_shared`: a folder that other programs may read documents in.
    fn of_folder(&mut self, path: &Path, about: &Stat, is_shared: bool) {
        self.of_owner(path, about.st_uid);
        let is_own_group = is_shared && about.st_gid == getegid().as_raw();
        self.of_writers(path, about.st_mode, is_own_group);
    }

    /// The keys and the catalog in their folder. Where no other user can get into it, only the owner
    /// of a file and its other names matter. The mode of a key is looked at all the same, because
    /// copies keep it.
    fn of_files(
        &mut self,
        path: &Path,
        folder: &Directory,
        about: &Stat,
    ) -> Result<(), FolderError> {
        let is_closed = about.st_mode & NOT_OWNER == 0;
        for name in folder.entries().map_err(|errno| failed(path, errno))? {
            let name = name.map_err(|errno| failed(path, errno))?;
            let Some(kind) = paths::guarded_file(&name) else { continue };
            let path = path.join(&name);
            let about = match folder.stat(&name) {
                Ok(about) => about,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(&path, errno)),
            };
            if !is_plain_file(&about) {
                self.add(&path, RightsFaultKind::NotAFile);
                continue;
            }
            self.of_owner(&path, about.st_uid);
            if kind == GuardedFile::Key && about.st_mode & NOT_OWNER != 0 {
                self.add(&path, RightsFaultKind::OthersRead);
            } else if !is_closed {
                self.of_writers(&path, about.st_mode, false);
            }
            if about.st_nlink > 1 {
                self.add(&path, RightsFaultKind::Linked);
            }
        }
        Ok(())
    }

    /// The files with tokens of users that lie in the data folder: secrets, whoever has made them.
    fn of_tokens(&mut self, data_dir: &Path, root: &Directory) -> Result<(), FolderError> {
        for name in root.entries().map_err(|errno| failed(data_dir, errno))? {
            let name = name.map_err(|errno| failed(data_dir, errno))?;
            if !paths::is_token(&name) {
                continue;
            }
            let is_open = |about: &Stat| is_plain_file(about) && about.st_mode & NOT_OWNER != 0;
            if root.stat(&name).is_ok_and(|about| is_open(&about)) {
                self.add(&data_dir.join(&name), RightsFaultKind::OthersRead);
            }
        }
        Ok(())
    }
}

fn failed(path: &Path, errno: Errno) -> FolderError {
    PathError::new("look at", path, errno.into()).into()
}

#[cfg(test)]
mod tests;
