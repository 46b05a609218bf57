//! Folders, moves, removed things and replaced versions in memory.

use super::MemoryStorage;
use super::tree::{Node, key, key_below};
use crate::storage::error::Loss;
use crate::storage::{
    Deleted, Entry, GoesOn, Judge, Published, Put, Spot, StorageError, TreeStorage, Verdict,
};
use towline_types::{DocumentId, DocumentPath, FileHash, Name, NodeId, UserId};

/// Each change under one lock: no other thread sees a name between two states (P2), and what a crash leaves
/// is the state before the call or after it (P4).
impl TreeStorage for MemoryStorage {
    fn make_folder(&self, user: UserId, folder: &DocumentPath) -> Result<(), StorageError> {
        self.0.latch.refuse_if_closed()?;
        let (mut names, key) = (self.names(), folder.to_string());
        match names.tree.get(user, &key) {
            Some(Node::Folder) => Ok(()),
            _ => names.tree.add(user, &key, Node::Folder),
        }
    }

    fn replace(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        old: DocumentId,
        _: FileHash,
        _: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        self.0.latch.refuse_if_closed()?;
        let (mut names, name) = (self.names(), path.to_string());
        if !names.staged.contains_key(&id) {
            return Err(StorageError::Lost(Loss::Missing));
        }
        if let Some(Node::File(_)) = names.tree.get(user, &name) {
            names.tree.relocate(user, &name, &key(&Spot::Version(old)))?;
        }
        names.publish(id, user, &name)?;
        Ok(Put::InPlace)
    }

    fn relocate(&self, user: UserId, from: &Spot, to: &Spot) -> Result<(), StorageError> {
        self.0.latch.refuse_if_closed()?;
        self.names().tree.relocate(user, &key(from), &key(to))
    }

    fn is_there(&self, user: UserId, spot: &Spot) -> Result<Option<Entry>, StorageError> {
        let names = self.names();
        if let Spot::Living(path) = spot {
            names.tree.check_folder(user, path)?;
        }
        Ok(match names.tree.get(user, &key(spot)) {
            Some(Node::File(file)) => {
                Some(Entry::File { filesize: file.filesize()?, stamp: file.stamp() })
            }
            Some(Node::Folder) => Some(Entry::Folder),
            None => None,
        })
    }

    fn open_spot(
        &self,
        user: UserId,
        spot: &Spot,
        below: &[Name],
    ) -> Result<Option<Published>, StorageError> {
        self.names().open(user, &key_below(&key(spot), below))
    }

    fn delete_trash(
        &self,
        user: UserId,
        node: NodeId,
        judge: Judge<'_>,
    ) -> Result<Deleted, StorageError> {
        self.0.latch.refuse_if_closed()?;
        let root = key(&Spot::Trash(node));
        let (mut is_any_kept, entries) = (false, self.names().tree.within(user, &root));
        for (name, entry) in entries {
            let Node::File(file) = entry else { continue };
            let below = name.get(root.len()..).unwrap_or_default().split('/').skip(1);
            let below: Vec<_> = below.filter_map(|name| Name::recorded(name).ok()).collect();
            match judge(&below) {
                Verdict::Delete => {
                    self.names().tree.remove(user, &name);
                    self.give_back(&file);
                }
                Verdict::Keep => is_any_kept = true,
                Verdict::Stop => return Ok(Deleted::Stopped),
            }
        }
        let mut names = self.names();
        if is_any_kept {
            let aside = (0..u32::MAX).map(|attempt| format!(" orphans/{node}.trash.{attempt}"));
            let mut free = aside.filter(|name| names.tree.get(user, name).is_none());
            let aside = free.next().ok_or(StorageError::Exists)?;
            drop(free);
            names.tree.relocate(user, &root, &aside)?;
            return Ok(Deleted::Kept(aside.into()));
        }
        for (name, _) in names.tree.within(user, &root) {
            names.tree.remove(user, &name);
        }
        Ok(Deleted::All)
    }

    fn delete_versions(&self, user: UserId, versions: &[DocumentId]) -> Result<(), StorageError> {
        self.0.latch.refuse_if_closed()?;
        let mut names = self.names();
        let spots = |id: &DocumentId| [Spot::Version(*id), Spot::Quarantine(*id)];
        for spot in versions.iter().flat_map(spots) {
            let key = key(&spot);
            if let Some(file) = names.tree.get(user, &key).and_then(Node::file).cloned() {
                names.tree.remove(user, &key);
                self.give_back(&file);
            }
        }
        Ok(())
    }
}
