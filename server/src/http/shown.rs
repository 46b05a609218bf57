//! A document that is complete, as a client is shown it.

use serde::Serialize;
use std::time::{Duration, UNIX_EPOCH};
use towline_engine::Receipt;
use towline_state::catalog::Description;
use towline_types::{DocumentId, FileHash, NodeId, Sha256Hash, Timestamp};

/// A document as the client is shown it when its upload has ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[cfg_attr(test, schema(as = Document))]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    #[cfg_attr(test, schema(value_type = u64))]
    document_id: DocumentId,
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    file_id: Option<NodeId>,
    filename: String,
    folder: String,
    size: u64,
    #[cfg_attr(test, schema(value_type = Option<String>))]
    sha256: Option<Sha256Hash>,
    #[cfg_attr(test, schema(value_type = String))]
    blake3: FileHash,
    status: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
}

impl Shown {
    pub(super) fn of_receipt(receipt: &Receipt) -> Self {
        Self {
            document_id: receipt.document_id(),
            file_id: receipt.node_id(),
            filename: receipt.path().filename().to_string(),
            folder: receipt.path().folder_text(),
            size: receipt.filesize().get(),
            sha256: receipt.sha256(),
            blake3: receipt.hash(),
            status: AVAILABLE,
            created_at: time_text(receipt.created_at()),
            tags: None,
        }
    }

    /// The same with what the client has said of it.
    pub(super) fn described(self, said: Description) -> Self {
        Self { tags: Some(said.tags), ..self }
    }
}

/// The state of a document that can be read.
pub(super) const AVAILABLE: &str = "AVAILABLE";

/// The last second that has a year of four digits.
pub(super) const LAST_MS: u64 = 253_402_300_799_000;

/// A time as RFC 3339 writes it.
pub(super) fn time_text(at: Timestamp) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at.get().min(LAST_MS));
    humantime::format_rfc3339_millis(at).to_string()
}
