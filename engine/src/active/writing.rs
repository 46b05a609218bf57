//! Bytes and block values of an upload: writing, hashing, taking back.

use super::ActiveUpload;
use super::reading_back::read_whole_block;
use super::subscriber::WriterId;
use crate::error::Error;
use crate::failpoint;
use crate::may_block::MayBlock;
use std::ops::Range;
use std::time::Instant;
use towline_state::catalog::Catalog;
use towline_types::{BlockHasher, BlockIndex, ChainingValue, Offset, Timestamp};
use towline_upload::{BlockValue, Hashing, Lease};

impl ActiveUpload {
    /// Writes and hashes bytes, block by block: first the rules allow it, then the bytes are
    /// written, and only then they count.
    pub(crate) fn write(
        &self,
        writer: WriterId,
        mut offset: Offset,
        mut bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let lease = writer.lease;
        let request = inner.requests.get(&writer.writer).copied();
        let length = inner.upload.progress().length();
        let filesize = length.bound();
        // Data that reaches too far is refused whole.
        let length_bytes = bytes.len() as u64;
        let _ = inner.leave_to_append(lease, request, offset, length_bytes)?;
        self.staging.check_holds(inner.reach)?;
        while !bytes.is_empty() {
            let append = inner.leave_to_append(lease, request, offset, bytes.len() as u64)?;
            let here = usize::try_from(append.length_bytes).expect("a segment fits in memory");
            let (here, rest) = bytes.split_at(here);
            self.staging.write_all_at(here, offset)?;
            failpoint::reach("write.written");
            match append.hashing {
                Hashing::Begins => {
                    let mut hasher = BlockHasher::new(append.index, filesize);
                    hasher.update(here);
                    inner.hashers.insert(append.index, hasher);
                }
                Hashing::Continues => {
                    if let Some(hasher) = inner.hashers.get_mut(&append.index) {
                        hasher.update(here);
                    }
                }
                Hashing::ReadsBack => drop(inner.hashers.remove(&append.index)),
            }
            if let Some(pass) = &mut inner.sha256 {
                pass.take(offset, here);
            }
            failpoint::reach("write.hashed");
            match request {
                Some(request) => inner.upload.appended_to_request(request, append, now),
                None => inner.upload.appended(append, now),
            }
            inner.reach = inner.reach.max(offset.plus(append.length_bytes));
            if append.ends {
                let value = match inner.hashers.remove(&append.index) {
                    Some(hasher) => BlockValue::of(&hasher, append.index, length),
                    None => read_whole_block(&*self.staging, append.index, length)?,
                };
                inner.upload.hashed(lease, append.index, value)?;
            }
            offset = offset.plus(append.length_bytes);
            bytes = rest;
        }
        inner.writeback.wrote(&*self.staging, offset, length_bytes);
        inner.written = Some(Instant::now());
        Ok(())
    }

    /// Tells the rules which value the client has announced for a block.
    pub(crate) fn announce(
        &self,
        lease: Lease,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<(), Error> {
        self.inner().upload.announce(lease, index, value)?;
        Ok(())
    }

    /// Forgets blocks, first in the catalog, where a start after a crash looks, and then in memory.
    /// Their bytes are about to be written over, so from then on the catalog must not promise them
    /// (P1). Returns the first byte that is missing then, and how many bytes were taken back that
    /// had been received.
    pub(crate) fn withdraw(
        &self,
        lease: Lease,
        blocks: &[Range<BlockIndex>],
        catalog: &Catalog,
        may_block: MayBlock,
    ) -> Result<(Offset, u64), Error> {
        let _row_guard = self.lock_row_unless_publishing(may_block)?;
        // Locked to the end: a writer that takes the upload over meanwhile waits until catalog and
        // memory agree.
        let mut inner = self.inner();
        let before = inner.upload.progress();
        let named = |index: &BlockIndex| blocks.iter().any(|range| range.contains(index));
        let filesize = before.filesize();
        let held = before.held().filter(|(index, _)| named(index));
        let held_bytes: u64 = held.map(|(index, _)| index.length_bytes(filesize)).sum();
        let open = before.open_bytes().filter(|(index, _)| named(index));
        let taken_back = held_bytes + open.map_or(0, |(_, bytes)| bytes.end - bytes.start);
        let mut after = inner.upload.clone();
        for range in blocks {
            after.withdraw(lease, range.clone())?;
        }
        let durable = after.progress().durable();
        let is_recorded =
            durable < before.durable() || before.held().any(|(index, _)| named(&index));
        if is_recorded {
            let ranges = blocks.iter().map(|range| range.start.get()..range.end.get()).collect();
            catalog.withdraw_blocks(self.document_id, ranges, durable).wait()?;
        }
        // At once after the commit: if memory still counted on blocks that the catalog has
        // forgotten, it would promise what no restart can find (P1).
        inner.adopt(after);
        inner.hashers.retain(|index, _| !named(index));
        if is_recorded {
            failpoint::reach("withdraw.recorded");
        }
        Ok((inner.upload.progress().received(), taken_back))
    }
}
