//! Whether a data folder is the whole store that its catalog belongs to.
//!
//! A disk that is not mounted looks like a folder whose files are lost. No promise may be given up
//! for that (P1), so a start first compares the marker of each part with the catalog. If they do
//! not agree the start is refused, and nothing has been made or changed by then.

use crate::EngineConfig;
use crate::storage::{Contents, DataFolder, Enclosing, FolderError, Found, Look, Part};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use towline_state::catalog::{Catalog, CatalogError, Peek};
use towline_types::{StoreId, Timestamp, UserId};

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
    /// There is no store, and the server was told not to make one.
    #[error(
        "there is no Towline store in {}, and --require-store (require_store in the \
         configuration file) forbids to make one. Nothing was changed. If the store is on a disk \
         that is not mounted, mount it and start again. To make a new store, start the server \
         once without --require-store",
        path.display()
    )]
    NoneToServe {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The folder lies in another store, and no store is made inside another.
    #[error(
        "there is no Towline store in {path}: it lies in the store {store}, and no store is made \
         inside another one. Nothing was changed. Name that store with --data-dir {store}, or, for \
         a new one, a folder outside of it. Only if there is no store any more, remove {marker} and \
         try again",
        path = path.display(),
        store = store.path.display(),
        marker = store.marker.display()
    )]
    Inside {
        /// The folder that was named.
        path: PathBuf,
        /// The store around it.
        store: Enclosing,
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
    /// There is nothing in the part.
    Empty(Part),
    /// There are files in the part and no marker.
    Unmarked(Part),
    /// The marker cannot be read.
    Damaged(Part),
    /// The part belongs to another store.
    Foreign(Part, StoreId),
    /// The part is another part of the store.
    OtherPart(Part, Part),
    /// There is no catalog, but there is a part of a store that must have had one.
    NoCatalog(Part, StoreId),
    /// The catalog is older than the identity of stores, so it cannot be the one of this store.
    OlderCatalog(Part, StoreId),
    /// The catalog knows nothing, but there are folders of users.
    FoldersWithoutCatalog,
    /// Documents of this user were completed, and the user's folder is missing.
    NoFolderOf(UserId),
    /// Uploads have received bytes, and there is no staging file.
    NoStagingFiles,
    /// There is no catalog, but there are files in one of the parts that belong to a store.
    PartWithoutCatalog(Contents),
    /// There is no store, and the folder holds other things.
    NotEmpty(Contents),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if self.faults.iter().all(|fault| matches!(fault, Fault::NotEmpty(_))) {
            writeln!(
                f,
                "{path} holds no Towline store and is not empty, so no store is made there. Nothing \
                 was changed."
            )?;
        } else {
            writeln!(f, "{path} is not the whole store, so it is not used. Nothing was changed.")?;
        }
        // The line that the catalog of a store is missing is written once, however many parts of
        // the store are there without it.
        let mut without_catalog = Vec::new();
        for fault in &self.faults {
            if let Fault::NoCatalog(_, id) = fault {
                if without_catalog.contains(id) {
                    continue;
                }
                without_catalog.push(*id);
            }
            writeln!(f, "  {}", Told { fault, path: &self.path, store_id: self.store_id })?;
        }
        if self.faults.iter().any(|fault| matches!(fault, Fault::NotEmpty(_))) {
            writeln!(
                f,
                "For a new store, name a folder that is empty or does not exist yet: --data-dir DIR."
            )?;
        }
        let remedy = if self.faults.iter().any(|fault| matches!(fault, Fault::NotEmpty(_))) {
            "If a store was in this folder, its catalog is missing: mount the disk with state/, or \
             put state/ back from a backup (its README.txt says how), and start again."
        } else if self.faults.iter().any(Fault::is_of_the_catalog) {
            "Mount the disk with state/, or put state/ back from a backup (its README.txt says how), \
             and start again."
        } else {
            "Mount the disk that is missing, or put the backup of that folder back, and start again."
        };
        writeln!(f, "{remedy}")?;
        let when = if self.faults.iter().all(|fault| matches!(fault, Fault::NotEmpty(_))) {
            "a new store shall be made among these files"
        } else {
            "what is missing is lost for good, or the folders shall be taken as they are"
        };
        write!(f, "Only if {when}: start the server once with --adopt-folders.")
    }
}

impl Fault {
    const fn is_of_the_catalog(&self) -> bool {
        matches!(
            self,
            Self::NoCatalog(..)
                | Self::OlderCatalog(..)
                | Self::FoldersWithoutCatalog
                | Self::PartWithoutCatalog(_)
        )
    }
}

