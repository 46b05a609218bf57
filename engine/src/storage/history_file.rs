//! The history file: how far the catalog had come when the server last looked, kept outside of the
//! folder of the catalog. The server notices by this file that an older catalog was put in the
//! place of the newer one.

use super::directory::Directory;
use super::paths;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use towline_state::catalog::History;
use towline_types::StoreId;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenHistory {
    /// Whose catalog it was.
    pub(crate) store_id: StoreId,
    /// How far it had come.
    pub(crate) history: History,
}

const HEAD: &str = "towline-history 1";

/// The most bytes that are read of the file, which is much shorter.
const BYTES_MAX: u64 = 4096;

impl fmt::Display for SeenHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store_id, history: History { epoch, changes, documents, nodes } } = self;
        writeln!(f, "{HEAD}\nstore_id {store_id}\nepoch {epoch}\nchanges {changes}")?;
        writeln!(f, "documents {documents}\nnodes {nodes}\n")?;
        writeln!(
            f,
            "This file says how far the catalog in state/ has come. Where an older copy of"
        )?;
        writeln!(f, "the catalog is put back, the server notices it by this file. Leave it here;")?;
        writeln!(f, "no backup needs it.")
    }
}

impl SeenHistory {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let store_id = value("store_id")?.parse().ok()?;
        let mut number = |key| value(key)?.parse().ok();
        let history = History {
            epoch: number("epoch")?,
            changes: number("changes")?,
            documents: number("documents")?,
            nodes: number("nodes")?,
        };
        Some(Self { store_id, history })
    }

    /// Reads the file in that folder. The outer `Option` says whether there is one, the inner one
    /// whether it can be read.
    pub(super) fn read(folder: &Directory) -> Result<Option<Option<Self>>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match folder.file(paths::HISTORY, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Some(None)),
            Err(errno) => return Err(errno),
        };
        let mut text = String::new();
        let read = file.take(BYTES_MAX).read_to_string(&mut text);
        Ok(Some(read.ok().and_then(|_| Self::parse(&text))))
    }

    /// Writes the file, in the place of an earlier one. After a crash there is the earlier one or
    /// this one.
    pub(super) fn write(self, folder: &Directory) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file =
            File::from(folder.file(paths::HISTORY_TMP, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(self.to_string().as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::renameat(folder, paths::HISTORY_TMP, folder, paths::HISTORY)?;
        folder.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_and_nothing_else_does() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Directory::at_path(temp.path()).unwrap();
        let store_id: StoreId = "5f1c0a9e7b3d42688e21c4f09d6ab735".parse().unwrap();
        assert_eq!(SeenHistory::read(&folder), Ok(None));
        for epoch in [0, u64::MAX] {
            let history = History { epoch, changes: 2, documents: 3, nodes: 4 };
            let seen = SeenHistory { store_id, history };
            seen.write(&folder).unwrap();
            assert_eq!(SeenHistory::read(&folder), Ok(Some(Some(seen))));
        }
        assert_eq!(temp.path().read_dir().unwrap().count(), 1, "no temporary file stays");
        let path = temp.path().join(paths::HISTORY);
        for text in ["", "towline-history 1\n", "towline-history 2\nstore_id x\n", "\u{0}"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(SeenHistory::read(&folder), Ok(Some(None)), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(SeenHistory::read(&folder), Ok(Some(None)), "no link is followed");
    }
}
