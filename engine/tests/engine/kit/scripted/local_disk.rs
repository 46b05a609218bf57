//! What there is only where the store is a folder: what is damaged is set aside.

use super::{Call, Moment, Scripted, locked};
use std::path::PathBuf;
use towline_engine::storage::{LocalDisk, Loss, Spot, Storage as _, StorageError, Stray};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, Name, UserId};

impl Scripted {
    /// What was set aside: the number of its document, and its bytes.
    pub(crate) fn aside(&self) -> Vec<(u64, Vec<u8>)> {
        locked(&self.script.aside).clone()
    }

    fn keep_aside(&self, id: DocumentId, bytes: Vec<u8>) -> PathBuf {
        locked(&self.script.aside).push((id.get(), bytes));
        PathBuf::from(format!("orphans/{id}"))
    }
}

impl LocalDisk for Scripted {
    fn strays(&self) -> Result<Vec<Stray>, StorageError> {
        Ok(Vec::new())
    }

    fn set_stray_aside(&self, _: &Stray) -> Result<PathBuf, StorageError> {
        Err(StorageError::Lost(Loss::Missing))
    }

    fn set_upload_aside(&self, id: DocumentId) -> Result<Option<PathBuf>, StorageError> {
        self.script.reach(Moment::Before, Call::SetAside)?;
        let staging = match self.inner.open(id) {
            Err(StorageError::Lost(_)) => return Ok(None),
            staging => staging?,
        };
        let mut bytes = vec![0; usize::try_from(staging.length_bytes()?).unwrap()];
        staging.read_exact_at(&mut bytes, crate::kit::offset(0))?;
        self.inner.discard(id)?;
        Ok(Some(self.keep_aside(id, bytes)))
    }

    fn set_damaged_aside(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<PathBuf, StorageError> {
        self.script.reach(Moment::Before, Call::SetAside)?;
        let path = self.real(user, path).to_string();
        let bytes = self.bytes(user, &path).ok_or(StorageError::Lost(Loss::Missing))?;
        self.take_away(user, &path);
        Ok(self.keep_aside(id, bytes))
    }

    fn set_damaged_kept_aside(
        &self,
        _: DocumentId,
        _: UserId,
        _: &Spot,
        _: &[Name],
    ) -> Result<PathBuf, StorageError> {
        Err(StorageError::Lost(Loss::Missing))
    }

    fn may_be_unmounted(
        &self,
        _: UserId,
        _: &DocumentPath,
        _: Option<FileStamp>,
    ) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn note_mount_point(&self, _: UserId, _: &DocumentPath, _: u16) {}

    fn highest_user(&self) -> Result<Option<UserId>, StorageError> {
        Ok(None)
    }
}
