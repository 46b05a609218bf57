//! One line of the log for each upload that has ended or was paused.

use crate::origin::Origin;
use crate::units::Size;
use std::time::Instant;
use towline_state::catalog::Document;
use towline_types::{DocumentId, DocumentPath, FileSize, UserId};
use towline_upload::Phase;

/// The upload that has ended or was paused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadEnd<'a> {
    pub(crate) user: UserId,
    pub(crate) document: DocumentId,
    pub(crate) path: &'a DocumentPath,
    /// The length of the file, or as much of it as has come if the length is not declared.
    pub(crate) filesize: FileSize,
}

/// When a writer began with an upload, and how many bytes were there before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    at: Instant,
    held_bytes: u64,
}

impl Since {
    /// Now.
    pub(crate) fn now(held_bytes: u64) -> Self {
        Self { at: Instant::now(), held_bytes }
    }
}

impl<'a> UploadEnd<'a> {
    /// The upload as the catalog has it, under the name that the document got, if it has one.
    pub(crate) fn of(document: &'a Document) -> Self {
        Self {
            user: document.user_id,
            document: document.document_id,
            path: document.file_path.as_ref().unwrap_or(&document.path),
            filesize: document.length_so_far(),
        }
    }

    /// The connection has completed the upload.
    pub(crate) fn completed(self, origin: &Origin, since: Since) {
        self.rested("completed", origin, since, self.filesize.get());
    }

    /// The server has finished the upload by itself, at a start or after its connection had ended.
    pub(crate) fn completed_by_server(self) {
        let Self { user, document, path, filesize } = self;
        tracing::info!(
            outcome = "completed",
            %user,
            %document,
            path = ?path.to_string(),
            of = filesize.get(),
            "upload"
        );
    }

    /// The connection has ended or does something else; the upload can be resumed.
    pub(crate) fn paused(self, origin: &Origin, since: Since, received_bytes: u64) {
        self.rested("paused", origin, since, received_bytes);
    }

    fn rested(self, outcome: &str, origin: &Origin, since: Since, received_bytes: u64) {
        let Self { user, document, path, filesize } = self;
        let seconds = since.at.elapsed().as_secs_f64();
        let sent_bytes = received_bytes.saturating_sub(since.held_bytes);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people to read"
        )]
        let rate = Size((sent_bytes as f64 / seconds.max(0.001)) as u64);
        tracing::info!(
            outcome,
            %user,
            %document,
            path = ?path.to_string(),
            bytes = received_bytes,
            of = filesize.get(),
            seconds = format_args!("{seconds:.3}"),
            rate = format_args!("{rate}/s"),
            peer = %origin,
            "upload"
        );
    }

    /// The upload has ended without a document.
    pub(crate) fn without_document(self, phase: Phase, reason: &str) {
        let Self { user, document, path, filesize } = self;
        tracing::info!(
            outcome = %phase,
            %user,
            %document,
            path = ?path.to_string(),
            of = filesize.get(),
            reason = ?reason,
            "upload"
        );
    }
}
