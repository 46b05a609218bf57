//! `towlined backup`: a copy of all that a store needs besides the documents themselves, made while
//! a server works in it.
//!
//! The catalog is copied as it is at one moment. A document is complete, and never changes, from
//! the moment at which its row says so. So a copy of `uploads/` that is made *after* this one holds
//! all documents that the copy of the catalog knows, together with the versions and the trash below
//! it. What is moved between the two copies lies in another place of the second one than the first
//! one says.

use crate::clock::Clock;
use crate::storage::{DataFolder, DataFolderScan, FolderError, Look, Part, PathError, Spot};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use towline_state::catalog::{self, Catalog, CatalogError, Document, Kept};
use towline_types::StoreId;
use towline_upload::Phase;

/// What was copied.
#[derive(Debug)]
pub struct Backup {
    /// The store.
    pub store_id: StoreId,
    /// How many complete documents it has.
    pub documents: u64,
    /// How many unfinished uploads it has.
    pub uploads: u64,
}

/// Why there is no backup. What was written of it so far stays in its folder.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is something in the folder already.
    #[error("{} is not empty; a backup goes into a new folder or an empty one", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder lies inside of the data folder.
    #[error(
        "{} lies in the data folder; what is lost with that would be lost with it",
        path.display()
    )]
    Inside {
        /// The folder.
        path: PathBuf,
    },
    /// What the system says.
    #[error(transparent)]
    Io(#[from] PathError),
}

/// Rows that are in memory at a time.
const PAGE: u32 = 256;

/// The list of all documents, as `b3sum --check` reads it.
const LIST: &str = "documents.b3sum";

/// Makes a backup of the store that `look` has found, in the folder `into`. Blocks.
///
/// # Errors
/// The folder is inside the data folder, has files in it already or cannot be written, or a part
/// of the store cannot be read. What was written until then stays there and is no whole backup.
pub fn back_up(look: &Look, into: &Path, clock: &Clock) -> Result<Backup, BackupError> {
    let into = std::path::absolute(into).map_err(failed("find", into))?;
    prepare(look.path(), &into)?;
    let state = Part::State.below();
    let keys = Part::Keys.below();
    for folder in [&state, &keys] {
        make(&into.join(folder))?;
    }
    let copy = into.join(&state).join("catalog.db");
    catalog::back_up(look.catalog_path(), &copy)?;
    // Only the markers of the parts that are in the backup: a marker in an empty `uploads` would
    // say that all documents are there.
    for part in [Part::Root, Part::State] {
        copy_file(&look.path().join(part.below()), &into.join(part.below()), look.marker_name())?;
    }
    copy_files(&look.path().join(&keys), &into.join(&keys))?;
    let scan = DataFolderScan::of(&DataFolder::find(look.path())?);
    let backup = list(&copy, &into, &scan)?;
    explain(&backup, look.path(), &into, clock)?;
    for folder in [into.join(&state), into.join(&keys), into.clone()] {
        File::open(&folder).and_then(|open| open.sync_all()).map_err(failed("sync", &folder))?;
    }
    Ok(backup)
}

/// Makes the folder, or accepts an empty one. Where the backup is refused nothing is made.
fn prepare(data_dir: &Path, into: &Path) -> Result<(), BackupError> {
    // A folder that does not exist yet would be made in the nearest folder above that exists.
    let mut there = into;
    let real = loop {
        match (there.canonicalize(), there.parent()) {
            (Ok(real), _) => break real,
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => there = parent,
            (Err(error), _) => return Err(failed("find", there)(error)),
        }
    };
    if real.starts_with(data_dir.canonicalize().map_err(failed("find", data_dir))?) {
        return Err(BackupError::Inside { path: into.to_owned() });
    }
    match into.read_dir() {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(BackupError::NotEmpty { path: into.to_owned() }),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(into),
        Err(error) => Err(failed("read", into)(error)),
    }
}

