//! Decides about each file, folder and link before it is fetched: whether it is there already,
//! and what it is to be called. A thread does it, ahead of the bytes.

use super::download::{Download, Sink, Target};
use super::local_folder::{Found, LocalFolder, stays_inside};
use super::staging::{Durability, Expected, Staging, Unusable};
use crate::failure::Failure;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use towline_types::block::{BLOCK_SIZE_BYTES, hash_block};
use towline_types::file_hash::hash_file;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, DocumentPath, FileHash, LinkTarget, Name, OnConflict,
    PermissionBits,
};

/// The number of files that are decided about ahead of the bytes.
const AHEAD: usize = 64;

/// How many numbers behind a name are tried where it is taken.
const NUMBERS_MAX: u32 = 10_000;

/// One thing to fetch.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The folders between the one that is fetched into and this thing.
    pub(crate) folder: Vec<Name>,
    /// How many of these folders are not part of the tree that is fetched: a link in the tree must
    /// not lead there.
    pub(crate) outside: usize,
    pub(crate) name: Name,
    pub(crate) what: WantedKind,
}

#[derive(Debug)]
pub(crate) enum WantedKind {
    File(DocumentId, Expected),
    Folder(Option<PermissionBits>),
    Link(LinkTarget),
}

/// How things are fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    pub(crate) on_conflict: OnConflict,
    pub(crate) durability: Durability,
    /// Folders are made durable by the caller, all together.
    pub(crate) syncs_folders: bool,
}

/// What was decided.
#[derive(Debug)]
pub(crate) enum Prepared {
    Fetch(Arc<Download>),
    Ended(Ended),
}

/// One thing has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The local path.
    pub(crate) path: PathBuf,
    /// The document and its length in bytes, where it is a file.
    pub(crate) file: Option<(DocumentId, Expected)>,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Fetched,
    /// The same was there.
    Existing,
    /// A folder or a link.
    Made,
    /// It was left out, and why.
    Skipped(&'static str),
    Failed(Box<Failure>),
}

impl Ended {
    pub(super) fn of(download: &Download, outcome: Outcome) -> Self {
        Self {
            path: download.path.clone(),
            file: Some((download.document_id, download.expected.clone())),
            outcome,
        }
    }
}

/// Folders, and the permission bits that they get.
pub(crate) type FolderList = Vec<(Vec<Name>, PermissionBits)>;

/// The thread, as its callers see it. It ends when both are dropped.
pub(crate) struct Preparing {
    pub(crate) wanted: mpsc::Sender<Wanted>,
    pub(crate) prepared: mpsc::Receiver<Prepared>,
    /// The folders whose modes are to be set at the end.
    pub(crate) folders: Arc<Mutex<FolderList>>,
}

/// Starts the thread.
///
/// # Errors
/// Where the system has none.
pub(crate) fn start(base: LocalFolder, choices: Choices) -> io::Result<Preparing> {
    let (wanted, mut todo) = mpsc::channel(AHEAD);
    let (tell, prepared) = mpsc::channel(AHEAD);
    let folders = Arc::new(Mutex::new(Vec::new()));
    let mut preparer =
        Preparer { base, choices, number: 0, last: None, folders: Arc::clone(&folders) };
    std::thread::Builder::new().name("towline-prepare".to_owned()).spawn(move || {
        while let Some(wanted) = todo.blocking_recv() {
            if tell.blocking_send(preparer.prepare(wanted)).is_err() {
                return;
            }
        }
    })?;
    Ok(Preparing { wanted, prepared, folders })
}

struct Preparer {
    base: LocalFolder,
    choices: Choices,
    number: usize,
    /// The folder that was opened last: most things lie in the same one as the one before.
    last: Option<(Vec<Name>, LocalFolder)>,
    folders: Arc<Mutex<FolderList>>,
}

