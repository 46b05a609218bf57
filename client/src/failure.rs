//! Why an upload did not come to its end, for the person who wanted it.

mod refused;

use crate::address::ServerAddress;
use crate::exit::Exit;
use crate::route::NoServer;
use crate::system::in_words;
use crate::text::printable;
use crate::units;
use std::io;
use std::path::PathBuf;
use towline_protocol::{Code, ErrorReply};
use towline_state::StateFileError;
use towline_types::{BadName, DocumentId, FileHash, FileSize, Offset};

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
    #[error("the file was changed while it was being sent{}", shorter(*is_shorter))]
    Changed {
        /// How far the upload is; nothing where the file is shorter now.
        kept: Option<SavedProgress>,
        /// It is shorter than when its upload began: the server takes no upload back to
        /// fewer bytes, so nothing of it stays.
        is_shorter: bool,
    },
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
        kept: Option<SavedProgress>,
    },
    /// There is no server at the address, or no such address.
    #[error("{}{}", why.sentence(server), tried(*attempts))]
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
    #[error("the connection to {server} was lost: {reason}{}", tried(*attempts))]
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
    #[error("{}", too_large(*filesize, *max_bytes))]
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
    #[error("{}", state_file(.0))]
    StateFile(#[from] StateFileError),
}

/// What the server keeps of an upload that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedProgress {
    /// The upload.
    pub document_id: DocumentId,
    /// The bytes without a gap that survive a power cut there.
    pub durable: Offset,
    /// The bytes that are known to survive a power cut there, those beyond a gap included.
    pub safe_bytes: u64,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The bytes of the file that this run has sent, repetitions included.
    pub sent_bytes: u64,
}

