//! What a transfer knows of its upload on the server: the states, and what belongs to each. Pure.
//!
//! A transfer begins as [`Upload::Unasked`], or with an upload that this run has begun before.
//! The state file says which upload an earlier run has begun, if any; the server says the rest.
//!
//! ```text
//! Unasked ── the state file has none ──▶ None ── granted, or found on the server ──▶ Known
//!    │                                    ▲                                            │
//!    └──── the state file has one ────────┼────────────────────────────────────────▶ Known
//!                                         └──── it cannot be continued ────────────────┘
//! ```

use crate::proof::Proof;
use towline_types::{DocumentId, Generation, Offset};

/// The upload of one file, as far as this run knows it.
#[derive(Debug)]
pub(super) enum Upload {
    /// The state file was not asked yet.
    Unasked,
    /// There is no upload to continue.
    None {
        /// The upload that was found and cannot be continued: the server may offer it again.
        given_up: Option<DocumentId>,
    },
    /// This upload exists, or existed at the last answer about it.
    Known(KnownUpload),
}

/// An upload with a document number.
#[derive(Debug)]
pub(super) struct KnownUpload {
    pub(super) document_id: DocumentId,
    pub(super) begun_by: BegunBy,
    /// Whether the state file was told of it.
    pub(super) is_listed: bool,
    pub(super) expected: Expected,
    /// What an earlier run wrote down of the blocks that it had sent; taken at the first
    /// comparison.
    pub(super) proof: Option<Proof>,
    /// The lease under which the main connection writes, where the server has named one.
    pub(super) lease: Option<Generation>,
}

/// Which run began an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BegunBy {
    ThisRun,
    /// The earlier run may have asked for another rule where the name is taken.
    EarlierRun,
}

/// The offset that the next `resume` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// No offset: the server decides.
    Nothing,
    /// The offset of the state file. It is named once.
    At(Offset),
    /// The file is longer than when the upload began, and the server does not know that yet.
    Grown,
}

impl KnownUpload {
    /// An upload of which only the number is known.
    pub(super) fn new(document_id: DocumentId, begun_by: BegunBy) -> Self {
        Self {
            document_id,
            begun_by,
            is_listed: false,
            expected: Expected::Nothing,
            proof: None,
            lease: None,
        }
    }

    /// The server has granted to continue it.
    pub(super) fn was_resumed(&mut self, lease: Option<Generation>) {
        self.lease = lease;
        self.expected = Expected::Nothing;
    }

    /// Whether the server has to be told that the file has grown.
    pub(super) fn has_grown(&self) -> bool {
        self.expected == Expected::Grown
    }

    /// The offset for the next `resume`, which is named once: where the server has another offset,
    /// the server is right.
    pub(super) fn take_expected_offset(&mut self) -> Option<Offset> {
        match self.expected {
            Expected::At(offset) => {
                self.expected = Expected::Nothing;
                Some(offset)
            }
            Expected::Nothing | Expected::Grown => None,
        }
    }
}

impl Upload {
    pub(super) fn known(&self) -> Option<&KnownUpload> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unasked | Self::None { .. } => None,
        }
    }

    pub(super) fn known_mut(&mut self) -> Option<&mut KnownUpload> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unasked | Self::None { .. } => None,
        }
    }

    /// Whether this upload was found before and cannot be continued.
    pub(super) fn was_given_up(&self, document_id: DocumentId) -> bool {
        matches!(self, Self::None { given_up: Some(given_up) } if *given_up == document_id)
    }
}

/// Whether `upload` names the hash of the file, by which the server finds a document with the same
/// bytes. To find the hash, the whole file has to be read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfferHash {
    /// Where the server has a document of the same length.
    WhereSizeIsKnown,
    /// In any case: this run has sent the whole file without an answer, and the server may
    /// publish it at any moment.
    Always,
    /// In no case: a second copy is wanted, or the server answers with a document in another
    /// place.
    Never,
}

impl OfferHash {
    /// Whether to name it, where the server has said whether it has a document of this length.
    pub(super) fn applies(self, has_same_size: bool) -> bool {
        match self {
            Self::WhereSizeIsKnown => has_same_size,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_the_state_file_is_said_once_and_growth_until_it_is_granted() {
        let mut known = KnownUpload::new(DocumentId::MIN, BegunBy::EarlierRun);
        assert_eq!((known.take_expected_offset(), known.has_grown()), (None, false));
        known.expected = Expected::At(Offset::ZERO);
        assert_eq!(known.take_expected_offset(), Some(Offset::ZERO));
        assert_eq!(known.take_expected_offset(), None);
        known.expected = Expected::Grown;
        assert_eq!((known.take_expected_offset(), known.has_grown()), (None, true));
        assert!(known.has_grown(), "an attempt without a grant changes nothing");
        known.was_resumed(None);
        assert!(!known.has_grown());
    }

    #[test]
    fn only_an_upload_that_was_given_up_is_passed_over() {
        let id = DocumentId::MIN;
        assert!(!Upload::Unasked.was_given_up(id));
        assert!(!Upload::None { given_up: None }.was_given_up(id));
        assert!(Upload::None { given_up: Some(id) }.was_given_up(id));
        assert!(!Upload::Known(KnownUpload::new(id, BegunBy::ThisRun)).was_given_up(id));
    }
}
