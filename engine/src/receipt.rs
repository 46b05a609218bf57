//! The proof that a document is in its place.

use crate::audit::{AuditAction, AuditRecord};
use crate::log::UploadEnd;
use towline_state::catalog::{Availability, Document};
use towline_types::{DocumentId, DocumentPath, FileHash, FileSize, NodeId, Sha256Hash, Timestamp};
use towline_upload::Phase;

/// Proof that the document is in its place. If the receipt is durable, file, name and row survive a
/// power cut (P3). Only a publishing makes a receipt, and `SUCCESS` is made of a receipt alone.
#[derive(Debug)]
pub struct Receipt {
    document: Document,
    blake3: FileHash,
    created_at: Timestamp,
    durable: bool,
    /// The server made it from another document; no byte was sent for it.
    is_copy: bool,
}

impl Receipt {
    /// The receipt of a document that is completed already: the same as the first.
    pub(crate) fn of(document: Document) -> Option<Self> {
        let blake3 = document.blake3.filter(|_| document.phase == Phase::Completed)?;
        let created_at = document.created_at?;
        Some(Self { document, blake3, created_at, durable: true, is_copy: false })
    }

    /// The receipt of a document whose row says `completed`: file, name and row survive a power
    /// cut. For the publishing alone.
    pub(crate) fn durable(document: Document, blake3: FileHash, is_copy: bool) -> Self {
        let created_at = document.created_at.unwrap_or(document.last_chunk_at);
        Self { document, blake3, created_at, durable: true, is_copy }
    }

    /// The receipt of a document that has its name since `named_at`, and is made durable later. For
    /// the publishing alone.
    pub(crate) fn relaxed(
        document: Document,
        blake3: FileHash,
        named_at: Timestamp,
        is_copy: bool,
    ) -> Self {
        Self { document, blake3, created_at: named_at, durable: false, is_copy }
    }

    /// Which document it is.
    #[must_use]
    pub fn document_id(&self) -> DocumentId {
        self.document.document_id
    }

    /// The file whose version it is.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.document.node_id
    }

    /// The log line of its upload.
    pub(crate) fn upload_end(&self) -> UploadEnd<'_> {
        UploadEnd::of(&self.document)
    }

    /// The record of its upload, or of a look that has found it.
    pub(crate) fn audit_record(&self, action: AuditAction) -> AuditRecord {
        AuditRecord {
            document: Some(self.document_id()),
            node: self.node_id(),
            path: Some(self.path().to_string()),
            bytes: Some(self.filesize().get()),
            ..AuditRecord::done(action, self.document.user_id)
        }
    }

    /// The folder and name under which it lies.
    #[must_use]
    pub fn path(&self) -> &DocumentPath {
        self.document.file_path.as_ref().unwrap_or(&self.document.path)
    }

    /// The length of the file in bytes.
    #[must_use]
    pub fn filesize(&self) -> FileSize {
        self.document.filesize
    }

    /// The hash of its bytes.
    #[must_use]
    pub fn hash(&self) -> FileHash {
        self.blake3
    }

    /// The SHA-256 hash of its bytes, where that was asked for.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256Hash> {
        self.document.sha256
    }

    /// Whether it is given out, or has to be scanned before.
    #[must_use]
    pub fn availability(&self) -> Availability {
        self.document.availability
    }

    /// When it became complete.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Whether file, name and row survive a power cut.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether the server made it from another document.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }
}
