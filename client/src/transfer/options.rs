//! How a file is to be uploaded.

use crate::parallel::Parallel;
use towline_types::{DocumentId, OnConflict};

/// How a file is to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// The payload of a chunk in bytes; `None` takes the server's proposal and adapts it to the
    /// link.
    pub chunk_bytes: Option<u32>,
    /// What the server does where the name is taken; with `None`, what was asked for when the
    /// upload began.
    pub on_conflict: Option<OnConflict>,
    /// Upload the file even if the server has the same bytes already.
    pub again: bool,
    /// Continue this upload, where it still exists.
    pub document_id: Option<DocumentId>,
    /// Over how many connections the file is sent.
    pub parallel: Parallel,
}
