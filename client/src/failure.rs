//! Why an upload failed, in words for a person.

mod advice;
mod exit_code;
mod name_taken;
mod receipt;
mod refused;
mod saved_progress;
#[cfg(test)]
mod tests;
mod words;

use crate::address::ServerAddress;
use crate::route::no_server::NoServer;
use crate::system::in_words;
use crate::text::printable;
pub use name_taken::NameTaken;
pub use receipt::ReceiptFailure;
pub use saved_progress::SavedProgress;
use std::io;
use std::path::PathBuf;
use towline_protocol::{Code, ErrorReply};
use towline_state::StateFileError;
use towline_types::{
    BadLinkTarget, BadName, DocumentId, DocumentPath, FileHash, FileSize, Fingerprint, NodeKind,
};

/// Why an upload or a command failed. Its text says what happened, [`exit`](Self::exit) says what
/// that means for a script, and [`advice`](Self::advice) says what the server keeps and what a
/// person can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The local file could not be read.
    #[error("{}: {}", words::cannot(action), in_words(source))]
    File {
        /// What the client tried to do with the file.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The local file was there when the command began, and is not there now.
    #[error("it was there when this command began, and it is missing now")]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The upload with the given number belongs to another user or to another file.
    #[error(
        "document {document_id} is the upload of another file or of another user; `towline put` \
         begins a new upload for this file"
    )]
    NotYours {
        /// The upload.
        document_id: DocumentId,
    },
    /// The upload with the given number, or the command to continue, is on another server than the
    /// one that answers at this address.
    #[error(
        "{} was begun on one server, and now another server answers at {}",
        document_id.map_or("this command".to_owned(), |id| format!("document {id}")),
        printable(server)
    )]
    OtherServer {
        /// The upload; nothing where the failure is about a whole command.
        document_id: Option<DocumentId>,
        /// The address of the server that answers.
        server: String,
    },
    /// A folder, a device or another special file where a regular file was expected.
    #[error("it is {what} and not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// The kind of the file.
        what: &'static str,
    },
    /// `-` where a file was expected.
    #[error("standard input is sent alone and under a name that you give it")]
    StandardInput,
    /// A file whose size is not known before it is read, and which is too long to be read at once.
    #[error("its size is not known before it is read, and it has more than 64 MiB")]
    UnknownSize {
        /// The file.
        path: PathBuf,
    },
    /// A file without an end, such as `/proc/kmsg`: a reader waits for more bytes.
    #[error("it never ends: more data can always follow, as in a log that is being written")]
    NoEnd {
        /// The file.
        path: PathBuf,
    },
    /// Every server would refuse the name.
    #[error("its name cannot be used: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why.
        reason: BadName,
    },
    /// The server says a name that may not be made here.
    #[error("its name cannot be used: {reason}{}", words::with_all_in_it(*is_folder))]
    NameLeftOut {
        /// The name.
        name: String,
        /// Why.
        reason: BadName,
        /// It is a folder, and what lies in it is left out with it.
        is_folder: bool,
    },
    /// The name is not Unicode, and names on a server are.
    #[error("its name is not valid Unicode, and a server accepts only Unicode names")]
    NotUnicode {
        /// The name, with the parts that can be shown.
        name: String,
    },
    /// The target of a symbolic link is not Unicode.
    #[error("it is a symbolic link whose target is not Unicode, and targets on a server are")]
    TargetNotUnicode,
    /// The target of a symbolic link is one that every server refuses.
    #[error("it is a symbolic link that cannot be sent: {reason}")]
    BadTarget {
        /// Why.
        reason: BadLinkTarget,
    },
    /// The local file changed while it was being sent.
    #[error("the file was changed while it was being sent{}", words::shorter(*is_shorter))]
    Changed {
        /// How far the upload is; nothing where the file is shorter now.
        kept: Option<SavedProgress>,
        /// The file is shorter than when its upload began. The server does not shorten an upload,
        /// so nothing of this one stays.
        is_shorter: bool,
    },
    /// The server could not be reached, or the connections were too short, and the retries are used
    /// up.
    #[error("{server} cannot be reached: {reason}{}", words::tried(*attempts))]
    Unreachable {
        /// The server.
        server: ServerAddress,
        /// The number of attempts.
        attempts: u32,
        /// The error of the last attempt.
        reason: String,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// There is no server at the address, or the address does not exist.
    #[error("{}{}", why.sentence(server), words::tried(*attempts))]
    NoServer {
        /// The address.
        server: ServerAddress,
        /// The number of attempts.
        attempts: u32,
        /// What the address lacks.
        why: NoServer,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The connection was lost in every attempt, though the server could be reached, and the
    /// retries are used up.
    #[error("the connection to {server} was lost: {reason}{}", words::tried(*attempts))]
    ConnectionLost {
        /// The server.
        server: ServerAddress,
        /// The number of attempts.
        attempts: u32,
        /// The error of the last attempt.
        reason: String,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// The server has a key that is not known here.
    #[error("{server} is not known yet; its key is {found}")]
    KeyUnknown {
        /// The server.
        server: ServerAddress,
        /// Its key.
        found: Fingerprint,
    },
    /// The server has another key than it has to have.
    #[error(
        "{server} is not the server that it has to be: its key is {found}, and has to be {expected}. \
         Nothing was sent, not even the token"
    )]
    KeyChanged {
        /// The server.
        server: ServerAddress,
        /// The key that it has to have.
        expected: Fingerprint,
        /// The key that it has.
        found: Fingerprint,
    },
    /// There is no receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptFailure),
    /// What answers speaks no TLS 1.3.
    #[error("{server} does not answer in TLS; nothing was sent, not even the token")]
    NoTls {
        /// The server.
        server: ServerAddress,
    },
    /// The server refused the request.
    #[error("{}", refused::sentence(reply))]
    Refused {
        /// The server's reply.
        reply: Box<ErrorReply>,
        /// How far the upload is.
        kept: Option<SavedProgress>,
    },
    /// Something else has the name on the server.
    #[error("{}", refused::taken_sentence(reply, *what))]
    Taken {
        /// The server's reply.
        reply: Box<ErrorReply>,
        /// What was to get the name.
        what: NodeKind,
        /// The folder and the name, as a path on the server.
        place: String,
        /// It was to become the next version of the file that is there.
        replaces: bool,
    },
    /// The file is longer than this server allows.
    #[error("{}", words::too_large(*filesize, *max_bytes))]
    TooLarge {
        /// Its length.
        filesize: FileSize,
        /// The largest length that the server allows, in bytes.
        max_bytes: u64,
    },
    /// The document differs from what was sent, or something on the way damages the bytes.
    #[error("{reason}")]
    Integrity {
        /// What differs.
        reason: String,
        /// The document.
        document_id: Option<DocumentId>,
    },
    /// The server has another hash for the file than this machine.
    #[error(
        "the server has other contents than this file: the file has the hash {here}, and document \
         {document_id} on the server has the hash {there}"
    )]
    OtherHash {
        /// The document.
        document_id: DocumentId,
        /// The hash on the server.
        there: FileHash,
        /// The hash of the local file.
        here: FileHash,
    },
    /// Something has the name that a file is to get here.
    #[error("{by} with this name exists here")]
    LocalExists {
        /// The path.
        path: PathBuf,
        /// What has the name.
        by: NameTaken,
    },
    /// The name is one of those that the client gives to files while it fetches them.
    #[error("files that are being fetched have names of this form while they are not whole")]
    StagingName {
        /// The path.
        path: PathBuf,
    },
    /// Another process fetches a file into the same place.
    #[error("another towline is fetching it into the same place")]
    LocalBusy {
        /// The path.
        path: PathBuf,
    },
    /// The server does not know the requests that the command needs.
    #[error("{server} cannot do that: its version of towlined is too old")]
    NotSupported {
        /// The server.
        server: ServerAddress,
    },
    /// The document is no whole file yet, or no longer.
    #[error("document {document_id} is not complete on the server, so it cannot be fetched")]
    NotComplete {
        /// The document.
        document_id: DocumentId,
    },
    /// The upload of a pipe has failed, and cannot be continued.
    #[error("{failure}")]
    OfPipe {
        /// Why.
        failure: Box<Failure>,
        /// The command that deletes what has arrived; absent where that was done.
        cancel: Option<String>,
    },
    /// What was being written to standard output is not whole.
    #[error("{0}")]
    OfOutput(Box<Failure>),
    /// The server sent something that the protocol does not allow.
    #[error("the server broke the rules of the protocol: {}", printable(.0))]
    Protocol(String),
    /// A list of the server has more entries than the caller takes.
    #[error("the server lists more than {max} files, folders and links")]
    EndlessList {
        /// The most that the caller takes.
        max: u64,
    },
    /// The caller has asked for a pause.
    #[error("interrupted")]
    Interrupted(Option<SavedProgress>),
    /// The state file cannot be used.
    #[error("{}", words::state_file(.0))]
    StateFile(#[from] StateFileError),
}

