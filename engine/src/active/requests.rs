//! Bytes of one request of a door, which stay or are taken back together at its end.

use super::{ActiveUpload, Inner, WriterId};
use crate::error::Error;
use towline_types::{BlockIndex, Offset};
use towline_upload::{Append, Lease, Refusal, RequestId};

impl ActiveUpload {
    /// What this writer writes from now on belongs to a request that begins at `offset`, until
    /// it is [confirmed](Self::confirm_request) or [taken back](Self::take_back_request). No
    /// checkpoint makes a byte of it durable before (P1). A request of this writer that did not
    /// end before is confirmed.
    pub(crate) fn begin_request(&self, writer: WriterId, offset: Offset) -> Result<(), Error> {
        let mut inner = self.inner();
        if let Some(earlier) = inner.requests.remove(&writer.writer) {
            inner.upload.confirm_request(writer.lease, earlier)?;
        }
        let request = inner.upload.begin_request(writer.lease, offset)?;
        inner.requests.insert(writer.writer, request);
        Ok(())
    }

    /// The bytes of the writer's request are the right ones. Without a request nothing is done.
    pub(crate) fn confirm_request(&self, writer: WriterId) -> Result<(), Error> {
        let mut inner = self.inner();
        match inner.requests.remove(&writer.writer) {
            Some(request) => Ok(inner.upload.confirm_request(writer.lease, request)?),
            None => Ok(()),
        }
    }

    /// Forgets exactly the bytes of the writer's request. The catalog has recorded none of them,
    /// so nothing is told to it and nothing that was promised changes (P1). Says how far the
    /// upload is then.
    pub(crate) fn take_back_request(&self, writer: WriterId) -> Result<Offset, Error> {
        let mut inner = self.inner();
        if let Some(request) = inner.requests.remove(&writer.writer) {
            let range = inner.upload.take_back_request(writer.lease, request)?;
            // These have taken in bytes that are gone: their blocks are read back when whole.
            let is_touched = |index: &BlockIndex| {
                let start = index.start().get();
                let end = index.next().start().get();
                start < range.end && range.start < end
            };
            inner.hashers.retain(|index, _| !is_touched(index));
            inner.forget_hashed_from(Offset::try_from(range.start).unwrap_or(Offset::ZERO));
        }
        Ok(inner.upload.progress().received())
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
