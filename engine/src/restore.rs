//! `towlined restore`: puts back what `towlined backup` wrote, into a new data folder or in the
//! place of a catalog that is lost.
//!
//! Nothing that is there is written over. The catalog gets its name last, durably. Without it the
//! folder is no store, so a restoration that was cut off is done again (P4). Documents are not in
//! the backup. The folders for them are made without their markers, so no server starts before the
//! copy of `uploads/` is in its place (P1). The catalog that is put back is marked as a copy: when
//! it is first opened, its logs of changes get other epochs, and clients list everything anew.

use crate::identity::{IdentityError, refuse_inside_a_store};
use crate::storage::{DataFolder, FolderError, Found, Look, Part, PathError};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use towline_state::catalog::{self, CatalogError, Peek};
use towline_types::StoreId;

/// What was put back.
#[derive(Debug)]
pub struct Restored {
    /// The store.
    pub store_id: StoreId,
    /// What became of the keys.
    pub keys: Keys,
    /// Whether the folder with the documents is there.
    pub documents: Documents,
}

/// What became of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Those of the backup were put back.
    PutBack,
    /// There were keys, and they stay.
    Kept,
}

/// Whether the folder with the documents is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// The folder is there.
    There,
    /// The folder has to be copied into its place.
    Missing,
}

/// Why the backup was not put back. The data folder has the catalog that it had before, or none.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder is no backup.
    #[error(
        "{} is no whole backup: it has no {missing}. Name the folder that `towlined backup` wrote",
        path.display()
    )]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// The first file that is missing.
        missing: String,
    },
    /// There is a catalog already, or what is left of one.
    #[error(
        "there is a catalog already, or what is left of one: {}. It is not written over. If it is \
         lost, stop the server, move it out of the way (mv {state} {state}.lost) and try again",
        found.display(),
        state = state.display()
    )]
    CatalogThere {
        /// What was found.
        found: PathBuf,
        /// The folder that it lies in.
        state: PathBuf,
    },
    /// A part of the data folder belongs to another store.
    #[error(
        "{} belongs to store {found}, and the backup is one of store {backup}. Nothing was changed",
        path.display()
    )]
    OtherStore {
        /// The part.
        path: PathBuf,
        /// Its store.
        found: StoreId,
        /// The store of the backup.
        backup: StoreId,
    },
    /// There are files in the data folder, and nothing says that they belong to the store.
    #[error(
        "{} is not empty and has no marker file (.towline-store), which would say that it belongs \
         to store {backup}. Nothing was changed. Name an empty or a new folder, or the data folder \
         of that store; copy folders of a store together with their hidden files",
        path.display()
    )]
    Unmarked {
        /// The folder.
        path: PathBuf,
        /// The store of the backup.
        backup: StoreId,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The data folder cannot be opened or locked.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The catalog of the backup cannot be read, or not be put back.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    Io(#[from] PathError),
}

/// Puts the backup in that folder back. Blocks.
///
/// # Errors
/// The folder is no backup, there is a catalog, or the data folder belongs to another store: then
/// nothing was changed. Where something could not be written, what was written stays; the next
/// attempt goes on.
pub fn put_back(backup: &Path, data_dir: &Path) -> Result<Restored, RestoreError> {
    let source = Source::open(backup)?;
    let look = Look::at(data_dir)?;
    refuse_inside_a_store(&look, &Peek::default())?;
    refuse_other(&look, source.store_id)?;
    refuse_catalog(&look)?;
    let owner = fs::metadata(look.path()).ok().map(|about| (about.uid(), about.gid()));
    let folder = DataFolder::open(look.path())?;
    let lock = folder.lock()?;
    // Once more under the lock.
    refuse_catalog(&look)?;
    let keys = source.keys(&folder)?;
    for part in [Part::Root, Part::State] {
        source.file(&part.below().join(look.marker_name()), look.path())?;
    }
    catalog::put_back(backup.join(CATALOG), folder.catalog_path())?;
    if let Some(owner) = owner {
        give_away(owner, &look, &lock.path(), keys)?;
    }
    let uploads = look.parts.iter().find(|(part, _)| *part == Part::Uploads);
    let documents = match uploads {
        Some((_, Found::Marked(_))) => Documents::There,
        _ => Documents::Missing,
    };
    drop(lock);
    Ok(Restored { store_id: source.store_id, keys, documents })
}

const CATALOG: &str = "state/catalog.db";

/// The folder that `towlined backup` wrote.
struct Source<'a> {
    path: &'a Path,
    store_id: StoreId,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self, RestoreError> {
        // `towlined backup` writes the last of these files last: a backup that was cut off lacks
        // it.
        for file in [".towline-store", CATALOG, "state/.towline-store", "keys", "README.txt"] {
            if !path.join(file).try_exists().map_err(failed("look at", path))? {
                let (path, missing) = (path.to_owned(), file.to_owned());
                return Err(RestoreError::NoBackup { path, missing });
            }
        }
        let store = Peek::at(path.join(CATALOG))?.store;
        let store = store.ok_or_else(|| RestoreError::NoBackup {
            path: path.to_owned(),
            missing: format!("store in {CATALOG}"),
        })?;
        Ok(Self { path, store_id: store.store_id })
    }

    /// Copies what is missing of the keys. Those that sign tokens belong together: where one is there
    /// already, they are kept as they are.
    fn keys(&self, folder: &DataFolder) -> Result<Keys, RestoreError> {
        let (from, to) = (self.path.join("keys"), folder.keys_path());
        let mut names = Vec::new();
        for entry in from.read_dir().map_err(failed("read", &from))? {
            let entry = entry.map_err(failed("read", &from))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                names.push(entry.file_name());
            }
        }
        // Keys are copied last: once the last key is there, all files are.
        names.sort_by_cached_key(|name| (is_key(name), name.clone()));
        let mut has_key = names.last().is_some_and(|name| is_key(name) && to.join(name).exists());
        // A key that is not of the backup belongs to a server that has worked here since.
        for entry in to.read_dir().map_err(failed("read", &to))? {
            let name = entry.map_err(failed("read", &to))?.file_name();
            has_key |= is_key(&name) && !names.contains(&name);
        }
        let mut keys = Keys::Kept;
        for name in names.into_iter().filter(|name| !(has_key && is_key(name))) {
            if self.file(&Path::new("keys").join(name), folder.path())? {
                keys = Keys::PutBack;
            }
        }
        Ok(keys)
    }

    /// Copies a file of the backup where there is none, and returns whether it did. On return it
    /// survives a power cut.
    fn file(&self, below: &Path, data_dir: &Path) -> Result<bool, RestoreError> {
        let (from, to) = (self.path.join(below), data_dir.join(below));
        if to.symlink_metadata().is_ok() {
            return Ok(false);
        }
        let folder = to.parent().unwrap_or(data_dir);
        let copied = || -> io::Result<()> {
            let mut made = tempfile::Builder::new().prefix(".restored.").tempfile_in(folder)?;
            io::copy(&mut File::open(&from)?, made.as_file_mut())?;
            made.as_file().sync_all()?;
            made.persist_noclobber(&to).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        };
        copied().map_err(failed("copy to", &to)).map(|()| true)
    }
}

