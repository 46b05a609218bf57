//! Whether a data folder is the one that its catalog speaks of, all of it.
//!
//! A disk that is not mounted looks like a folder whose files are lost. Nothing that was
//! promised may be given up for that (P1), so a start first holds the marker of each part
//! against the catalog. Where they do not agree the start is refused, and nothing has been
//! made or changed by then.

use crate::storage::{DataFolder, FolderError, Found, Look, Part};
use std::fmt;
use std::path::{Path, PathBuf};
use towline_protocol::{StoreId, Timestamp, UserId};
use towline_state::catalog::{Catalog, CatalogError, Peek};

/// Why a data folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data folder cannot be looked at, or not be marked.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The catalog cannot be looked at.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A part of the data folder is not what it should be.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// There is no store, and only a server's start makes one.
    #[error(
        "there is no Towline store in {}; only the server makes one, at its first start. Name \
         the server's data folder with --data-dir DIR, --config FILE or TOWLINE_DATA_DIR",
        path.display()
    )]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
}

/// What is wrong with a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    path: PathBuf,
    store_id: Option<StoreId>,
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// There is no such part.
    Missing(Part),
    /// There is nothing in it.
    Empty(Part),
    /// There are files in it and no marker.
    Unmarked(Part),
    /// The marker cannot be read.
    Damaged(Part),
    /// It belongs to another store.
    Foreign(Part, StoreId),
    /// It is another part of the store.
    OtherPart(Part, Part),
    /// There is no catalog, but a part of a store that must have had one.
    NoCatalog(Part, StoreId),
    /// The catalog is older than its identity, and cannot be the one of this store.
    OlderCatalog(Part, StoreId),
    /// The catalog knows nothing, but there are folders of users.
    FoldersWithoutCatalog,
    /// Documents of this user were completed, and the user's folder is missing.
    NoFolderOf(UserId),
    /// Uploads have received bytes, and there is no staging file.
    NoStagingFiles,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        writeln!(f, "{path} is not the whole store, so it is not used. Nothing was changed.")?;
        for fault in &self.faults {
            writeln!(f, "  {}", Told { fault, path: &self.path, store_id: self.store_id })?;
        }
        let remedy = if self.faults.iter().any(Fault::is_of_the_catalog) {
            "Mount the disk with state/, or put the backup of state/ back, and start again."
        } else {
            "Mount the disk that is missing, or put the backup of that folder back, and start again."
        };
        writeln!(f, "{remedy}")?;
        write!(
            f,
            "Only if what is missing is lost for good, or the folders shall be taken as they are: \
             start the server once with --adopt-folders."
        )
    }
}

impl Fault {
    const fn is_of_the_catalog(&self) -> bool {
        matches!(self, Self::NoCatalog(..) | Self::OlderCatalog(..) | Self::FoldersWithoutCatalog)
    }
}

/// A fault for the person who reads it.
struct Told<'a> {
    fault: &'a Fault,
    path: &'a Path,
    store_id: Option<StoreId>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |part: Part| {
            let path = self.path.join(part.below());
            path.display().to_string().trim_end_matches('/').to_owned()
        };
        let ours =
            self.store_id.map_or_else(|| "this store".to_owned(), |id| format!("store {id}"));
        match self.fault {
            Fault::Missing(part) => {
                write!(f, "{} is missing; it should belong to {ours}", at(*part))
            }
            Fault::Empty(part) => write!(f, "{} is empty; it should belong to {ours}", at(*part)),
            Fault::Unmarked(part) => write!(
                f,
                "{} has no marker file (.towline-store), which would say that it belongs to {ours}",
                at(*part)
            ),
            Fault::Damaged(part) => {
                write!(f, "{}/.towline-store cannot be read as a marker file", at(*part))
            }
            Fault::Foreign(part, other) => {
                write!(f, "{} belongs to store {other}, not to {ours}", at(*part))
            }
            Fault::OtherPart(part, other) => {
                write!(f, "{} is the folder that belongs at {} of the store", at(*part), at(*other))
            }
            Fault::NoCatalog(part, id) => write!(
                f,
                "there is no catalog in {}, but {} belongs to store {id}, which had one",
                at(Part::State),
                at(*part)
            ),
            Fault::OlderCatalog(part, id) => write!(
                f,
                "the catalog in {} is older than the marker of {}, which belongs to store {id}",
                at(Part::State),
                at(*part)
            ),
            Fault::FoldersWithoutCatalog => write!(
                f,
                "there is no catalog in {}, or an empty one, but there are files of users in {}",
                at(Part::State),
                at(Part::Uploads)
            ),
            Fault::NoFolderOf(user) => write!(
                f,
                "{}/{user} is missing, though user {user} has completed documents",
                at(Part::Uploads)
            ),
            Fault::NoStagingFiles => write!(
                f,
                "{} has no file, though unfinished uploads have received bytes",
                at(Part::Staging)
            ),
        }
    }
}

