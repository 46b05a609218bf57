//! Documents on another file system than the staging areas, and what other programs do there.

use super::{Call, Moment, Scripted, locked};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;
use towline_engine::storage::{
    GoesOn, Put, Spot, Staged, Storage as _, StorageError, TreeStorage as _,
};
use towline_types::{DocumentId, DocumentPath, FileHash, NodeId, UserId};

/// The number of a copy that has no name yet is so much larger than that of its document.
const COPIES: u64 = 1_000_000_000;

impl Scripted {
    /// Copies a staging area to its final name, a block at a time; the area stays. Where the name
    /// has these very bytes, an earlier call has made the copy.
    pub(super) fn copy_to_place(
        &self,
        id: DocumentId,
        user: UserId,
        path: &DocumentPath,
        goes_on: GoesOn<'_>,
    ) -> Result<Put, StorageError> {
        let staging = self.inner.open(id)?;
        let mut bytes = vec![0; usize::try_from(staging.length_bytes()?).unwrap()];
        staging.read_exact_at(&mut bytes, crate::kit::offset(0))?;
        if let Some(there) = self.bytes(user, &path.to_string()) {
            return if there == bytes { Ok(Put::InPlace) } else { Err(StorageError::Exists) };
        }
        let mut copied = crate::kit::offset(0);
        for block in bytes.chunks(crate::kit::BLOCK) {
            if !goes_on(copied) {
                return Ok(Put::Stopped);
            }
            self.script.reach(Moment::Before, Call::CopyBlock)?;
            copied = copied.plus(block.len() as u64);
        }
        if !goes_on(copied) {
            return Ok(Put::Stopped);
        }
        let copy = DocumentId::try_from(id.get() + COPIES).unwrap();
        self.inner.create_whole(copy, &bytes)?.sync_data()?;
        let any_hash = FileHash::from_bytes([0; 32]);
        let goes_on = &mut |_| panic!("nothing is copied in memory");
        self.inner.publish(copy, user, path, any_hash, goes_on)
    }

    /// Takes the file of that name away, as another program does.
    pub(crate) fn take_away(&self, user: UserId, path: &str) {
        static TAKEN: AtomicU64 = AtomicU64::new(COPIES);
        let nowhere = NodeId::try_from(TAKEN.fetch_add(1, Ordering::SeqCst)).unwrap();
        let from = Spot::Living(DocumentPath::parse(path).unwrap());
        self.inner.relocate(user, &from, &Spot::Trash(nowhere)).unwrap();
    }

    /// Puts a file of another program there.
    pub(crate) fn put_stranger(&self, user: UserId, path: &str, bytes: &[u8]) {
        let number = 2 * COPIES + self.inner.staged().unwrap().len() as u64;
        let id = DocumentId::try_from(number).unwrap();
        self.inner.create_whole(id, bytes).unwrap().sync_data().unwrap();
        let path = DocumentPath::parse(path).unwrap();
        let any_hash = FileHash::from_bytes([0; 32]);
        let goes_on = &mut |_| panic!("nothing is copied in memory");
        self.inner.publish(id, user, &path, any_hash, goes_on).unwrap();
    }

    /// Lists a staging area besides the others: an upload may have two.
    pub(crate) fn list_also(&self, staged: Staged) {
        locked(&self.script.listed).push(staged);
    }

    /// How many staging areas the engine holds open.
    pub(crate) fn open_areas(&self) -> usize {
        self.script.open.load(Ordering::SeqCst)
    }

    /// When the `nth` call from now on comes; that is received once.
    pub(crate) fn when(
        &self,
        moment: Moment,
        call: Call,
        nth: usize,
    ) -> tokio::sync::oneshot::Receiver<Instant> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.on(moment, call, nth, move || {
            let _ = tell.send(Instant::now());
            Ok(())
        });
        told
    }
}