/// Writes a fault as a line for people.
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
            Fault::PartWithoutCatalog(contents) => write!(
                f,
                "there is no catalog in {}, or an empty one, but {} holds {}",
                at(Part::State),
                at(contents.part),
                Names(contents)
            ),
            Fault::NotEmpty(contents) => {
                write!(f, "{} holds {}", at(contents.part), Names(contents))
            }
        }
    }
}

/// Names of files and folders. Each may hold any character, so it is escaped.
struct Names<'a>(&'a Contents);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contents { names, has_more, .. } = self.0;
        let quoted = |name: &OsString| format!("{name:?}");
        f.write_str(&names.iter().map(quoted).collect::<Vec<_>>().join(", "))?;
        if *has_more { f.write_str(" and more") } else { Ok(()) }
    }
}

/// The rule: what is wrong, given what was found. It is a pure function, apart from
/// `has_folder_of`, which looks at the folders of users.
fn faults(
    Look { parts, has_folders_of_users, contents, .. }: &Look,
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
            // A first start, a first start that was cut off, or the first start of a version of
            // Towline that writes markers.
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
        if *has_folders_of_users {
            faults.push(Fault::FoldersWithoutCatalog);
        }
        if is_first_start(peek) {
            faults.extend(contents.iter().filter_map(|contents| match contents.part {
                Part::Root => Some(Fault::NotEmpty(contents.clone())),
                Part::Uploads if *has_folders_of_users => None,
                _ => Some(Fault::PartWithoutCatalog(contents.clone())),
            }));
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

/// Whether the start that finds this catalog would make a new store: there is no catalog, or
/// only the empty file of one.
fn is_first_start(peek: &Peek) -> bool {
    peek.store.is_none() && !peek.has_users && !peek.has_documents
}

/// What is wrong with the data folder, compared with its catalog. Nothing is made or changed.
fn mismatch(look: &Look, peek: &Peek) -> Mismatch {
    let faults = faults(look, peek, |user| look.has_folder_of(user));
    let store_id = peek.store.map(|store| store.store_id);
    Mismatch { path: look.path().to_owned(), store_id, faults }
}

pub(crate) fn refuse_inside_a_store(look: &Look, peek: &Peek) -> Result<(), IdentityError> {
    if !is_first_start(peek) {
        return Ok(());
    }
    match look.enclosing_store()? {
        Some(store) => Err(IdentityError::Inside { path: look.path().to_owned(), store }),
        None => Ok(()),
    }
}

/// Compares the data folder of a server that starts with its catalog. Nothing is made or changed.
/// Blocks.
///
/// If the folders are to be adopted, nothing in them is a reason to refuse. But no store is made
/// inside the folders of another one: it would serve the documents of that store (P6).
///
/// # Errors
/// Where a part of the store is missing or of another store, where the folder cannot become a
/// new one, and where the server may not write there.
pub fn check_for_server(config: &EngineConfig) -> Result<(), IdentityError> {
    let look = Look::at(&config.data_dir)?;
    look.require_writable()?;
    let peek = Peek::at(look.catalog_path())?;
    refuse_inside_a_store(&look, &peek)?;
    if config.adopt_folders {
        return Ok(());
    }
    let mismatch = mismatch(&look, &peek);
    if !mismatch.faults.is_empty() {
        return Err(IdentityError::Mismatch(mismatch));
    }
    if is_first_start(&peek) && config.require_store {
        return Err(IdentityError::NoneToServe { path: look.path().to_owned() });
    }
    Ok(())
}

/// The same check for a command that works in a store and never makes one.
///
/// # Errors
/// Where a part of the store is missing or of another store; and [`IdentityError::NoStore`].
pub fn require(data_dir: &Path) -> Result<Peek, IdentityError> {
    let look = Look::at(data_dir)?;
    let peek = Peek::at(look.catalog_path())?;
    refuse_inside_a_store(&look, &peek)?;
    let mut mismatch = mismatch(&look, &peek);
    // What lies in a folder without a store matters only where a store is to be made.
    mismatch.faults.retain(|fault| !matches!(fault, Fault::NotEmpty(_)));
    if !mismatch.faults.is_empty() {
        return Err(IdentityError::Mismatch(mismatch));
    }
    if is_first_start(&peek) {
        return Err(IdentityError::NoStore { path: look.path().to_owned() });
    }
    Ok(peek)
}

/// Writes the marker of the store into each part of the data folder. The catalog records that last:
/// from then on a part without its marker counts as missing.
///
/// # Errors
/// Where a marker cannot be written, or the catalog does not record it.
pub fn mark(
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
