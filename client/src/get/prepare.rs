//! Decides about each file, folder and link before it is fetched: whether it is there already,
//! and what it is to be called. A thread does it, ahead of the bytes.

use super::attributes;
use super::download::{Download, Sink, Target};
use super::folder_modes::{Filling, FolderModes};
use super::local_folder::{Found, LocalFolder, stays_inside};
use super::numbered_names::numbered_names;
use super::staging::{Durability, Expected, Staging, Unusable};
use super::under_way::UnderWay;
use crate::failure::Failure;
use crate::source::Attributes;
use crate::staging_name;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use towline_types::block::{BLOCK_SIZE_BYTES, hash_block};
use towline_types::file_hash::hash_file;
use towline_types::{
    BlockIndex, ChainingValue, DocumentId, FileHash, LinkTarget, Name, OnConflict, PermissionBits,
};

/// The number of files that are decided about ahead of the bytes.
const AHEAD: usize = 64;

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
    Folder {
        mode: Option<PermissionBits>,
        /// This run has made it before.
        is_made: bool,
    },
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

/// The thread, as its callers see it. It ends when both are dropped.
pub(crate) struct Preparing {
    pub(crate) wanted: mpsc::Sender<Wanted>,
    pub(crate) prepared: mpsc::Receiver<Prepared>,
    pub(crate) modes: FolderModes,
}

