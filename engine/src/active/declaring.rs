//! The length of a file that was not known when its upload began.

use super::reading_back::read_whole_block;
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
    /// First the room is reserved, so that a full disk changes nothing. Then the staging file is
    /// cut off at the new end: bytes behind it were taken back before and never promised, and
    /// recovery cuts them off as well. Then one transaction records the length; all that is durable
    /// stays so (P1). After a crash before the transaction the length is still open; after a crash
    /// behind it the upload lacks its last bytes, or nothing.
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
        let mut after = inner.upload.clone();
        after.declare(writer.lease, filesize)?;
        let length = after.progress().length();
        if inner.upload.progress().length() != length {
            self.staging.reserve(filesize)?;
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
            let value = match inner.hashers.remove(&index) {
                Some(hasher) => BlockValue::of(&hasher, index, length),
                None => read_whole_block(&*self.staging, index, length)?,
            };
            inner.upload.hashed(writer.lease, index, value)?;
        }
        Ok(())
    }
}
