//! The length of a file that was not known when its upload began.

use super::reading_back::read_block;
use super::{ActiveUpload, WriterId};
use crate::error::Error;
use crate::failpoint;
use crate::may_block::MayBlock;
use towline_state::catalog::Catalog;
use towline_types::FileSize;
use towline_upload::BlockValue;

impl ActiveUpload {
    /// Declares the length of the file.
    ///
    /// 1. It is looked whether there is room, so that a full disk changes nothing.
    /// 2. The staging file is cut off at the new end. Bytes after that end were taken back before
    ///    and never promised, and recovery cuts them off as well.
    /// 3. One transaction records the length. All that is durable stays durable (P1).
    ///
    /// If the server crashes before the transaction, the length is still open. If it crashes after
    /// the transaction, the length is declared, and the upload goes on with the bytes that were
    /// durable.
    pub(crate) fn declare(
        &self,
        writer: WriterId,
        filesize: FileSize,
        catalog: &Catalog,
        may_block: MayBlock,
    ) -> Result<(), Error> {
        let _row_guard = self.lock_row_unless_publishing(may_block)?;
        let mut inner = self.inner();
        let inner = &mut *inner;
        let before = inner.upload.progress().length();
        let mut after = inner.upload.clone();
        after.declare(writer.lease, filesize)?;
        let length = after.progress().length();
        if before != length {
            self.staging.require_room(filesize)?;
            if inner.reach > filesize.end() {
                self.staging.truncate(filesize.end())?;
                inner.reach = filesize.end();
            }
            catalog.declare_length(self.document_id, filesize).wait()?;
            // At once after the commit, for the reason given in [`Self::withdraw`].
            inner.adopt(after);
            failpoint::reach("declare.recorded");
        }
        // The last block ends here, so it may be whole now.
        for index in inner.upload.progress().unhashed() {
            let hasher = match inner.hashers.remove(&index) {
                Some(hasher) => hasher,
                None => read_block(&*self.staging, index, index.span(filesize), length)?,
            };
            // The client may have announced the block while the length was not known.
            let value = BlockValue::of(&hasher, index, before);
            inner.upload.hashed(writer.lease, index, value)?;
        }
        Ok(())
    }
}