/// Starts the thread.
///
/// # Errors
/// Where the system has none.
pub(crate) fn start(base: LocalFolder, choices: Choices) -> io::Result<Preparing> {
    let (wanted, mut todo) = mpsc::channel(AHEAD);
    let (tell, prepared) = mpsc::channel(AHEAD);
    let modes = FolderModes::below(base.clone());
    let mut preparer = Preparer {
        base,
        choices,
        number: 0,
        last: None,
        under_way: UnderWay::default(),
        modes: modes.clone(),
        inside: Vec::new(),
    };
    std::thread::Builder::new().name("towline-prepare".to_owned()).spawn(move || {
        while let Some(wanted) = todo.blocking_recv() {
            let prepared = preparer.prepare(wanted);
            for one in preparer.failed_modes().chain([prepared]) {
                if tell.blocking_send(one).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(Preparing { wanted, prepared, modes })
}

struct Preparer {
    base: LocalFolder,
    choices: Choices,
    number: usize,
    /// The folder that was opened last: most things lie in the same one as the one before.
    last: Option<(Vec<Name>, LocalFolder)>,
    /// The names of files that are decided about and not whole.
    under_way: UnderWay,
    modes: FolderModes,
    /// The folders that the listing is in, the outermost first.
    inside: Vec<Arc<Filling>>,
}

impl Preparer {
    fn prepare(&mut self, wanted: Wanted) -> Prepared {
        let Wanted { folder, outside, name, what } = wanted;
        self.leave_folders(&folder);
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
        if staging_name::is_one(name.as_str()) && !matches!(what, WantedKind::Folder { .. }) {
            let failure = Failure::StagingName { path: path.clone() };
            return ended(path, Outcome::Failed(Box::new(failure)));
        }
        self.under_way.wait_for(&path);
        match what {
            WantedKind::Folder { mode, is_made } => {
                let made = || in_folder.make_subfolder(&name, mode);
                match self.with_access(&in_folder, &folder, made) {
                    Ok((_, is_new)) => {
                        let around = self.inside.last().map(Arc::clone);
                        let names = [&folder[..], &[name]].concat();
                        self.inside.push(self.modes.fill(names, mode, around));
                        let is_made = is_made || is_new;
                        ended(path, if is_made { Outcome::Made } else { Outcome::Existing })
                    }
                    Err(error) => cannot(path, "make", error),
                }
            }
            WantedKind::Link(target) => {
                let made = || self.make_link(&in_folder, &name, &target, depth);
                match self.with_access(&in_folder, &folder, made) {
                    Ok((path, outcome)) => ended(path, outcome),
                    Err(error) => cannot(path, "make", error),
                }
            }
            WantedKind::File(document_id, expected) => {
                let same = Cell::new(None);
                let is_same = |name: &_, found| {
                    let file = same_file(&in_folder, name, found, &expected)?;
                    let is_same = file.is_some();
                    same.set(file);
                    Ok(is_same)
                };
                match self.choose(&in_folder, &name, is_same) {
                    Ok(Choice::Take { name, replaces }) => {
                        self.number += 1;
                        self.fetch(in_folder, &folder, name, replaces, document_id, expected)
                    }
                    Ok(Choice::End(Outcome::Existing)) => {
                        let file = same.take();
                        let Expected { mtime, mode, .. } = expected;
                        let there = Attributes { mtime, mode };
                        let restored = file.map(|file| attributes::restore(&file, there));
                        match restored.unwrap_or(Ok(())) {
                            Ok(()) => ended(path, Outcome::Existing),
                            Err(error) => cannot(path, "restore", error),
                        }
                    }
                    Ok(Choice::End(outcome)) => ended(path, outcome),
                    Err(error) => cannot(path, "look at", error),
                }
            }
        }
    }

    /// Does something in a folder of the tree. Where an earlier run has set the folder's own
    /// permissions, and these forbid it, its owner gets access until the permissions are set once
    /// more, after its files.
    fn with_access<T>(
        &self,
        folder: &LocalFolder,
        names: &[Name],
        work: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        match work() {
            Err(error) if self.has_opened(folder, names, &error) => work(),
            done => done,
        }
    }

    fn has_opened(&self, folder: &LocalFolder, names: &[Name], error: &io::Error) -> bool {
        // The permissions of a folder that is not part of the tree would not be set again.
        error.kind() == io::ErrorKind::PermissionDenied
            && self.modes.waits(names)
            && folder.set_mode(PermissionBits::of_mode(0o700)).is_ok()
    }

    /// Leaves the folders in which `folder` does not lie: the listing is past them, and nothing new
    /// comes into them.
    fn leave_folders(&mut self, folder: &[Name]) {
        while self.inside.last().is_some_and(|inside| !folder.starts_with(inside.names())) {
            self.inside.pop();
        }
    }

    fn failed_modes(&self) -> impl Iterator<Item = Prepared> + use<> {
        self.modes.failed().into_iter().map(|(path, source)| {
            let action = "set the mode of";
            let failure = Failure::File { action, path: path.clone(), source, kept: None };
            let outcome = Outcome::Failed(Box::new(failure));
            Prepared::Ended(Ended { path, file: None, outcome })
        })
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

    /// The name that a file or link gets, or why it gets none. `is_same` says whether what has a
    /// name is what is to get it.
    fn choose(
        &self,
        folder: &LocalFolder,
        name: &Name,
        is_same: impl Fn(&Name, Found) -> io::Result<bool>,
    ) -> io::Result<Choice> {
        let found = folder.look(name)?;
        let Some(by) = found.taken() else {
            return Ok(Choice::Take { name: name.clone(), replaces: false });
        };
        if is_same(name, found)? {
            return Ok(Choice::End(Outcome::Existing));
        }
        match self.choices.on_conflict {
            OnConflict::Replace if by.may_be_replaced() => {
                Ok(Choice::Take { name: name.clone(), replaces: true })
            }
            OnConflict::Skip => Ok(Choice::End(Outcome::Skipped("the name is taken"))),
            OnConflict::Rename => {
                for name in numbered_names(name) {
                    self.under_way.wait_for(&folder.path_of(&name));
                    match folder.look(&name)? {
                        Found::Nothing => return Ok(Choice::Take { name, replaces: false }),
                        found if is_same(&name, found)? => {
                            return Ok(Choice::End(Outcome::Existing));
                        }
                        _ => {}
                    }
                }
                Err(io::ErrorKind::AlreadyExists.into())
            }
            _ => {
                let path = folder.path_of(name);
                Ok(Choice::End(Outcome::Failed(Box::new(Failure::LocalExists { path, by }))))
            }
        }
    }

    /// Makes a link, or says why not; with the path that it has.
    fn make_link(
        &self,
        folder: &LocalFolder,
        name: &Name,
        target: &LinkTarget,
        depth: usize,
    ) -> io::Result<(PathBuf, Outcome)> {
        let path = folder.path_of(name);
        if !stays_inside(target, depth) {
            let why = "a link that leads outside of what is fetched";
            return Ok((path, Outcome::Skipped(why)));
        }
        let is_same = |name: &_, found| match found {
            Found::Link => Ok(folder.link_target(name)? == target.as_str().as_bytes()),
            _ => Ok(false),
        };
        match self.choose(folder, name, is_same)? {
            Choice::End(outcome) => Ok((path, outcome)),
            Choice::Take { name, replaces } => {
                let made = match replaces {
                    true => folder.replace_with_link(&name, target),
                    false => folder.make_link(&name, target),
                };
                made.map(|()| (folder.path_of(&name), Outcome::Made))
            }
        }
    }

    fn fetch(
        &self,
        folder: LocalFolder,
        names: &[Name],
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
            && self.has_opened(&folder, names, error)
        {
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
            _promised: Some(self.under_way.promise(path.clone())),
            _around: self.inside.last().map(Arc::clone),
            path,
            target: Some(Target { folder, name, replaces, durability, syncs_folder }),
            sink: Mutex::new(Sink::Staging(staging)),
        }))
    }
}

enum Choice {
    Take { name: Name, replaces: bool },
    End(Outcome),
}

/// The file, where it has the same bytes.
pub(super) fn same_file(
    folder: &LocalFolder,
    name: &Name,
    found: Found,
    expected: &Expected,
) -> io::Result<Option<File>> {
    let Found::File(length) = found else { return Ok(None) };
    if length != expected.filesize.get() {
        return Ok(None);
    }
    let file = folder.open_file(name)?;
    Ok((hash_of(&file, expected)? == Some(expected.blake3)).then_some(file))
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
