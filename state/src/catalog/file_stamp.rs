//! What the file of a completed document is known by: noted when it was found to be the right one,
//! doubted when it was not.

use super::document::FileStamp;
use super::{Catalog, Reply};
use rusqlite::params;
use towline_types::DocumentId;
use towline_upload::Phase;

impl Catalog {
    /// Records what the file of a completed document is known by: it was read, and is the
    /// right one. Of a document that is not completed any more nothing is recorded.
    pub fn note_stamp(&self, document_id: DocumentId, stamp: FileStamp) -> Reply<()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE documents SET file_inode = $1, file_modified = $2, \
                     file_mount_depth = $3 WHERE document_id = $4 AND status = $5",
                )?
                .execute(params![
                    stamp.inode.cast_signed(),
                    stamp.modified_ns,
                    stamp.mount_depth,
                    document_id.to_i64(),
                    Phase::Completed.as_str(),
                ])?;
            Ok(())
        })
    }

    /// Records that the file of a completed document was read and holds other bytes: it is
    /// read again before anything is said of it. Where the catalog knows the file by another
    /// stamp by now, nothing is recorded.
    ///
    /// The inode and the mount stay: they say where the file is expected.
    pub fn doubt_file(&self, document_id: DocumentId, stamp: FileStamp) -> Reply<()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE documents SET file_modified = $1 WHERE document_id = $2 \
                     AND status = $3 AND file_inode = $4 AND file_modified = $5",
                )?
                .execute(params![
                    FileStamp::DOUBTED_NS,
                    document_id.to_i64(),
                    Phase::Completed.as_str(),
                    stamp.inode.cast_signed(),
                    stamp.modified_ns,
                ])?;
            Ok(())
        })
    }
}
