//! Everything that can go wrong with a request, and the one place that says
//! which error of the wire it becomes.

use crate::storage::StorageError;
use crate::units;
use towline_protocol::frame::FrameError;
use towline_protocol::{BadName, Code, ErrorReply};
use towline_state::catalog::{CatalogError, Refusal as Unrecorded};
use towline_upload::{Phase, Refusal};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client's fault, or its luck: the rules of an upload say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client's fault: a name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The client's fault: no upload is open on the channel.
    #[error("no upload is open on this channel; send upload or resume first")]
    NothingOpen,
    /// Nobody's fault: the upload changed whenever it was looked at.
    #[error("the upload is being changed by others just now; try again")]
    Restless,
    /// Nobody's fault: the connection, or the server, came to its end while bytes that are
    /// here already were looked at for it.
    #[error(
        "the file was being made from one that is here already, and was not finished; try again"
    )]
    CutShort,
    /// The client's fault: the request names a user who is not the token's.
    #[error("the token belongs to another user than the request names")]
    WrongUser,
    /// The client's fault: a request with more in it than is allowed.
    #[error("{field}: at most {max}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The most that is allowed.
        max: u64,
    },
    /// The upload ended without a document; why is for the person.
    #[error("the upload is {phase}: {reason}")]
    Ended {
        /// How it ended.
        phase: Phase,
        /// Why.
        reason: String,
    },
    /// The disk's fault, noticed before anything was begun.
    #[error("the server's disk has no room for the file: {missing_bytes} bytes are missing")]
    NoRoom {
        /// How many more would have to be free.
        missing_bytes: u64,
    },
    /// The disk's fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk's fault, at the last step: the name may be safe or not. The bytes are,
    /// unless durability is relaxed: then the next start reads them first.
    #[error("the document came whole, but its place could not be made sure of: {0}")]
    Unsettled(#[source] StorageError),
    /// The catalog's refusal, or its disk's fault.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Failure {
    /// Whether the channel's upload cannot go on without another `upload` or
    /// `resume`: what follows on the channel is dropped until then.
    pub(crate) fn refuses_channel(&self) -> bool {
        !matches!(
            self,
            Self::Refused(
                Refusal::BlockMismatch { .. }
                    | Refusal::NoSuchBlock { .. }
                    | Refusal::Incomplete { .. }
            ) | Self::Storage(StorageError::Exists | StorageError::NotAFolder)
                | Self::Catalog(CatalogError::Refused(
                    Unrecorded::PathTaken | Unrecorded::FolderTaken
                ))
                | Self::TooLong { .. }
        )
    }

    /// The upload cannot be trusted any more and has to be given up (P5): its bytes
    /// are not what was sent, or nobody can say whether they are kept. A call that
    /// failed before it did anything is no such reason: what was promised stays, and
    /// the upload goes on when the fault is over (P1).
    pub(crate) fn is_fatal_to_upload(&self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::HashMismatch { .. })
                | Self::Storage(StorageError::Lost(_) | StorageError::SyncFailed(_))
        )
    }

    /// The answer to the client. Exhaustive on purpose: a new failure has to
    /// find its code here before it compiles.
    pub(crate) fn reply(&self) -> ErrorReply {
        match self {
            Self::Refused(refusal) => refused(refusal, self.to_string()),
            Self::Name(_) => ErrorReply::new(Code::BadName, self.to_string()),
            Self::NothingOpen => ErrorReply::new(Code::BadState, self.to_string()),
            Self::Restless | Self::CutShort => ErrorReply::new(Code::Internal, self.to_string()),
            Self::WrongUser => ErrorReply::new(Code::WrongUser, self.to_string()),
            Self::TooLong { field, max } => {
                let mut reply = ErrorReply::new(Code::BadRequest, self.to_string());
                reply.field = Some((*field).to_owned());
                reply.max = Some(*max);
                reply
            }
            Self::Ended { phase, .. } => ErrorReply::new(ended(*phase), self.to_string()),
            Self::NoRoom { missing_bytes } => {
                let mut reply = ErrorReply::new(Code::NoSpace, self.to_string());
                reply.missing = Some(*missing_bytes);
                reply
            }
            Self::Storage(error) => storage(error),
            Self::Unsettled(_) => ErrorReply::new(
                Code::StorageReadOnly,
                "the document came whole, but the server's storage takes no changes; complete it \
                 again later",
            ),
            Self::Catalog(error) => catalog(error),
        }
    }
}

