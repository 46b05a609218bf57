//! Why an upload did not come to its end, for the person who wanted it.

use crate::address::ServerAddress;
use crate::exit::Exit;
use crate::text::printable;
use std::io;
use std::path::PathBuf;
use towline_protocol::{BadName, Code, DocumentId, ErrorReply, FileHash, FileSize, Offset};
use towline_state::StateFileError;

/// Why something was not done. Its text says what happened, [`exit`](Self::exit)
/// what that means for a script and [`advice`](Self::advice) what is kept and
/// what can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The local file does not let itself be read.
    #[error("cannot {action} it: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
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
    /// A folder, a device or the like where a file was expected.
    #[error("it is not a regular file")]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// The name would be refused by every server.
    #[error("the name {:?} cannot be used: {reason}", printable(name))]
    BadName {
        /// The name.
        name: String,
        /// Why.
        reason: BadName,
    },
    /// The name is not Unicode, which names on a server are.
    #[error("the name {:?} is not Unicode", printable(name))]
    NotUnicode {
        /// The name, as far as it can be shown.
        name: String,
    },
    /// The local file changed while it was being sent.
    #[error("the file was changed while it was being sent")]
    Changed(Option<Kept>),
    /// The server could not be reached, or not for long enough, and the
    /// retries are used up.
    #[error("{server} cannot be reached: {reason}{}", tried(*attempts))]
    Unreachable {
        /// The server.
        server: ServerAddress,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong the last time.
        reason: String,
        /// How far the upload is.
        kept: Option<Kept>,
    },
    /// The server said no.
    #[error("the server says {}: {}", reply.code, printable(&reply.message))]
    Refused {
        /// Its words.
        reply: Box<ErrorReply>,
        /// How far the upload is.
        kept: Option<Kept>,
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
    Interrupted(Option<Kept>),
    /// The state file is not to be used.
    #[error("{}", state_file(.0))]
    StateFile(#[from] StateFileError),
}

/// What the server keeps of an upload that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The upload.
    pub document_id: DocumentId,
    /// The bytes that are safe there.
    pub durable: Offset,
    /// The whole length in bytes.
    pub filesize: FileSize,
}

impl Failure {
    /// What it means for a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File { .. }
            | Self::NotAFile { .. }
            | Self::BadName { .. }
            | Self::NotUnicode { .. }
            | Self::NotYours { .. }
            | Self::Protocol(_)
            | Self::StateFile(_) => Exit::Refused,
            Self::Changed(_) | Self::Unreachable { .. } | Self::Interrupted(_) => Exit::Resumable,
            Self::Refused { reply, .. } => match reply.code {
                Code::NoSpace | Code::Superseded | Code::TooMany | Code::StorageReadOnly => {
                    Exit::Resumable
                }
                Code::HashMismatch => Exit::Integrity,
                _ => Exit::Refused,
            },
            Self::Integrity { .. } | Self::OtherHash { .. } => Exit::Integrity,
        }
    }

    /// The server's word for it, where it was the server that said no.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { reply, .. } => Some(reply.code),
            _ => None,
        }
    }

    /// What the server keeps, where it keeps something.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        match self {
            Self::Changed(kept) => *kept,
            Self::Unreachable { kept, .. }
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
            _ => self.kept().map(|kept| kept.document_id),
        }
    }

    /// What is kept and what to do now, in sentences.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let kept = self.kept().map(Kept::sentence);
        let todo = match self {
            Self::Refused { reply, .. } => match reply.code {
                Code::NoSpace => Some(match reply.missing {
                    Some(missing) => format!(
                        "the server needs {missing} more bytes of room; run the same command again \
                         when there is room"
                    ),
                    None => "run the same command again when there is room".to_owned(),
                }),
                Code::Superseded => {
                    Some("another run has taken this upload over and goes on with it".to_owned())
                }
                Code::Unauthorized | Code::AuthExpired | Code::WrongUser => {
                    Some("ask for a new token (towlined token --user NAME)".to_owned())
                }
                Code::SizeLimit => reply
                    .max
                    .map(|max| format!("the largest file this server takes has {max} bytes")),
                Code::Exists => Some("use another name, or --on-conflict rename".to_owned()),
                Code::HashMismatch => {
                    Some("nothing was published; run the same command to send it anew".to_owned())
                }
                Code::VersionUnsupported => {
                    Some("client and server have no version in common; update the older".to_owned())
                }
                _ => None,
            },
            Self::Changed(_) => Some(
                "run the same command again when it is at rest: only what changed is sent"
                    .to_owned(),
            ),
            Self::Unreachable { kept: Some(_), .. } => {
                Some("run the same command again to go on".to_owned())
            }
            Self::StateFile(StateFileError::NewerVersion { .. }) => {
                Some("update towline, or name another file with --state-file".to_owned())
            }
            Self::OtherHash { .. } => Some(
                "the upload stays in the list (towline uploads); look at both files".to_owned(),
            ),
            _ => None,
        };
        match (kept, todo) {
            (Some(kept), Some(todo)) => Some(format!("{kept}; {todo}")),
            (kept, todo) => kept.or(todo),
        }
    }
}

impl Failure {
    /// The same, with what is known of the upload.
    pub(crate) fn with(mut self, known: Option<Kept>) -> Self {
        match &mut self {
            Self::Refused { reply, .. } if ends_upload(reply.code) => {}
            Self::Unreachable { kept, .. } | Self::Refused { kept, .. } => *kept = kept.or(known),
            _ => {}
        }
        self
    }
}

impl Kept {
    fn sentence(self) -> String {
        let Self { document_id, durable, filesize } = self;
        format!("{durable} of {filesize} bytes are safe on the server as document {document_id}")
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

fn tried(attempts: u32) -> String {
    if attempts > 1 { format!(" (tried {attempts} times)") } else { String::new() }
}

fn state_file(error: &StateFileError) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        text.push_str(": ");
        text.push_str(&source.to_string());
    }
    printable(&text)
}
