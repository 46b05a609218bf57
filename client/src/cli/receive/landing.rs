//! What has arrived gets its name in the folder of the person. Nothing that is there is replaced, and no
//! name that a sender chooses leads out of the folder (P7).
//!
//! A thing is on the list of what has landed when its name is durable. Until then it is looked at again
//! by the next start, which finds it under its name or gives it one.

use super::folders::Folders;
use super::landed_list::LandedList;
use super::own_name::own_name;
use super::place::Place;
use crate::get::landing::{Landed, Source, land_file, land_link};
use crate::get::local_folder::{LocalFolder, stays_inside};
use crate::get::staging::Expected;
use rustix::fs::Mode;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use towline_server::cli::{OpenFile, Thing, ThingKind};
use towline_types::{LinkTarget, Name, StoreId, UserId};

/// What became of a thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A file has its name here. `existing`: it was here before.
    Landed { path: PathBuf, filesize: u64, existing: bool },
    /// The same of a folder or link.
    Made { path: PathBuf, is_folder: bool, existing: bool },
    /// It was left out, and why.
    LeftOut(&'static str),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Landing {
    folders: Folders,
    list: LandedList,
    hidden: LocalFolder,
    umask: Mode,
}

impl Landing {
    /// With what was written down of earlier sittings with the same store. Blocks.
    pub(super) fn open(place: &Place, umask: Mode, store: StoreId) -> io::Result<Self> {
        let (base, hidden) = (place.folder().clone(), place.hidden().clone());
        let list = LandedList::open(&hidden, store)?;
        let folders = Folders::open(base, hidden.clone(), umask, store)?;
        Ok(Self { folders, list, hidden, umask })
    }

    /// Whether the thing has landed, or was left out, before.
    pub(super) fn is_done(&self, thing: &Thing) -> bool {
        self.list.has(thing)
    }

    /// Gives a thing its name; `file` is that of a document. Blocks.
    pub(super) fn land(
        &mut self,
        sender: UserId,
        thing: &Thing,
        file: Option<OpenFile>,
    ) -> io::Result<Outcome> {
        let [folder @ .., name] = &thing.names[..] else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let outcome = match (&thing.kind, file) {
            (ThingKind::Folder, _) => {
                let (made, is_made) = self.folders.make(sender, &thing.names, thing.mode)?;
                let path = made.path().to_owned();
                Outcome::Made { path, is_folder: true, existing: !is_made }
            }
            (ThingKind::Link(target), _) if !may_be_made(target, folder) => Outcome::LeftOut(
                "a link that could lead to something else than what was sent with it",
            ),
            (ThingKind::Link(target), _) => {
                let (folder, _) = self.folders.make(sender, folder, None)?;
                let landed = land_link(&folder, &own_name(name, false)?, target)?;
                let (path, existing) = self.note(&folder, landed)?;
                Outcome::Made { path, is_folder: false, existing }
            }
            (ThingKind::File(version), Some(OpenFile { file, is_known })) => {
                let (filesize, blake3) = (version.filesize, version.blake3);
                let expected = Expected { filesize, blake3, mtime: thing.mtime, mode: thing.mode };
                let source = Source { file, is_known, expected };
                let own = own_name(name, folder.is_empty())?;
                let (folder, _) = self.folders.make(sender, folder, None)?;
                let landed = land_file(&folder, &own, &source, self.umask, &self.hidden)?;
                let (path, existing) = self.note(&folder, landed)?;
                Outcome::Landed { path, filesize: filesize.get(), existing }
            }
            (ThingKind::File(_), None) => return Err(ErrorKind::InvalidInput.into()),
        };
        self.list.add(thing);
        Ok(outcome)
    }

    fn note(&mut self, folder: &LocalFolder, landed: Landed) -> io::Result<(PathBuf, bool)> {
        self.folders.has_changed(folder)?;
        Ok((folder.path_of(&landed.name), landed.existing))
    }

    /// Makes the names durable that things got since the last call, and writes down that these have
    /// landed, in this order: so after a power cut none is thought to be here that is not. Blocks.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        if !self.list.has_new() {
            return Ok(());
        }
        self.folders.sync()?;
        self.list.keep()
    }

    /// Makes everything durable that has landed, modes and times included. Blocks.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        self.folders.sync_all()
    }
}

/// Whether a link in that folder of a sender may be made: it stays inside the topmost of the folders,
/// which has nothing of the person's own.
fn may_be_made(target: &LinkTarget, folder: &[Name]) -> bool {
    folder.len().checked_sub(1).is_some_and(|depth| stays_inside(target, depth))
}
