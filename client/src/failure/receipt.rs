//! Why a file has no receipt, although one was asked for.

use crate::address::ServerAddress;
use crate::receipts::BadReceipt;
use crate::system::in_words;
use crate::text::shown;
use std::io;
use std::path::PathBuf;
use towline_types::Fingerprint;

/// See the module's description.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptFailure {
    /// The server does not know of receipts.
    #[error("{server} signs no receipts; nothing was sent")]
    NotSigned {
        /// The server.
        server: ServerAddress,
    },
    /// The server would sign with another key than the one by which it is known.
    #[error(
        "{server} would sign receipts with the key {found}, and its connections have the key \
         {expected}; nothing was sent"
    )]
    OtherKey {
        /// The server.
        server: ServerAddress,
        /// The key of its connections.
        expected: Fingerprint,
        /// The key of its receipts.
        found: Fingerprint,
    },
    /// The receipt of a file is not good.
    #[error("the file is on the server, and its receipt was not kept: {0}")]
    Bad(BadReceipt),
    /// The receipt could not be written.
    #[error(
        "the file is on the server, and its receipt could not be written to {}: {}",
        shown(path),
        in_words(source)
    )]
    NotWritten {
        /// The file of receipts.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl ReceiptFailure {
    /// Whether it is about all files of the server.
    pub(crate) const fn concerns_all(&self) -> bool {
        matches!(self, Self::NotSigned { .. } | Self::OtherKey { .. })
    }

    /// What a person can do.
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::NotSigned { .. } => {
                "omit --receipts, or ask the server's operator to update towlined"
            }
            Self::OtherKey { .. } => {
                "another program may stand in between and end the encryption: ask the server's \
                 operator, or omit --receipts"
            }
            Self::Bad(_) => {
                "run the same command again to ask for another one; if that is not good either, ask \
                 the server's operator"
            }
            Self::NotWritten { .. } => {
                "run the same command again when the file can be written: it asks for the receipts \
                 of files that are there as well"
            }
        }
    }
}
