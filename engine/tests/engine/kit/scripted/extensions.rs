//! What not every store can do: copies of documents, and names for bytes that become durable later.

use super::{Call, Moment, Scripted, locked};
use std::sync::Arc;
use towline_engine::storage::{
    Copied, CopyStorage, DeferredStorage, GoesOn, Publishable, Published, Storage as _,
    StorageError,
};
use towline_types::{BlockIndex, DocumentId, DocumentPath, FileHash, FileSize, UserId};

/// What the store can do besides the contract, as one in memory cannot.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extensions {
    /// It makes copies of documents.
    pub(crate) copies: bool,
    /// It gives names to bytes that become durable later.
    pub(crate) deferred: bool,
    /// It gives a name in one step and makes it durable in another.
    pub(crate) renames: bool,
    /// Documents lie on another file system than the staging areas: no rename leads there, and a
    /// file is copied.
    pub(crate) elsewhere: bool,
    /// It is a folder that other programs can reach: what is damaged there is set aside.
    pub(crate) local: bool,
}

impl Extensions {
    /// None of them.
    pub(crate) const NONE: Self =
        Self { copies: false, deferred: false, renames: false, elsewhere: false, local: false };
}

impl CopyStorage for Scripted {
    fn create_copy(
        &self,
        id: DocumentId,
        source: &Published,
        (filesize, hash): (FileSize, FileHash),
        goes_on: GoesOn<'_>,
    ) -> Result<Copied, StorageError> {
        self.script.reach(Moment::Before, Call::CreateCopy)?;
        if source.filesize != filesize {
            return Ok(Copied::OtherBytes);
        }
        let mut bytes = vec![0; usize::try_from(filesize.get()).unwrap()];
        for (index, block) in bytes.chunks_mut(crate::kit::BLOCK).enumerate() {
            let start = BlockIndex::new(index as u64).unwrap().start();
            source.read_exact_at(block, start)?;
            if !goes_on(start.plus(block.len() as u64)) {
                return Ok(Copied::Stopped);
            }
        }
        if crate::kit::hash_of(&bytes) != hash {
            return Ok(Copied::OtherBytes);
        }
        let inner = self.inner.create_whole(id, &bytes)?;
        self.script.reach(Moment::After, Call::CreateCopy)?;
        Ok(Copied::Whole(self.whole(id, inner, true)))
    }
}

impl DeferredStorage for Scripted {
    fn create_unnamed(
        &self,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Arc<dyn Publishable>, StorageError> {
        let create = || self.inner.create_whole(id, bytes);
        let inner = self.script.around(Call::CreateUnnamed, create)?;
        locked(&self.script.unnamed).insert(id);
        Ok(self.whole(id, inner, false))
    }

    fn sync_all(&self) -> Result<(), StorageError> {
        self.script.around(Call::SyncAll, || {
            for staging in locked(&self.script.stagings).iter() {
                staging.sync()?;
            }
            // Those of an earlier process too. To open one that was made whole would change it.
            for staged in self.inner.staged()?.iter().filter(|staged| !staged.is_whole) {
                self.inner.open(staged.id)?.sync()?;
            }
            for (_, _, file) in locked(&self.script.unsynced).drain(..) {
                file.sync_data()?;
            }
            self.inner.latch().refuse_if_closed()
        })
    }

    fn sync_deferred(&self, _: &[(UserId, DocumentPath)]) -> Result<(), StorageError> {
        self.sync_all()
    }
}
