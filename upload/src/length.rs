//! How long the file of an upload is.

use towline_types::{FileSize, Offset};

/// How long the file of an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Its writer has said so.
    Declared(FileSize),
    /// Its writer says so before the upload is completed. Until then bytes may come up to
    /// `max`.
    Open {
        /// The largest length that may be declared.
        max: FileSize,
    },
}

impl Length {
    /// The length, or the largest that it may become.
    #[must_use]
    pub const fn bound(self) -> FileSize {
        match self {
            Self::Declared(filesize) | Self::Open { max: filesize } => filesize,
        }
    }

    /// The length; while it is not declared, that of the bytes that have come.
    #[must_use]
    pub fn so_far(self, received: Offset) -> FileSize {
        match self {
            Self::Declared(filesize) => filesize,
            // No byte lies after the largest length.
            Self::Open { max } => FileSize::try_from(received.get()).unwrap_or(max),
        }
    }

    /// The length, once it is known.
    #[must_use]
    pub const fn declared(self) -> Option<FileSize> {
        match self {
            Self::Declared(filesize) => Some(filesize),
            Self::Open { .. } => None,
        }
    }
}
