//! One file of a batch, and what remains to do with it.

use crate::document::Document;
use std::collections::BTreeMap;
use towline_types::{DocumentId, OnConflict};

/// One file of many.
#[derive(Debug)]
pub(crate) struct BatchItem<'a> {
    /// The place of the file in the caller's list.
    pub(crate) index: usize,
    pub(crate) document: &'a Document,
    pub(crate) on_conflict: Option<OnConflict>,
    /// Upload even if the same bytes are there already.
    pub(crate) again: bool,
}

/// The files that remain for [`Transfer`](crate::transfer::Transfer), by their places in the
/// caller's list.
pub(crate) type Remaining = BTreeMap<usize, PriorAttempt>;

/// What this run has done with a file before, and hence what the server may have of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriorAttempt {
    /// This run has sent nothing of the file.
    Nothing,
    /// The whole file was sent before any answer, and no answer came: the server may publish
    /// it at any moment.
    SentAhead,
    /// The server has granted this upload.
    Document(DocumentId),
}