impl Failure {
    /// What it means for a script.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File { action, source, kept, .. } => {
                let is_open = *action == "read";
                let is_for_now =
                    (is_open && may_be_read_later(source)) || may_come_back(source, kept.is_some());
                if is_for_now { Exit::Resumable } else { Exit::Refused }
            }
            Self::NotAFile { .. }
            | Self::StandardInput
            | Self::UnknownSize { .. }
            | Self::NoEnd { .. }
            | Self::BadName { .. }
            | Self::NotUnicode { .. }
            | Self::NotYours { .. }
            | Self::TooLarge { .. }
            | Self::OtherServer { .. }
            | Self::Protocol(_)
            | Self::StateFile(_) => Exit::Refused,
            // It is no server now, and would not be one a moment later.
            Self::NoServer { why: NoServer::OtherService(_), kept: None, .. } => Exit::Refused,
            Self::Gone { .. }
            | Self::Changed { .. }
            | Self::Unreachable { .. }
            | Self::NoServer { .. }
            | Self::ConnectionLost { .. }
            | Self::Interrupted(_) => Exit::Resumable,
            Self::Refused { reply, kept } => match reply.code {
                // A new token goes on where the old one ended.
                Code::AuthExpired if kept.is_some() => Exit::Resumable,
                Code::NoSpace | Code::Superseded | Code::TooMany | Code::StorageReadOnly => {
                    Exit::Resumable
                }
                Code::HashMismatch => Exit::Integrity,
                // What may succeed later.
                Code::Internal | Code::ShuttingDown => Exit::Resumable,
                Code::Unknown if reply.retry => Exit::Resumable,
                _ => Exit::Refused,
            },
            Self::Integrity { .. } | Self::OtherHash { .. } => Exit::Integrity,
        }
    }

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

    /// What is kept and what to do now, in sentences.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let kept = self.kept().and_then(SavedProgress::sentence);
        let todo = match self {
            Self::File { .. } if self.exit() == Exit::Resumable => {
                Some("run the same command again when the file can be read".to_owned())
            }
            Self::Gone { .. } => Some(
                "run the same command again when it is back; if it was moved, put it where it \
                 lies now"
                    .to_owned(),
            ),
            // An upload that was interrupted reads its file again.
            Self::NotAFile { .. }
            | Self::StandardInput
            | Self::UnknownSize { .. }
            | Self::NoEnd { .. } => {
                Some("save what it holds to a file, and put that".to_owned())
            }
            Self::Refused { reply, kept } => refused::advice(reply, *kept),
            Self::TooLarge { .. } => Some(
                "the server's operator can raise the limit: towlined --max-file-size SIZE"
                    .to_owned(),
            ),
            Self::Changed { is_shorter: true, .. } => Some(
                "run the same command again when the file no longer changes: it is sent from its \
                 beginning if it stays shorter"
                    .to_owned(),
            ),
            Self::Changed { .. } => Some(
                "run the same command again when the file no longer changes: only what changed is sent"
                    .to_owned(),
            ),
            Self::Unreachable { kept: Some(_), .. }
            | Self::NoServer { kept: Some(_), .. }
            | Self::ConnectionLost { .. } => Some("run the same command again to go on".to_owned()),
            Self::StateFile(StateFileError::NewerVersion { .. }) => {
                Some("update towline, or name another file with --state-file".to_owned())
            }
            Self::OtherServer { document_id: None, .. } => Some(
                "if its server has a new address, run the same `towline put` with that address \
                 (--to); nothing was sent, and the entry stays in the list (towline uploads)"
                    .to_owned(),
            ),
            Self::OtherServer { .. } => Some(
                "if its server has a new address, name that with --to; to upload the file to this \
                 server, put it"
                    .to_owned(),
            ),
            Self::OtherHash { .. } => Some(
                "the upload stays in the list (towline uploads); compare the two files".to_owned(),
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

impl SavedProgress {
    /// Nothing where nothing is.
    fn sentence(self) -> Option<String> {
        let Self { document_id, safe_bytes, filesize, .. } = self;
        let share = units::share(safe_bytes, filesize.get());
        (safe_bytes > 0)
            .then(|| format!("{share} are safe on the server as document {document_id}"))
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

fn too_large(filesize: FileSize, max_bytes: u64) -> String {
    let (size, limit) = (units::size(filesize.get()), units::limit(max_bytes));
    let over = filesize.get().saturating_sub(max_bytes);
    // Where the two look alike, the difference is what helps.
    if over < max_bytes / 10 {
        format!(
            "it is {size}, which is {} more than this server takes ({limit})",
            units::size(over)
        )
    } else {
        format!("it is {size}, and this server takes files up to {limit}")
    }
}

/// Whether a file that could not be read may be readable again later. Once it was open, a
/// disk or a network folder is to blame for each error except those by which the system
/// refuses to read such a file at all.
fn may_be_read_later(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, PermissionDenied, Unsupported};
    !matches!(error.kind(), InvalidInput | IsADirectory | PermissionDenied | Unsupported)
}

/// Whether a file that could not be opened may be there again later: its disk was unplugged
/// or is ill, its network folder does not answer, the system lacks what it takes, or the
/// file is gone from under an upload that has begun.
fn may_come_back(error: &io::Error, has_begun: bool) -> bool {
    #[cfg(unix)]
    if let Some(number) = error.raw_os_error() {
        use rustix::io::Errno;
        const AWAY: &[Errno] = &[
            Errno::IO,
            Errno::NODEV,
            Errno::NXIO,
            Errno::STALE,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::NOTCONN,
            Errno::TIMEDOUT,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            #[cfg(target_os = "linux")]
            Errno::REMOTEIO,
            #[cfg(target_os = "linux")]
            Errno::NOMEDIUM,
        ];
        if AWAY.contains(&Errno::from_raw_os_error(number)) {
            return true;
        }
    }
    has_begun && error.kind() == io::ErrorKind::NotFound
}

fn shorter(is_shorter: bool) -> &'static str {
    if is_shorter { " and is shorter now" } else { "" }
}

fn tried(attempts: u32) -> String {
    if attempts > 1 { format!(" (tried {attempts} times)") } else { String::new() }
}

fn state_file(error: &StateFileError) -> String {
    use std::error::Error as _;
    let text = match error {
        StateFileError::Io { source, .. } => format!("{error}: {}", in_words(source)),
        _ => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    };
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn what_may_be_there_again_later_is_not_refused_for_good() {
        let kept = SavedProgress {
            document_id: DocumentId::MIN,
            durable: Offset::ZERO,
            safe_bytes: 10,
            filesize: FileSize::try_from(20).unwrap(),
            sent_bytes: 10,
        };
        let failure = |action, errno: Errno, kept| Failure::File {
            action,
            path: "/media/disk/a.bin".into(),
            source: errno.into(),
            kept,
        };
        let away = [
            Errno::IO,
            Errno::NODEV,
            Errno::NXIO,
            Errno::STALE,
            Errno::MFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::NOTCONN,
            Errno::TIMEDOUT,
            Errno::HOSTDOWN,
        ];
        for errno in away {
            for action in ["open", "read"] {
                assert_eq!(failure(action, errno, None).exit(), Exit::Resumable, "{errno}");
                let advice = failure(action, errno, Some(kept)).advice().unwrap();
                assert!(advice.contains("safe") && advice.contains("again"), "{advice}");
            }
        }
        // What an open file meets is for now, also where the list does not know it.
        assert_eq!(failure("read", Errno::NOLINK, None).exit(), Exit::Resumable);
        // It has disappeared, or was never there.
        assert_eq!(failure("open", Errno::NOENT, Some(kept)).exit(), Exit::Resumable);
        assert_eq!(failure("open", Errno::NOENT, None).exit(), Exit::Refused);
        for action in ["open", "read"] {
            for errno in [Errno::ACCESS, Errno::ISDIR, Errno::INVAL] {
                assert_eq!(failure(action, errno, Some(kept)).exit(), Exit::Refused, "{errno}");
            }
        }
    }

    #[test]
    fn no_server_is_said_in_a_sentence_with_what_to_look_at() {
        let server: ServerAddress = "nas.lcal".parse().unwrap();
        let text = |why, attempts| {
            Failure::NoServer { server: server.clone(), attempts, why, kept: None }.to_string()
        };
        assert_eq!(text(NoServer::NoSuchHost, 1), "no such host: nas.lcal");
        let refused = text(NoServer::Refused, 4);
        for what in ["nas.lcal:8695", "towlined", "default port", "4 times"] {
            assert!(refused.contains(what), "{refused}");
        }
    }
}