impl Preparer {
    fn prepare(&mut self, wanted: Wanted) -> Prepared {
        let Wanted { folder, outside, name, what } = wanted;
        let path =
            folder.iter().fold(self.base.path().to_owned(), |path, name| path.join(name.as_str()));
        let path = path.join(name.as_str());
        let depth = folder.len().saturating_sub(outside);
        let opened = self.folder(&folder);
        let file = match &what {
            WantedKind::File(document_id, expected) => Some((*document_id, expected.clone())),
            _ => None,
        };
        let ended = |path, outcome| Prepared::Ended(Ended { path, file: file.clone(), outcome });
        let cannot = |path: PathBuf, action, source| {
            let failure = Failure::File { action, path: path.clone(), source, kept: None };
            ended(path, Outcome::Failed(Box::new(failure)))
        };
        let in_folder = match opened {
            Ok(opened) => opened,
            Err(error) => return cannot(path, "open the folder around", error),
        };
        match what {
            WantedKind::Folder(mode) => match in_folder.make_subfolder(&name, mode) {
                Ok(_) => {
                    if let Some(mode) = mode {
                        let place = [&folder[..], &[name]].concat();
                        let mut folders =
                            self.folders.lock().unwrap_or_else(PoisonError::into_inner);
                        folders.push((place, mode));
                    }
                    ended(path, Outcome::Made)
                }
                Err(error) => cannot(path, "make", error),
            },
            WantedKind::Link(target) => match make_link(&in_folder, &name, &target, depth) {
                Ok(outcome) => ended(path, outcome),
                Err(error) => cannot(path, "make", error),
            },
            WantedKind::File(document_id, expected) => {
                match self.choose(&in_folder, &name, &expected) {
                    Ok(Choice::Fetch { name, replaces }) => {
                        self.number += 1;
                        self.fetch(in_folder, name, replaces, document_id, expected)
                    }
                    Ok(Choice::End(outcome)) => ended(path, outcome),
                    Err(error) => cannot(path, "look at", error),
                }
            }
        }
    }

    fn folder(&mut self, names: &[Name]) -> io::Result<LocalFolder> {
        if let Some((last, folder)) = &self.last
            && last == names
        {
            return Ok(folder.clone());
        }
        let folder = self.base.make_below(names)?;
        self.last = Some((names.to_vec(), folder.clone()));
        Ok(folder)
    }

    /// The name that a file gets, or why it is not fetched.
    fn choose(&self, folder: &LocalFolder, name: &Name, expected: &Expected) -> io::Result<Choice> {
        let replaces = false;
        let is_file = match folder.look(name)? {
            Found::Nothing => return Ok(Choice::Fetch { name: name.clone(), replaces }),
            found => {
                if is_same(folder, name, found, expected)? {
                    return Ok(Choice::End(Outcome::Existing));
                }
                matches!(found, Found::File(_))
            }
        };
        match self.choices.on_conflict {
            OnConflict::Replace if is_file => {
                Ok(Choice::Fetch { name: name.clone(), replaces: true })
            }
            OnConflict::Skip => Ok(Choice::End(Outcome::Skipped("the name is taken"))),
            OnConflict::Rename => {
                let plain =
                    DocumentPath::new(Vec::new(), name.clone()).map_err(io::Error::other)?;
                for number in 1..=NUMBERS_MAX {
                    let Some(numbered) = plain.numbered(number) else { break };
                    let name = numbered.filename();
                    match folder.look(name)? {
                        Found::Nothing => {
                            return Ok(Choice::Fetch { name: name.clone(), replaces });
                        }
                        found if is_same(folder, name, found, expected)? => {
                            return Ok(Choice::End(Outcome::Existing));
                        }
                        _ => {}
                    }
                }
                Err(io::ErrorKind::AlreadyExists.into())
            }
            _ => {
                let path = folder.path_of(name);
                Ok(Choice::End(Outcome::Failed(Box::new(Failure::LocalExists { path, is_file }))))
            }
        }
    }