/// The rule: what is wrong, given what was found. Pure but for the look at users' folders.
fn faults(
    parts: &[(Part, Found)],
    has_folders_of_users: bool,
    peek: &Peek,
    has_folder_of: impl Fn(UserId) -> bool,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_marked = peek.store.is_some_and(|store| store.marked_at.is_some());
    for &(part, found) in parts {
        let fault = match (found, peek.store) {
            (Found::Marked(marker), Some(store)) if marker.store_id != store.store_id => {
                Fault::Foreign(part, marker.store_id)
            }
            (Found::Marked(marker), Some(_)) if marker.part != part => {
                Fault::OtherPart(part, marker.part)
            }
            (Found::Marked(_), Some(_)) => continue,
            (Found::Marked(marker), None) if peek.has_users || peek.has_documents => {
                Fault::OlderCatalog(part, marker.store_id)
            }
            (Found::Marked(marker), None) => Fault::NoCatalog(part, marker.store_id),
            (Found::Damaged, _) => Fault::Damaged(part),
            (Found::Missing, _) if is_marked => Fault::Missing(part),
            (Found::Empty, _) if is_marked => Fault::Empty(part),
            (Found::Unmarked, _) if is_marked => Fault::Unmarked(part),
            // A first start, one that was cut off, or the first one of a Towline that marks.
            (Found::Missing | Found::Empty | Found::Unmarked, _) => continue,
        };
        faults.push(fault);
    }
    if is_marked || !faults.is_empty() {
        return faults;
    }
    let is_there = |part| {
        let found = parts.iter().find(|(other, _)| *other == part).map(|(_, found)| *found);
        !matches!(found, None | Some(Found::Missing | Found::Empty))
    };
    if !peek.has_users && !peek.has_documents {
        if has_folders_of_users {
            faults.push(Fault::FoldersWithoutCatalog);
        }
        return faults;
    }
    // A store that was never marked: the folders must look like those of its catalog.
    let missing = peek.owners.iter().filter(|owner| !has_folder_of(**owner));
    faults.extend(missing.map(|owner| Fault::NoFolderOf(*owner)));
    if peek.has_durable_uploads && !is_there(Part::Staging) {
        faults.push(Fault::NoStagingFiles);
    }
    faults
}

/// Holds the data folder against its catalog, and says what the catalog promises. Nothing is
/// made or changed. Blocks.
///
/// # Errors
/// [`IdentityError::Mismatch`] where something of the store is missing or of another store.
pub(crate) fn check(data_dir: &Path) -> Result<Peek, IdentityError> {
    let look = Look::at(data_dir)?;
    let peek = Peek::at(look.catalog_path())?;
    let has_folder_of = |user| look.has_folder_of(user);
    let faults = faults(&look.parts, look.has_folders_of_users, &peek, has_folder_of);
    if faults.is_empty() {
        return Ok(peek);
    }
    let store_id = peek.store.map(|store| store.store_id);
    Err(IdentityError::Mismatch(Mismatch { path: look.path().to_owned(), store_id, faults }))
}

/// The same for a server, which must be able to write there: unless the folders are to be
/// taken as they are.
pub(crate) fn check_unless(adopt: bool, data_dir: &Path) -> Result<(), IdentityError> {
    Look::at(data_dir)?.require_writable()?;
    if adopt { Ok(()) } else { check(data_dir).map(drop) }
}

/// The same for a command that works in a store and never makes one.
///
/// # Errors
/// As [`check`]; and [`IdentityError::NoStore`].
pub(crate) fn require(data_dir: &Path) -> Result<Peek, IdentityError> {
    let peek = check(data_dir)?;
    if peek.store.is_none() && !peek.has_users && !peek.has_documents {
        let path = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        return Err(IdentityError::NoStore { path });
    }
    Ok(peek)
}

/// Marks each part of the data folder as the catalog's. The catalog records it last: from
/// then on a part without its marker is one that is missing.
///
/// # Errors
/// Where a marker cannot be written, or the catalog does not record it.
pub(crate) fn mark(
    folder: &DataFolder,
    catalog: &Catalog,
    adopt: bool,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let store = catalog.store();
    if store.marked_at.is_some() && !adopt {
        return Ok(());
    }
    folder.mark(store.store_id)?;
    catalog.record_marked(now).wait()?;
    Ok(())
}
