//! What a server says of the uploads that are not complete.

use super::Reply;
use crate::frame::{self, Channel};
use crate::request::is_default;
use serde::{Deserialize, Serialize};
use towline_types::{DocumentId, FileSize, Offset, Timestamp};

/// An upload that is not complete. Its fields are those of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadState {
    /// The upload.
    pub document_id: DocumentId,
    /// `uploading` or `publishing`.
    pub status: String,
    /// The name that it asks for.
    pub filename: String,
    /// The folders around it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The bytes that the server holds without a gap.
    pub received: Offset,
    /// The bytes that survive a power cut.
    pub durable: Offset,
    /// Whether a connection is sending it just now.
    pub active: bool,
    /// When it will be given up if no byte comes, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// One of the frames that answer `uploads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploads {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The uploads, in the order of their numbers.
    pub uploads: Vec<UploadState>,
    /// No frame of this answer follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: bool,
    /// In the last frame, where there is more: what the next request says in `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Uploads {
    /// The frames of one answer with these uploads, as few as may carry them.
    #[must_use]
    pub fn frames(channel: Channel, uploads: Vec<UploadState>, next: Option<String>) -> Vec<u8> {
        frame::pages(uploads, next, |uploads, end, next| {
            Reply::Uploads(Self { channel, uploads, end, next })
        })
    }
}
