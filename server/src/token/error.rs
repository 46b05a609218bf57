//! What can be wrong with a token, or with a key.

use std::io;
use std::path::{Path, PathBuf};
use towline_engine::storage::PathError;
use towline_types::KeyId;

/// Why a token is refused. A client that has not logged in learns no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token was valid and has expired.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// The token says that another server has issued it.
    #[error("this token was issued by another server")]
    OtherServer,
    /// The token says that this server has issued it, with a key that is not here.
    #[error("the key that signed this token is not in use on this server; ask for a new token")]
    UnknownKey,
    /// Anything else.
    #[error("this server did not issue that token")]
    Bad,
}

/// A key could not be read, made or retired.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] PathError),
    /// The file holds no Ed25519 key.
    #[error("{} holds no Ed25519 key", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("no key could be made")]
    NotMade,
    /// There is no key of that id.
    #[error("there is no key {id}; `towlined key list` shows the keys")]
    NoSuchKey {
        /// The id.
        id: KeyId,
    },
    /// The key is the one that signs.
    #[error(
        "{id} is the key that signs new tokens; add another key first (`towlined key add`), then \
         retire this one"
    )]
    Signs {
        /// The id.
        id: KeyId,
    },
}

/// The error where something could not be done with the file of a key or a token.
pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    PathError::of(what, path)
}