/// The error for framing that cannot be followed.
pub(crate) fn broken_framing(error: &FrameError) -> ErrorReply {
    let code = match error {
        FrameError::TooLarge { .. } => Code::FrameTooLarge,
        FrameError::Empty
        | FrameError::UnknownKind(_)
        | FrameError::BadLength { .. }
        | FrameError::BadPosition(_) => Code::BadFrame,
    };
    let mut reply = ErrorReply::new(code, error.to_string());
    if let FrameError::TooLarge { max, .. } = error {
        reply.max = Some(u64::from(*max));
    }
    reply
}

fn refused(refusal: &Refusal, message: String) -> ErrorReply {
    let code = match refusal {
        Refusal::NotFound => Code::NotFound,
        Refusal::SizeLimit { .. } => Code::SizeLimit,
        Refusal::NotUploading(phase) => ended(*phase),
        Refusal::Superseded => Code::Superseded,
        Refusal::NotShared => Code::BadState,
        Refusal::TooManyWriters { .. } => Code::TooMany,
        Refusal::OffsetMismatch { .. } => Code::OffsetMismatch,
        Refusal::SizeExceeded { .. } => Code::SizeExceeded,
        Refusal::TooManyOpen { .. } => Code::TooMany,
        Refusal::NoSuchBlock { .. } => Code::BadRequest,
        Refusal::BlockMismatch { .. } => Code::BlockMismatch,
        Refusal::Incomplete { .. } => Code::Incomplete,
        Refusal::HashMismatch { .. } => Code::HashMismatch,
        Refusal::FileChanged { .. } => Code::FileChanged,
        Refusal::Expired { .. } => Code::Expired,
    };
    let message = match *refusal {
        Refusal::SizeLimit { filesize, max } => {
            let (filesize, max) = units::beside(filesize.get(), max.get());
            format!(
                "the file is {filesize}; this server takes files up to {max}. The operator can \
                 raise it: towlined --max-file-size"
            )
        }
        _ => message,
    };
    let mut reply = ErrorReply::new(code, message);
    match *refusal {
        Refusal::SizeLimit { max, .. } => reply.max = Some(max.get()),
        Refusal::SizeExceeded { filesize } => reply.max = Some(filesize.get()),
        Refusal::TooManyOpen { max } | Refusal::TooManyWriters { max } => {
            reply.max = Some(max as u64);
        }
        Refusal::OffsetMismatch { expected } | Refusal::Incomplete { expected } => {
            reply.expected = Some(expected);
        }
        Refusal::BlockMismatch { index } | Refusal::NoSuchBlock { index } => {
            reply.index = Some(index);
        }
        Refusal::NotFound
        | Refusal::NotUploading(_)
        | Refusal::Superseded
        | Refusal::NotShared
        | Refusal::HashMismatch { .. }
        | Refusal::FileChanged { .. }
        | Refusal::Expired { .. } => {}
    }
    reply
}

const fn ended(phase: Phase) -> Code {
    match phase {
        Phase::Uploading | Phase::Publishing | Phase::Completed => Code::BadState,
        Phase::Failed => Code::Failed,
        Phase::Cancelled => Code::Cancelled,
        Phase::Expired => Code::Expired,
    }
}