fn make(folder: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(folder).map_err(failed("make", folder))
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Copies every plain file of a folder.
fn copy_files(from: &Path, to: &Path) -> Result<(), BackupError> {
    for entry in from.read_dir().map_err(failed("read", from))? {
        let entry = entry.map_err(failed("read", from))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            copy_file(from, to, entry.file_name())?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, name: impl AsRef<Path>) -> Result<(), BackupError> {
    let (from, to) = (from.join(&name), to.join(&name));
    let mut source = File::open(&from).map_err(failed("read", &from))?;
    let copied = new_file(&to).and_then(|mut file| {
        io::copy(&mut source, &mut file)?;
        file.sync_all()
    });
    copied.map_err(failed("write", &to))
}

/// Writes the list of the documents that the copy knows.
fn list(copy: &Path, into: &Path, scan: &DataFolderScan) -> Result<Backup, BackupError> {
    let catalog = Catalog::open_to_look(copy)?;
    let mut backup = Backup { store_id: catalog.store_id(), documents: 0, uploads: 0 };
    let path = into.join(LIST);
    let mut list = BufWriter::new(new_file(&path).map_err(failed("write", &path))?);
    let mut after = None;
    loop {
        let page = catalog.documents_after(after, PAGE).wait()?;
        let Some(last) = page.last() else { break };
        after = match last {
            Ok(row) => Some(row.document_id),
            Err(CatalogError::BadRow { id, .. }) => towline_types::DocumentId::from_i64(*id).ok(),
            Err(error) => return Err(error.clone().into()),
        };
        // A row that cannot be read is left out of the list; the copied catalog has it as it is.
        for row in page.into_iter().flatten() {
            let (Phase::Completed, Some(blake3)) = (row.phase, row.blake3) else {
                backup.uploads += 1;
                continue;
            };
            let Some(place) = place_of(&row, scan) else { continue };
            backup.documents += 1;
            writeln!(list, "{blake3}  {}", place.display()).map_err(failed("write", &path))?;
        }
    }
    catalog.close().wait()?;
    let list = list.into_inner().map_err(|error| failed("write", &path)(error.into_error()))?;
    list.sync_all().map_err(failed("sync", &path))?;
    Ok(backup)
}

/// Where the file of a completed document lies, seen from the data folder: in its place, among the
/// versions that were replaced, or in the trash.
fn place_of(row: &Document, scan: &DataFolderScan) -> Option<PathBuf> {
    let user = row.user_id;
    if row.availability.is_quarantined() {
        return Some(scan.path_of_spot(user, &Spot::Quarantine(row.document_id), &[]));
    }
    match (&row.file_path, &row.kept) {
        (Some(place), _) => Some(scan.path_of(user, place)),
        (None, Kept::OldVersion) => {
            Some(scan.path_of_spot(user, &Spot::Version(row.document_id), &[]))
        }
        (None, Kept::InTrash { root, below }) => {
            Some(scan.path_of_spot(user, &Spot::Trash(*root), below))
        }
        (None, Kept::InPlace) => None,
    }
}

/// Writes how the backup is put back, for the person who finds it.
fn explain(
    backup: &Backup,
    data_dir: &Path,
    into: &Path,
    clock: &Clock,
) -> Result<(), BackupError> {
    let path = into.join("README.txt");
    let Backup { store_id, documents, uploads } = backup;
    let now = UNIX_EPOCH + Duration::from_secs(clock.now().as_secs());
    let (now, data_dir) = (humantime::format_rfc3339_seconds(now), data_dir.display());
    let text = format!(
        "Backup of the Towline store {store_id}, made at {now} (UTC) from\n\
         {data_dir}: {documents} documents, {uploads} unfinished uploads.\n\
         \n\
         It holds state/ (the catalog), keys/ (the key that signs tokens) and {LIST}, the list of\n\
         all documents. It does not hold the documents: copy uploads/ after this backup, with\n\
         its hidden files (rsync -a does). `cd COPY && b3sum --check {LIST}` checks the copy.\n\
         \n\
         To put it back: stop the server. Move what is left of state/ in the data folder away, and\n\
         run `towlined restore THIS_FOLDER --data-dir DATA_FOLDER`. It puts keys/ back only if keys/\n\
         is lost, and makes the data folder if that is lost as well; then copy uploads/ into it. Give\n\
         the files to the user that the server runs as (chown -R). Start the server, then run\n\
         `towlined verify`: documents that were uploaded after the backup are files that it calls\n\
         UNKNOWN. They stay where they are.\n"
    );
    let written = new_file(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed("write", &path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    PathError::of(what, path)
}
