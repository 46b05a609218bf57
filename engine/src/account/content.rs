//! A completed document that is open for reading.

use crate::error::Error;
use crate::may_block::MayBlock;
use crate::presence::{self, Presence};
use crate::rejection::Rejection;
use crate::shared::Shared;
use crate::storage::Published;
use crate::uploads;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use towline_types::{DocumentId, FileHash, FileSize, Offset, UserId};
use towline_upload::{Phase, Refusal};

/// See the module's description. The bytes are those of the file that was opened, also where
/// another file gets its name in the meantime.
#[derive(Debug)]
pub struct Content {
    id: DocumentId,
    hash: FileHash,
    published: Arc<Published>,
}

impl Content {
    pub(super) async fn open(
        shared: Arc<Shared>,
        user: UserId,
        id: DocumentId,
    ) -> Result<Self, Rejection> {
        let opening = move || open(&shared, user, id).map_err(|error| error.rejection());
        spawn_blocking(opening).await.unwrap_or_else(|_| Err(Error::CutShort.rejection()))
    }

    /// Which document it is.
    #[must_use]
    pub fn document_id(&self) -> DocumentId {
        self.id
    }

    /// The hash of the bytes that were uploaded.
    #[must_use]
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// The length of the file in bytes.
    #[must_use]
    pub fn filesize(&self) -> FileSize {
        self.published.filesize
    }

    /// Reads up to `most_bytes` bytes from `offset` on: fewer only where the file ends. The bytes
    /// come from the page cache where it has them, and stay there. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `StorageFailed` where the disk does not give the bytes out, or the file has become shorter.
    pub async fn read_at(&self, offset: Offset, most_bytes: usize) -> Result<Vec<u8>, Rejection> {
        let published = Arc::clone(&self.published);
        let left = published.filesize.get().saturating_sub(offset.get());
        let count = usize::try_from(left).map_or(most_bytes, |left| left.min(most_bytes));
        let reading = move || {
            let mut bytes = vec![0; count];
            let read = published.read_exact_at(&mut bytes, offset).map(|()| bytes);
            read.map_err(|error| Error::Storage(error).rejection())
        };
        spawn_blocking(reading).await.unwrap_or_else(|_| Err(Error::CutShort.rejection()))
    }
}

/// Opens the file of a completed document, where it is the file that was published, or may be and
/// is verified here. Blocks.
fn open(shared: &Shared, user: UserId, id: DocumentId) -> Result<Content, Error> {
    let document = uploads::document_of(shared, user, id, MayBlock::on_own_thread())?;
    let (Phase::Completed, Some(hash)) = (document.phase, document.blake3) else {
        return Err(Error::Refused(Refusal::NotUploading(document.phase)));
    };
    let path = document.file_path.as_ref().ok_or(Error::Refused(Refusal::NotFound))?;
    match presence::of(shared, &document) {
        // A file that another program may have written is verified before it is served (P2).
        Presence::Unread(found) => {
            if presence::verify(shared, &document, &found, &mut |_| true)? != Some(true) {
                return Err(Error::Refused(Refusal::NotFound));
            }
        }
        Presence::Promised => {}
        Presence::Gone | Presence::Other | Presence::Unknown => {
            return Err(Error::Refused(Refusal::NotFound));
        }
    }
    let published = shared.storage.published(user, path)?;
    let published = published.ok_or(Error::Refused(Refusal::NotFound))?;
    Ok(Content { id, hash, published: Arc::new(published) })
}
