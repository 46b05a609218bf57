//! The address at which others fetch one document.

use crate::frame::Channel;
use serde::{Deserialize, Serialize};
use towline_types::{DocumentId, Timestamp};

/// `{"action":"download_url","document_id":123,"path":"/d/123/a.txt?token=…", …}`
///
/// A server does not know by which name its clients reach it. So it says the part of the address
/// behind the host, and the client puts the rest before it: see [`origin`](Self::origin) and
/// [`port`](Self::port).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadUrl {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The version that is fetched there.
    pub document_id: DocumentId,
    /// Path and query of the address, in ASCII; the first character is `/`.
    pub path: String,
    /// Scheme, host and port of the address, where the server's operator has said them:
    /// `https://files.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The port at which the server serves HTTP, where that is not the port of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// When the address ends to be good.
    pub expires_at: Timestamp,
}