    fn fetch(
        &self,
        folder: LocalFolder,
        name: Name,
        replaces: bool,
        document_id: DocumentId,
        expected: Expected,
    ) -> Prepared {
        let path = folder.path_of(&name);
        let Choices { durability, syncs_folders, .. } = self.choices;
        let failed = |failure| {
            let file = Some((document_id, expected.clone()));
            Prepared::Ended(Ended {
                path: path.clone(),
                file,
                outcome: Outcome::Failed(Box::new(failure)),
            })
        };
        let mut opened = Staging::open(&folder, &name, expected.clone(), durability);
        if let Err(Unusable::Io(error)) = &opened
            && error.kind() == io::ErrorKind::PermissionDenied
            && folder.set_mode(PermissionBits::of_mode(0o700)).is_ok()
        {
            // An earlier run has set the folder's own permissions, and they forbid writing. They
            // are set again behind the files.
            opened = Staging::open(&folder, &name, expected.clone(), durability);
        }
        let staging = match opened {
            Ok(staging) => staging,
            Err(Unusable::Busy) => return failed(Failure::LocalBusy { path: path.clone() }),
            Err(Unusable::Io(source)) => {
                let (action, path, kept) = ("write", path.clone(), None);
                return failed(Failure::File { action, path, source, kept });
            }
        };
        let syncs_folder = !syncs_folders;
        Prepared::Fetch(Arc::new(Download {
            number: self.number,
            document_id,
            expected,
            path,
            target: Some(Target { folder, name, replaces, durability, syncs_folder }),
            sink: Mutex::new(Sink::Staging(staging)),
        }))
    }
}

enum Choice {
    Fetch { name: Name, replaces: bool },
    End(Outcome),
}

fn make_link(
    folder: &LocalFolder,
    name: &Name,
    target: &LinkTarget,
    depth: usize,
) -> io::Result<Outcome> {
    if !stays_inside(target, depth) {
        return Ok(Outcome::Skipped("a link that leads outside of what is fetched"));
    }
    match folder.make_link(name, target) {
        Ok(()) => Ok(Outcome::Made),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_link = matches!(folder.look(name)?, Found::Link);
            if is_link && folder.link_target(name)? == target.as_str().as_bytes() {
                return Ok(Outcome::Existing);
            }
            let (path, is_file) = (folder.path_of(name), false);
            Ok(Outcome::Failed(Box::new(Failure::LocalExists { path, is_file })))
        }
        Err(error) => Err(error),
    }
}

/// Whether the file has the same bytes.
fn is_same(
    folder: &LocalFolder,
    name: &Name,
    found: Found,
    expected: &Expected,
) -> io::Result<bool> {
    let Found::File(length) = found else { return Ok(false) };
    if length != expected.filesize.get() {
        return Ok(false);
    }
    Ok(hash_of(&folder.open_file(name)?, expected)? == Some(expected.blake3))
}

/// The hash of a file of the expected length; nothing where it changes meanwhile.
fn hash_of(file: &File, expected: &Expected) -> io::Result<Option<FileHash>> {
    use std::os::unix::fs::FileExt as _;
    let filesize = expected.filesize;
    let mut buffer = vec![0; usize::try_from(BLOCK_SIZE_BYTES.min(filesize.get())).unwrap_or(0)];
    let mut values: Vec<ChainingValue> = Vec::new();
    let mut start = 0;
    while start < filesize.get() {
        let index = BlockIndex::try_from(start / BLOCK_SIZE_BYTES).map_err(io::Error::other)?;
        let end = index.span(filesize).end;
        let bytes = &mut buffer[..usize::try_from(end - start).unwrap_or(0)];
        match file.read_exact_at(bytes, start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        values.push(hash_block(index, filesize, bytes));
        start = end;
    }
    Ok(Some(hash_file(filesize, values)))
}