impl Failure {
    /// Whether it is refused because of its name, its kind or, if it is a link, its target: no
    /// server takes it, now or later.
    pub(crate) fn is_of_name(&self) -> bool {
        match self {
            Self::BadName { .. }
            | Self::NameLeftOut { .. }
            | Self::NotUnicode { .. }
            | Self::TargetNotUnicode
            | Self::BadTarget { .. }
            | Self::NotAFile { .. }
            | Self::StandardInput => true,
            other => other.code() == Some(Code::BadName),
        }
    }

    /// Whether it is about only the thing that was asked for, so that other things may still be had
    /// from this server.
    #[cfg(unix)]
    pub(crate) fn is_of_one_thing(&self) -> bool {
        match self {
            Self::BadName { .. } | Self::NameLeftOut { .. } | Self::NotComplete { .. } => true,
            Self::Refused { reply, .. } => {
                !reply.code.closes()
                    && !matches!(
                        reply.code,
                        Code::Unauthorized | Code::AuthExpired | Code::WrongUser
                    )
            }
            _ => false,
        }
    }

    /// The server's code for the failure, where the server has refused.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { reply, .. } | Self::Taken { reply, .. } => Some(reply.code),
            Self::TooLarge { .. } => Some(Code::SizeLimit),
            Self::OfPipe { failure, .. } | Self::OfOutput(failure) => failure.code(),
            _ => None,
        }
    }

    /// What the server keeps of the upload, if it keeps anything.
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

    /// The document that the failure is about, if it is about one.
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
    /// The same failure. Where something else has the name, it also says what was to get the name.
    pub(crate) fn of_item(self, what: NodeKind, place: &DocumentPath, replaces: bool) -> Self {
        match self {
            Self::Refused { reply, kept: None }
                if reply.code == Code::Exists && !refused::is_about_folder(&reply) =>
            {
                Self::Taken { reply, what, place: place.to_string(), replaces }
            }
            other => other,
        }
    }

    /// The same failure, with what is known of the upload.
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
    /// The same failure; where the size of the file makes it clearer, with the size.
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

/// Whether the server keeps nothing of an upload that it refuses with this code.
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
