//! A document that is complete, as a client is shown it.

use super::disposition::media_type;
use serde::Serialize;
use std::time::{Duration, UNIX_EPOCH};
use towline_engine::Receipt;
use towline_state::catalog::{Availability, Description, ScanVerdict};
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
    /// The media type: by the content, where that was scanned, else by the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scan: Option<Scan>,
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
            status: word(receipt.availability()),
            created_at: time_text(receipt.created_at()),
            tags: None,
            content_type: None,
            scan: None,
        }
    }

    /// The same with what the client has said of it.
    pub(super) fn described(self, said: Description) -> Self {
        Self { tags: Some(said.tags), ..self }
    }

    /// The same with what was found out about it.
    pub(super) fn scanned(self, verdict: Option<ScanVerdict>) -> Self {
        let by_name = media_type(&self.filename).unwrap_or("application/octet-stream");
        let found = verdict.as_ref().and_then(|verdict| verdict.content_type.clone());
        let content_type = Some(found.unwrap_or_else(|| by_name.to_owned()));
        let scan = verdict.map(|verdict| Scan {
            verdict: verdict.outcome.as_str(),
            scanner: verdict.scanner,
            signatures: verdict.signatures,
            detail: verdict.detail,
            at: time_text(verdict.at),
        });
        Self { content_type, scan, ..self }
    }
}

/// The word for the state of a document, as the drawing of `docs/http.md` has them.
pub(super) const fn word(availability: Availability) -> &'static str {
    match availability {
        Availability::Available => "AVAILABLE",
        Availability::Scanning => "SCANNING",
        Availability::Failed => "FAILED",
        Availability::Isolating | Availability::Quarantined | Availability::Releasing => {
            "QUARANTINED"
        }
    }
}

/// What a scanner has found out about a document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
struct Scan {
    verdict: &'static str,
    scanner: Option<String>,
    signatures: Option<String>,
    /// The name of what was found, or why nothing could be said.
    detail: Option<String>,
    at: String,
}

/// The last second that has a year of four digits.
pub(super) const LAST_MS: u64 = 253_402_300_799_000;

/// A time as RFC 3339 writes it.
pub(super) fn time_text(at: Timestamp) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at.get().min(LAST_MS));
    humantime::format_rfc3339_millis(at).to_string()
}
