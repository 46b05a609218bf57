//! Why an upload did not come to its end, for the person who wanted it.

mod advice;
mod exit_code;
mod refused;
mod saved_progress;
#[cfg(test)]
mod tests;
mod words;

use crate::address::ServerAddress;
use crate::route::no_server::NoServer;
use crate::system::in_words;
use crate::text::printable;
pub use saved_progress::SavedProgress;
use std::io;
use std::path::PathBuf;
use towline_protocol::{Code, ErrorReply};
use towline_state::StateFileError;
use towline_types::{BadName, DocumentId, FileHash, FileSize};

/// Why something was not done. Its text says what happened, [`exit`](Self::exit)
/// what that means for a script and [`advice`](Self::advice) what is kept and
/// what can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The local file does not let itself be read.
    #[error("cannot {action} it: {}", in_words(source))]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The local file was there when the command began, and is not there now.
    #[error("it was there when this command began and is not there now")]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The upload that was asked for by number is another user's, or another file's.
    #[error(
        "document {document_id} was not begun with this file by the user of this token; put the \
         file to begin an upload of its own"
    )]
    NotYours {
        /// The upload.
        document_id: DocumentId,
    },
    /// The upload that was asked for by number, or the command that was to go on, is on
    /// another server than the one that answers at this address.
    #[error(
        "{} is on another server than the one that answers at {} now",
        document_id.map_or("what this command has begun".to_owned(), |id| format!("document {id}")),
        printable(server)
    )]
    OtherServer {
        /// The upload; nothing where it is about a whole command.
        document_id: Option<DocumentId>,
        /// The address.
        server: String,
    },
    /// A folder, a device or the like where a file was expected.
    #[error("it is {what}, not a regular file")]
    NotAFile {
        /// What it is not.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// `-` where a file was expected.
    #[error("standard input cannot be uploaded")]
    StandardInput,
    /// A file whose size is not known before it is read, and too long for that.
    #[error("its size is not known in advance, and it has more than 64 MiB")]
    UnknownSize {
        /// The file.
        path: PathBuf,
    },
    /// A file without an end: a reader waits for what comes next.
    #[error("it has no end: a reader of it waits for what comes next")]
    NoEnd {
        /// The file.
        path: PathBuf,
    },
    /// The name would be refused by every server.
    #[error("its name cannot be used: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why.
        reason: BadName,
    },
    /// The name is not Unicode, which names on a server are.
    #[error("its name is not Unicode, and names on a server are")]
    NotUnicode {
        /// The name, as far as it can be shown.
        name: String,
    },
    /// The local file changed while it was being sent.
    #[error("the file was changed while it was being sent{}", words::shorter(*is_shorter))]
    Changed {
        /// How far the upload is; nothing where the file is shorter now.
        kept: Option<SavedProgress>,
        /// It is shorter than when its upload began: the server takes no upload back to
        /// fewer bytes, so nothing of it stays.
        is_shorter: bool,
    },
    /// The server could not be reached, or not for long enough, and the
    /// retries are used up.
    #[error("{server} cannot be reached: {reason}{}", words::tried(*attempts))]
    Unreachable {
        /// The server.
        server: ServerAddress,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong the last time.
        reason: String,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// There is no server at the address, or no such address.
    #[error("{}{}", why.sentence(server), words::tried(*attempts))]
    NoServer {
        /// The address.
        server: ServerAddress,
        /// How often it was tried.
        attempts: u32,
        /// What is missing.
        why: NoServer,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The connection was lost again and again, though the server could be reached, and the
    /// retries are used up.
    #[error("the connection to {server} was lost: {reason}{}", words::tried(*attempts))]
    ConnectionLost {
        /// The server.
        server: ServerAddress,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong the last time.
        reason: String,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The server said no.
    #[error("{}", refused::sentence(reply))]
    Refused {
        /// Its words.
        reply: Box<ErrorReply>,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The file is larger than this server takes.
    #[error("{}", words::too_large(*filesize, *max_bytes))]
    TooLarge {
        /// Its length.
        filesize: FileSize,
        /// The most that the server takes, in bytes.
        max_bytes: u64,
    },
    /// The whole differs from what was sent, or something on the way damages it.
    #[error("{reason}")]
    Integrity {
        /// What differs from what.
        reason: String,
        /// The document.
        document_id: Option<DocumentId>,
    },
    /// The server says the file has another hash than it has here.
    #[error("the file has the hash {here} here and {there} as document {document_id}")]
    OtherHash {
        /// The document.
        document_id: DocumentId,
        /// Its hash there.
        there: FileHash,
        /// The hash of the local file.
        here: FileHash,
    },
    /// The server said something that no server may say.
    #[error("the server does not keep to the protocol: {}", printable(.0))]
    Protocol(String),
    /// The caller wanted to stop.
    #[error("interrupted")]
    Interrupted(Option<SavedProgress>),
    /// The state file is not to be used.
    #[error("{}", words::state_file(.0))]
    StateFile(#[from] StateFileError),
}

impl Failure {
    /// Whether it is the file's name, or what kind of thing it is, that is refused: no
    /// server takes it, now or later.
    pub(crate) fn is_of_name(&self) -> bool {
        match self {
            Self::BadName { .. }
            | Self::NotUnicode { .. }
            | Self::NotAFile { .. }
            | Self::StandardInput => true,
            other => other.code() == Some(Code::BadName),
        }
    }

    /// The server's word for it, where it was the server that said no.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { reply, .. } => Some(reply.code),
            Self::TooLarge { .. } => Some(Code::SizeLimit),
            _ => None,
        }
    }

    /// What the server keeps, where it keeps something.
    #[must_use]
    pub fn kept(&self) -> Option<SavedProgress> {
        match self {
            Self::Unreachable { kept, .. }
            | Self::Changed { kept, .. }
            | Self::NoServer { kept, .. }
            | Self::ConnectionLost { kept, .. }
            | Self::File { kept, .. }
            | Self::Refused { kept, .. }
            | Self::Interrupted(kept) => *kept,
            _ => None,
        }
    }

    /// The document that it is about, where there is one.
    #[must_use]
    pub fn document_id(&self) -> Option<DocumentId> {
        match self {
            Self::Integrity { document_id, .. } => *document_id,
            Self::OtherHash { document_id, .. } => Some(*document_id),
            Self::OtherServer { document_id, .. } => *document_id,
            _ => self.kept().map(|kept| kept.document_id),
        }
    }
}

impl Failure {
    /// The same, with what is known of the upload.
    pub(crate) fn with(mut self, known: Option<SavedProgress>) -> Self {
        match &mut self {
            Self::Refused { reply, .. } if ends_upload(reply.code) => {}
            Self::Unreachable { kept, .. }
            | Self::NoServer { kept, .. }
            | Self::ConnectionLost { kept, .. }
            | Self::File { kept, .. }
            | Self::Refused { kept, .. } => *kept = kept.or(known),
            _ => {}
        }
        self
    }
}

impl Failure {
    /// The same, where the size of the file makes it clearer.
    pub(crate) fn of_size(self, filesize: FileSize) -> Self {
        match self {
            Self::Refused { reply, .. } if reply.code == Code::SizeLimit => match reply.max {
                Some(max_bytes) => Self::TooLarge { filesize, max_bytes },
                None => Self::Refused { reply, kept: None },
            },
            other => other,
        }
    }
}

/// Whether nothing is left of the upload that was refused so.
pub(crate) fn ends_upload(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound
            | Code::Expired
            | Code::Cancelled
            | Code::Failed
            | Code::StorageFailed
            | Code::HashMismatch
    )
}
