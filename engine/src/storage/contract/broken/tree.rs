//! The faults of folders, moves, removed things and replaced versions.

use super::{BrokenStorage, Fault};
use crate::storage::contract::any_hash;
use crate::storage::{
    Deleted, Entry, GoesOn, Judge, Loss, Published, Put, Spot, Storage as _, StorageError,
    TreeStorage, Verdict,
};
use std::path::Path;
use std::sync::atomic::Ordering;
use towline_types::{DocumentId, DocumentPath, FileHash, Name, NodeId, Offset, UserId};

/// Where a fault moves what is in its way.
const AWAY: NodeId = NodeId::MAX;

impl BrokenStorage {
    /// The store before what is done next.
    fn remember(&self) {
        *self.before_move.lock().unwrap() = Some(self.inner.after_kill());
    }

    /// Where a document goes that is to go to that path.
    pub(super) fn remembered(&self, path: &DocumentPath) -> DocumentPath {
        let text = path.to_string();
        if self.fault == Fault::RemembersPaths
            && let Some((from, to)) = &*self.moved.lock().unwrap()
            && let Ok(below) = Path::new(&text).strip_prefix(from)
        {
            return DocumentPath::parse(&format!("{to}/{}", below.display())).unwrap();
        }
        path.clone()
    }

    fn is_any(&self, user: UserId, spot: &Spot) -> bool {
        self.inner.is_there(user, spot).unwrap().is_some()
    }

    fn is_folder(&self, user: UserId, spot: &Spot) -> bool {
        self.inner.is_there(user, spot).unwrap() == Some(Entry::Folder)
    }

    /// Puts bytes there that are those of what lies here.
    fn copy(&self, user: UserId, from: &Spot, to: &DocumentPath) -> Result<(), StorageError> {
        let Some(found) = self.inner.open_spot(user, from, &[])? else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(found.filesize.get()).unwrap()];
        found.read_exact_at(&mut bytes, Offset::ZERO)?;
        self.inner.create_whole(DocumentId::MAX, &bytes)?;
        self.inner.publish(DocumentId::MAX, user, to, any_hash(), &mut |_| true).map(drop)
    }
}

impl TreeStorage for BrokenStorage {
    fn make_folder(&self, user: UserId, folder: &DocumentPath) -> Result<(), StorageError> {
        match self.fault {
            Fault::MakesNoFolders => self.inner.check_folder(user, folder),
            Fault::MakesFoldersOverFiles => match self.inner.make_folder(user, folder) {
                Err(StorageError::Exists) => Ok(()),
                answer => answer,
            },
            _ => self.inner.make_folder(user, folder),
        }
    }

    fn replace(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        old: DocumentId,
        blake3: FileHash,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        self.remember();
        let there = Spot::Living(path.clone());
        let missing = Err(StorageError::Lost(Loss::Missing));
        let is_whole =
            || self.inner.staged().unwrap().iter().any(|entry| entry.id == id && entry.is_whole);
        match self.fault {
            Fault::ReplacesWithoutWhole if is_whole() => return missing,
            Fault::WantsAnOldVersion if !self.is_any(user, &there) => return missing,
            Fault::ReplacesFolders if self.is_folder(user, &there) => {
                self.inner.relocate(user, &there, &Spot::Trash(AWAY))?;
            }
            Fault::KeepsOldFirst if self.is_any(user, &there) => {
                self.inner.relocate(user, &there, &Spot::Version(old))?;
            }
            _ => {}
        }
        let put = self.inner.replace(id, user, path, old, blake3, goes_on)?;
        if self.fault == Fault::DropsVersions {
            self.inner.delete_versions(user, &[old])?;
        }
        Ok(put)
    }

    fn relocate(&self, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError> {
        self.remember();
        let number = self.moves.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            Fault::MissesTheFourthMove if number == 4 => return Ok(()),
            Fault::MovesOver if self.is_any(user, from) && self.is_any(user, to) && from != to => {
                self.inner.relocate(user, to, &Spot::Trash(AWAY))?;
                self.inner.relocate(user, from, to)?;
                let judge = &mut |_: &[_]| Verdict::Delete;
                return self.inner.delete_trash(user, AWAY, judge).map(drop);
            }
            Fault::LeavesContents if self.is_folder(user, from) => {
                let Spot::Living(to) = to else { return self.inner.relocate(user, from, to) };
                return self.inner.make_folder(user, to);
            }
            Fault::MovesOnce if !self.is_any(user, from) => {
                return Err(StorageError::Lost(Loss::Missing));
            }
            _ => {}
        }
        let moved = self.inner.relocate(user, from, to);
        match (self.fault, from, to) {
            (Fault::MovesIntoItself, ..) if matches!(moved, Err(StorageError::Refused { .. })) => {
                return Ok(());
            }
            (Fault::KeepsOldNames, Spot::Living(old), _) if !self.is_folder(user, to) => {
                self.copy(user, to, old)?;
            }
            (Fault::RemembersPaths, Spot::Living(from), Spot::Living(to)) => {
                *self.moved.lock().unwrap() = Some((from.to_string(), to.to_string()));
            }
            _ => {}
        }
        moved
    }

    fn is_there(&self, user: UserId, spot: &Spot) -> Result<Option<Entry>, StorageError> {
        self.inner.is_there(user, spot)
    }

    fn open_spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<Published>, StorageError> {
        self.inner.open_spot(user, spot, below)
    }

    fn delete_trash(
        &self,
        user: UserId,
        node: NodeId,
        judge: Judge<'_>,
    ) -> Result<Deleted, StorageError> {
        let instead = match self.fault {
            Fault::KeepsDeleted => return Ok(Deleted::All),
            Fault::DeletesStrangers => Verdict::Keep,
            Fault::NeverStops => Verdict::Stop,
            _ => return self.inner.delete_trash(user, node, judge),
        };
        self.inner.delete_trash(user, node, &mut |below| {
            let verdict = judge(below);
            if verdict == instead { Verdict::Delete } else { verdict }
        })
    }

    fn delete_versions(&self, user: UserId, versions: &[DocumentId]) -> Result<(), StorageError> {
        match self.fault {
            Fault::KeepsDeleted => Ok(()),
            _ => self.inner.delete_versions(user, versions),
        }
    }
}
