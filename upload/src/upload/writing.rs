//! What a writer does under its lease.

use super::Upload;
use crate::progress::{Append, RequestId, Verdict};
use crate::{BlockValue, Integrity, Lease, Refusal};
use std::ops::Range;
use towline_types::{BlockIndex, ChainingValue, FileSize, Offset, Timestamp};

impl Upload {
    /// May these bytes be written? Those of them that belong to the first block may, up to
    /// the next byte that is here; ask again for the rest.
    ///
    /// # Errors
    /// Where they are not wanted there, reach too far, or the lease is no longer in force.
    pub fn append(
        &self,
        lease: Lease,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Append, Refusal> {
        self.check_lease(lease)?;
        self.progress.append(lease.mode.order, offset, length_bytes)
    }

    /// The bytes are written.
    pub fn appended(&mut self, append: Append, now: Timestamp) {
        self.progress.appended(append);
        self.last_byte_at = now;
    }

    /// Bytes that come from now on may be taken back together: those that are said to belong
    /// to this request. They begin at `offset` and follow each other. Until the request is
    /// [confirmed](Self::confirm_request) no checkpoint makes one of them durable, so that
    /// taking them back takes no promise back (P1). Where the lease ends before, they stay:
    /// they came as any other bytes do.
    ///
    /// # Errors
    /// Where the lease is no longer in force, or it has as many requests as writers may share
    /// it.
    pub fn begin_request(&mut self, lease: Lease, offset: Offset) -> Result<RequestId, Refusal> {
        self.check_lease(lease)?;
        self.progress.begin_request(offset)
    }

    /// As [`append`](Self::append), for bytes of a request.
    ///
    /// # Errors
    /// As [`append`](Self::append), and where they do not follow those of the request that
    /// came before.
    pub fn append_to_request(
        &self,
        lease: Lease,
        request: RequestId,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Append, Refusal> {
        self.check_lease(lease)?;
        self.progress.check_request(request, offset)?;
        self.progress.append(lease.mode.order, offset, length_bytes)
    }

    /// As [`appended`](Self::appended), for bytes of a request.
    pub fn appended_to_request(&mut self, request: RequestId, append: Append, now: Timestamp) {
        self.progress.extend_request(request, append.length_bytes);
        self.appended(append, now);
    }

    /// The bytes of the request are the right ones: they stay.
    ///
    /// # Errors
    /// Where the lease is no longer in force, or the request is over.
    pub fn confirm_request(&mut self, lease: Lease, request: RequestId) -> Result<(), Refusal> {
        self.check_lease(lease)?;
        self.progress.confirm_request(request)
    }

    /// The bytes of the request are not the right ones. Exactly they are forgotten, and what
    /// other requests have brought stays, in the same block too. Returns where they were.
    ///
    /// # Errors
    /// As [`confirm_request`](Self::confirm_request).
    pub fn take_back_request(
        &mut self,
        lease: Lease,
        request: RequestId,
    ) -> Result<Vec<Range<u64>>, Refusal> {
        self.check_lease(lease)?;
        self.progress.take_back_request(request, lease.mode.integrity)
    }

    /// Forgets what is wrong of a block that differs from its announcement, and the announcement.
    /// If requests that are not confirmed have brought bytes of it, these bytes are forgotten: all
    /// others were confirmed, or promised (P1), and stay. Returns whether there were such bytes;
    /// if not, the caller [withdraws](Self::withdraw) the block.
    ///
    /// # Errors
    /// Where the lease is no longer in force.
    pub fn take_back_unconfirmed(
        &mut self,
        lease: Lease,
        index: BlockIndex,
    ) -> Result<bool, Refusal> {
        self.check_lease(lease)?;
        Ok(self.progress.take_back_unconfirmed(index))
    }

    /// The value of a block that is whole.
    ///
    /// # Errors
    /// [`Refusal::BlockMismatch`]: [take the block back](Self::take_back_unconfirmed).
    pub fn hashed(
        &mut self,
        lease: Lease,
        index: BlockIndex,
        value: impl Into<BlockValue>,
    ) -> Result<Verdict, Refusal> {
        self.progress.hashed(lease.mode.integrity, index, value.into())
    }

    /// The value of a block that was whole before a restart and still awaits its
    /// announcement.
    pub fn read_back(&mut self, index: BlockIndex, value: impl Into<BlockValue>) {
        // Without an announcement there is nothing it could differ from.
        let _ = self.progress.hashed(Integrity::Announced, index, value.into());
    }

    /// The writer says which value a block has, before or after its bytes.
    ///
    /// # Errors
    /// [`Refusal::BlockMismatch`]: [take the block back](Self::take_back_unconfirmed).
    /// [`Refusal::NoSuchBlock`],
    /// [`Refusal::TooManyOpen`], and where the lease is no longer in force.
    pub fn announce(
        &mut self,
        lease: Lease,
        index: BlockIndex,
        value: ChainingValue,
    ) -> Result<Verdict, Refusal> {
        self.check_lease(lease)?;
        self.progress.announce(index, value)
    }

    /// Forgets blocks, so that they can be sent again.
    ///
    /// # Errors
    /// Where the lease is no longer in force.
    pub fn withdraw(&mut self, lease: Lease, blocks: Range<BlockIndex>) -> Result<(), Refusal> {
        self.check_lease(lease)?;
        self.progress.withdraw(blocks);
        Ok(())
    }

    /// The writer says how long the file is, where that was not known at the beginning. The
    /// last block ends there, so it may be whole now: the caller reads back what
    /// [`unhashed`](crate::Progress::unhashed) names. Said twice is fine.
    ///
    /// # Errors
    /// [`Refusal::SizeExceeded`] where bytes are here that lie after that end,
    /// [`Refusal::OwnLimit`] where the file may not become that long,
    /// [`Refusal::FileChanged`] where another length was declared before, and where the lease
    /// is no longer in force.
    pub fn declare(&mut self, lease: Lease, filesize: FileSize) -> Result<(), Refusal> {
        self.check_lease(lease)?;
        self.progress = self.progress.declared(filesize)?;
        Ok(())
    }
}
