//! The bytes of an upload that has all of them and is not complete, for a door that makes one file
//! of several uploads.

use super::Account;
use crate::error::Error;
use crate::rejection::{Rejection, RejectionKind};
use crate::storage::Staging;
use std::fmt;
use std::sync::Arc;
use towline_types::block::{block_count, hash_block};
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileSize};
use towline_upload::{Length, Phase};

/// See the module's description. It holds a descriptor.
pub struct HeldBytes {
    account: Account,
    id: DocumentId,
    filesize: FileSize,
    /// An upload without a byte may have none.
    staging: Option<Arc<dyn Staging>>,
    next: u64,
}

impl fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBytes").field("id", &self.id).field("next", &self.next).finish()
    }
}

impl Account {
    /// Opens the bytes of an upload of this user that has all of them. Cancel-safe: it changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound` where the user has no such upload, `WrongPhase` where it has ended, and
    /// `Incomplete` where bytes are missing, or its length is not known.
    pub async fn held_bytes(&self, id: DocumentId) -> Result<HeldBytes, Rejection> {
        let status = self.status_when_durable(id).await?;
        if status.phase != Phase::Uploading {
            return Err(ended(status.phase));
        }
        let durable = status.position.durable.get();
        let filesize = match status.position.length {
            Length::Declared(filesize) if filesize.end() == durable => filesize,
            Length::Declared(_) | Length::Open { .. } => {
                let kind = RejectionKind::Incomplete { expected: durable };
                return Err(Rejection::new(kind, "bytes of the upload are missing"));
            }
        };
        if filesize.get() == 0 {
            return Ok(HeldBytes { account: self.clone(), id, filesize, staging: None, next: 0 });
        }
        let shared = Arc::clone(&self.shared);
        let opening = self.shared.tracker.spawn_blocking(move || shared.storage.open(id));
        let opened = opening.await.map_err(|_| panicked())?;
        let staging = opened.map_err(|error| Error::from(error).rejection())?;
        Ok(HeldBytes { account: self.clone(), id, filesize, staging: Some(staging), next: 0 })
    }
}

impl HeldBytes {
    /// How many bytes there are.
    #[must_use]
    pub const fn filesize(&self) -> FileSize {
        self.filesize
    }

    /// The bytes of the next block, compared with the value that it had when it came; nothing
    /// behind the last one. A call that is cancelled can be made again.
    ///
    /// # Errors
    /// `WrongPhase` where the upload was given up meanwhile, `Damaged` where the disk gives out other
    /// bytes, and what the storage says.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Rejection> {
        let next = Some(self.next).filter(|next| *next < block_count(self.filesize));
        let index = next.and_then(BlockIndex::new);
        let Some((index, staging)) = index.zip(self.staging.clone()) else { return Ok(None) };
        let held = self.account.held_blocks(self.id, index, 1).await?;
        let value = held.first().filter(|(held, _)| *held == index).map(|(_, value)| *value);
        let filesize = self.filesize;
        let reading = self.account.shared.tracker.spawn_blocking(move || {
            let length = usize::try_from(index.length_bytes(filesize)).unwrap_or(0);
            let mut bytes = vec![0; length];
            staging.read_exact_at(&mut bytes, index.start()).map(|()| bytes)
        });
        let read = reading.await.map_err(|_| panicked())?;
        let bytes = read.map_err(|error| Error::from(error).rejection())?;
        match value {
            Some(value) => check(index, self.filesize, &bytes, value)?,
            // Blocks are forgotten with the upload.
            None => self.still_there().await?,
        }
        self.next += 1;
        Ok(Some(bytes))
    }

    /// Why a block has no value: the upload was given up, or it is damage.
    async fn still_there(&self) -> Result<(), Rejection> {
        let phase = self.account.status(self.id).await?.phase;
        match phase {
            Phase::Uploading => Err(damaged(None)),
            _ => Err(ended(phase)),
        }
    }
}

/// P5: bytes that are not those that came are no success.
fn check(
    index: BlockIndex,
    filesize: FileSize,
    bytes: &[u8],
    value: ChainingValue,
) -> Result<(), Rejection> {
    match value == hash_block(index, filesize, bytes) {
        true => Ok(()),
        false => Err(damaged(Some(index))),
    }
}

fn damaged(index: Option<BlockIndex>) -> Rejection {
    let message = "the disk gives out other bytes than those that were uploaded";
    Rejection::new(RejectionKind::Damaged { index }, message)
}

fn ended(phase: Phase) -> Rejection {
    Rejection::new(RejectionKind::WrongPhase { phase }, "the upload has ended already")
}

fn panicked() -> Rejection {
    Rejection::new(RejectionKind::Internal, "the bytes of an upload could not be read")
}