/// Whether the file is a key that signs tokens.
fn is_key(name: &std::ffi::OsString) -> bool {
    name.to_string_lossy().ends_with(".pk8")
}

/// Refuses a data folder that is not, and cannot become, the one of that store.
fn refuse_other(look: &Look, backup: StoreId) -> Result<(), RestoreError> {
    let mut is_marked = false;
    for (part, found) in &look.parts {
        let path = look.path().join(part.below());
        match found {
            Found::Marked(marker) if marker.store_id != backup => {
                return Err(RestoreError::OtherStore { path, found: marker.store_id, backup });
            }
            Found::Marked(_) => is_marked = true,
            Found::Unmarked if *part == Part::Uploads => {
                return Err(RestoreError::Unmarked { path, backup });
            }
            Found::Missing | Found::Empty | Found::Unmarked | Found::Damaged => {}
        }
    }
    match look.contents.first() {
        Some(_) if !is_marked => {
            Err(RestoreError::Unmarked { path: look.path().to_owned(), backup })
        }
        _ => Ok(()),
    }
}

/// Refuses where there is a catalog, or a journal: SQLite would apply the journal of the lost
/// catalog to the one that is put back.
fn refuse_catalog(look: &Look) -> Result<(), RestoreError> {
    let catalog = look.catalog_path();
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut found = catalog.clone().into_os_string();
        found.push(end);
        let found = PathBuf::from(found);
        if found.symlink_metadata().is_ok() {
            let state = look.path().join(Part::State.below());
            return Err(RestoreError::CatalogThere { found, state });
        }
    }
    Ok(())
}

/// Gives what root has made in the folder of another user to that user.
fn give_away(owner: (u32, u32), look: &Look, lock: &Path, keys: Keys) -> Result<(), RestoreError> {
    for (part, found) in &look.parts {
        let path = look.path().join(part.below());
        if *found == Found::Missing {
            give(owner, &path)?;
        }
        if matches!(part, Part::Root | Part::State) {
            give(owner, &path.join(look.marker_name()))?;
        }
        if *part == Part::Keys && keys == Keys::PutBack {
            for entry in path.read_dir().map_err(failed("read", &path))? {
                give(owner, &entry.map_err(failed("read", &path))?.path())?;
            }
        }
    }
    give(owner, lock)?;
    give(owner, &look.catalog_path())
}

fn give((uid, gid): (u32, u32), path: &Path) -> Result<(), RestoreError> {
    if !rustix::process::geteuid().is_root() || uid == 0 {
        return Ok(());
    }
    // Where the path is a link, what it leads to keeps its owner.
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(failed("give away", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError + use<> {
    PathError::of(what, path)
}