/// What the system says of paths and devices is for the log, not for a stranger.
fn storage(error: &StorageError) -> ErrorReply {
    match error {
        StorageError::Exists => ErrorReply::new(
            Code::Exists,
            "a document of that name exists, and it is never overwritten; \"on_conflict\":\"rename\" \
             takes the next free name",
        ),
        StorageError::NotAFolder => {
            let mut reply =
                ErrorReply::new(Code::Exists, "a document has the name of one of the folders");
            // Another name for the file does not help.
            reply.field = Some("folder".to_owned());
            reply
        }
        StorageError::Lost(loss) => ErrorReply::new(
            Code::Failed,
            format!("the stored bytes were lost ({loss}); begin again"),
        ),
        StorageError::NoSpace { missing_bytes } => {
            let mut reply = ErrorReply::new(
                Code::NoSpace,
                format!(
                    "the server's disk is full: {missing_bytes} bytes are missing; what was sent \
                     is kept, resume when there is room"
                ),
            );
            reply.missing = Some(*missing_bytes);
            reply
        }
        StorageError::ReadOnly => ErrorReply::new(
            Code::StorageReadOnly,
            "the server's storage takes no changes; what is durable is kept",
        ),
        error if error.is_shortage() => ErrorReply::new(
            Code::Internal,
            "the server is short of descriptors or memory just now; what is durable is kept, try \
             again in a while",
        ),
        StorageError::Unsafe { .. } => ErrorReply::new(
            Code::Internal,
            "something other than a file or folder lies where the document belongs; whoever runs \
             the server has to look, and what is durable is kept",
        ),
        StorageError::Io { .. } | StorageError::Occupied => ErrorReply::new(
            Code::Internal,
            "the server's disk did not do as it was told; what is durable is kept, try again in a \
             while",
        ),
        StorageError::SyncFailed(_) => {
            ErrorReply::new(Code::StorageFailed, "the server's storage failed; the upload is lost")
        }
    }
}

fn catalog(error: &CatalogError) -> ErrorReply {
    match error {
        CatalogError::Refused(refusal) => unrecorded(refusal),
        CatalogError::ReadOnly => storage(&StorageError::ReadOnly),
        // How much would be enough nobody knows.
        CatalogError::DiskFull => ErrorReply::new(
            Code::NoSpace,
            "the server's disk is full; what is durable is kept, resume when there is room",
        ),
        // Until somebody has mended it, it cannot be gone on with.
        CatalogError::BadRow { table: "document", id, .. } => ErrorReply::new(
            Code::Failed,
            format!(
                "what the server has written down about document {id} cannot be read; it is kept for \
                 whoever runs the server to look at; begin again"
            ),
        ),
        _ => ErrorReply::new(
            Code::Internal,
            "the server could not record the request; what is durable is kept, try again",
        ),
    }
}

fn unrecorded(refusal: &Unrecorded) -> ErrorReply {
    match refusal {
        Unrecorded::NoSuchUser => {
            ErrorReply::new(Code::Unauthorized, "the user of this token is no more")
        }
        Unrecorded::PathTaken => storage(&StorageError::Exists),
        Unrecorded::FolderTaken => storage(&StorageError::NotAFolder),
        Unrecorded::TooManyUnfinished { limit } => {
            let mut reply = ErrorReply::new(
                Code::TooMany,
                format!("{limit} uploads are unfinished already; finish or cancel one first"),
            );
            reply.max = Some(u64::from(*limit));
            reply
        }
        Unrecorded::NoSuchDocument => refused(&Refusal::NotFound, Refusal::NotFound.to_string()),
        Unrecorded::WrongPhase(phase) => {
            let refusal = Refusal::NotUploading(*phase);
            refused(&refusal, refusal.to_string())
        }
        // Said to those who manage users, and to mistakes of our own; never to a client.
        Unrecorded::NameTaken { .. }
        | Unrecorded::BadUserName(_)
        | Unrecorded::UserIdTaken(_)
        | Unrecorded::BadUserId(_)
        | Unrecorded::NotAnEnding(_) => ErrorReply::new(Code::Internal, refusal.to_string()),
    }
}
