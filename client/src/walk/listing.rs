//! The entries of one folder.

use super::Order;
use std::ffi::{OsStr, OsString};
use std::fs::{DirEntry, FileType, Metadata, ReadDir};
use std::io;
use std::path::Path;
use towline_types::Name;

/// A folder of at most that number of entries is read in order of name. Of a larger one the
/// first entries are, and the rest comes in the order of the file system: so a folder of a
/// million files costs no more memory than this.
const SORTED_MAX: usize = 32_768;

/// One entry of a folder.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: OsString,
    /// Of the entry itself, not of what a link leads to.
    pub(super) kind: FileType,
    entry: DirEntry,
}

impl Listed {
    fn of(entry: DirEntry) -> io::Result<Self> {
        Ok(Self { name: entry.file_name(), kind: entry.file_type()?, entry })
    }

    /// What the system says of it: with `follows_links`, of what a link leads to.
    pub(super) fn metadata(&self, follows_links: bool, path: &Path) -> io::Result<Metadata> {
        let is_followed = follows_links && self.kind.is_symlink();
        if is_followed { path.metadata() } else { self.entry.metadata() }
    }
}

/// What a server sorts names by. A text that is no name on a server has no place among the others.
fn server_key(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    Name::recorded(&*text).map_or_else(|_| text.to_string(), |name| name.key())
}

/// The entries of a folder that were not handed over yet.
#[derive(Debug)]
pub(super) struct Listing {
    sorted: std::vec::IntoIter<Listed>,
    rest: Option<ReadDir>,
}

impl Listing {
    pub(super) fn of(folder: &Path, order: Order) -> io::Result<Self> {
        let mut entries = std::fs::read_dir(folder)?;
        if order == Order::OfServer {
            let mut all =
                entries.map(|entry| Listed::of(entry?)).collect::<io::Result<Vec<_>>>()?;
            all.sort_by_cached_key(|listed| (server_key(&listed.name), listed.name.clone()));
            return Ok(Self { sorted: all.into_iter(), rest: None });
        }
        let first = entries.by_ref().take(SORTED_MAX);
        let mut sorted = first.map(|entry| Listed::of(entry?)).collect::<io::Result<Vec<_>>>()?;
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        let rest = (sorted.len() == SORTED_MAX).then_some(entries);
        Ok(Self { sorted: sorted.into_iter(), rest })
    }

    /// Whether the folder has no entry at all.
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.as_slice().is_empty()
    }

    /// Whether an entry of that name is among the first ones, or may be among the rest.
    pub(super) fn has(&self, name: &str) -> bool {
        self.rest.is_some() || self.sorted.as_slice().iter().any(|listed| listed.name == name)
    }
}

impl Iterator for Listing {
    type Item = io::Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(listed) = self.sorted.next() {
            return Some(Ok(listed));
        }
        let next = self.rest.as_mut()?.next();
        // After an error the system may say it again for ever.
        if !matches!(next, Some(Ok(_))) {
            self.rest = None;
        }
        next.map(|entry| Listed::of(entry?))
    }
}
