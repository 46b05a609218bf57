//! Bytes of one request of a client, which stay or are taken back together at the end of the
//! request.

use super::{ActiveUpload, Inner, WriterId};
use crate::error::Error;
use crate::may_block::MayBlock;
use towline_state::catalog::Catalog;
use towline_types::{BlockIndex, Offset};
use towline_upload::{Append, Lease, Refusal, RequestId};

impl ActiveUpload {
    /// Begins a request: the bytes that this writer writes from now on belong to it, and begin at
    /// `offset`, until it is [confirmed](Self::confirm_request) or [taken
    /// back](Self::take_back_request). No checkpoint makes any of them durable before (P1). A
    /// request of this writer that has not ended is confirmed first.
    pub(crate) fn begin_request(&self, writer: WriterId, offset: Offset) -> Result<(), Error> {
        let mut inner = self.inner();
        if let Some(earlier) = inner.requests.remove(&writer.writer) {
            inner.upload.confirm_request(writer.lease, earlier)?;
        }
        let request = inner.upload.begin_request(writer.lease, offset)?;
        inner.requests.insert(writer.writer, request);
        Ok(())
    }

    /// Ends the writer's request: its bytes stay. Without a request nothing is done.
    pub(crate) fn confirm_request(&self, writer: WriterId) -> Result<(), Error> {
        let mut inner = self.inner();
        match inner.requests.remove(&writer.writer) {
            Some(request) => Ok(inner.upload.confirm_request(writer.lease, request)?),
            None => Ok(()),
        }
    }

    /// Ends the writer's request, and forgets exactly its bytes. The catalog has recorded none of
    /// them, so it is not told, and nothing that was promised changes (P1). Returns the first byte
    /// that is missing then.
    pub(crate) fn take_back_request(&self, writer: WriterId) -> Result<Offset, Error> {
        let mut inner = self.inner();
        if let Some(request) = inner.requests.remove(&writer.writer) {
            let ranges = inner.upload.take_back_request(writer.lease, request)?;
            // The hashers of these blocks have taken in bytes that are gone. Such a block is read
            // back when it is whole.
            let is_touched = |index: &BlockIndex| {
                let start = index.start().get();
                let end = index.next().start().get();
                ranges.iter().any(|range| start < range.end && range.start < end)
            };
            inner.hashers.retain(|index, _| !is_touched(index));
            if let Some(first) = ranges.first() {
                inner.forget_hashed_from(Offset::try_from(first.start).unwrap_or(Offset::ZERO));
            }
        }
        Ok(inner.upload.progress().received())
    }

    /// Takes back a block that differs from its announcement: the bytes of requests that have not
    /// ended, if there are any in it, else all of it. No checkpoint has recorded bytes of such
    /// requests, so in the first case the catalog is not told, and what it promises stays (P1).
    pub(crate) fn take_back_mismatched(
        &self,
        lease: Lease,
        index: BlockIndex,
        catalog: &Catalog,
        may_block: MayBlock,
    ) -> Result<(), Error> {
        let mut inner = self.inner();
        if inner.upload.take_back_unconfirmed(lease, index)? {
            inner.hashers.remove(&index);
            inner.forget_hashed_from(index.start());
            return Ok(());
        }
        drop(inner);
        let block = index..index.next();
        self.withdraw(lease, &[block], catalog, may_block).map(drop)
    }
}

impl Inner {
    /// Asks the rules whether these bytes may be written, for the request that they belong to.
    pub(super) fn leave_to_append(
        &self,
        lease: Lease,
        request: Option<RequestId>,
        offset: Offset,
        length_bytes: u64,
    ) -> Result<Append, Refusal> {
        match request {
            Some(request) => self.upload.append_to_request(lease, request, offset, length_bytes),
            None => self.upload.append(lease, offset, length_bytes),
        }
    }
}
