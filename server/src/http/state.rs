//! What all connections of the HTTP door share.

use super::assemblies::Assemblies;
use super::shared_writers::SharedWriters;
use std::time::Duration;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct HttpState {
    pub(super) writers: SharedWriters,
    pub(super) assemblies: Assemblies,
}

/// The chunk size in bytes that a client is told to send in, where it does not say another one: a
/// range that does not begin at the first missing byte begins at a multiple of it.
pub(super) const CHUNK_BYTES: u32 = 8 << 20;

/// How long the token of one upload is good.
pub(super) const UPLOAD_TOKEN_TTL: Duration = Duration::from_secs(3600);
