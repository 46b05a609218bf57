//! Which error of the wire a rejection becomes. The one place of the TCP door that does.

use super::node::shown;
use towline_engine::{Rejection, RejectionKind};
use towline_protocol::frame::FrameError;
use towline_protocol::{Code, ErrorReply};
use towline_state::catalog::ResetReason;

/// The answer to a request that was not done.
pub(crate) fn of(rejection: &Rejection) -> ErrorReply {
    let kind = &rejection.kind;
    let mut reply = ErrorReply::new(code(kind), &*rejection.message);
    match kind {
        RejectionKind::SizeLimit { max } => reply.max = max.map(u64::from),
        RejectionKind::SizeExceeded { filesize } => reply.max = Some(filesize.get()),
        RejectionKind::TooMany { max } => reply.max = Some(*max),
        RejectionKind::NoSpace { missing_bytes } => reply.missing = *missing_bytes,
        RejectionKind::QuotaUsedUp { limit } => reply.max = Some(*limit),
        RejectionKind::OffsetMismatch { expected } | RejectionKind::Incomplete { expected } => {
            reply.expected = Some(*expected);
        }
        RejectionKind::BlockMismatch { index } | RejectionKind::NoSuchBlock { index } => {
            reply.index = Some(*index);
        }
        RejectionKind::Damaged { index } => reply.index = *index,
        RejectionKind::NoSuchFolder => reply.field = Some("to".to_owned()),
        RejectionKind::FolderTaken => reply.field = Some("folder".to_owned()),
        RejectionKind::NotAFolder => reply.field = Some("path".to_owned()),
        RejectionKind::NodeExists { node }
        | RejectionKind::RemovedWithFolder { node }
        | RejectionKind::Conflict { node: Some(node) } => {
            reply.node = Some(Box::new(shown(node)));
        }
        RejectionKind::Unseen { count } => reply.count = Some(*count),
        RejectionKind::CursorReset { reason } => {
            let reason = match reason {
                ResetReason::Expired => "expired",
                ResetReason::Restored => "restored",
            };
            reply.reason = Some(reason.to_owned());
        }
        RejectionKind::BadRequest { field, max } => {
            reply.field.clone_from(field);
            reply.max = *max;
        }
        _ => {}
    }
    reply
}

/// Exhaustive on purpose: a new kind has to find its code here before it compiles.
const fn code(kind: &RejectionKind) -> Code {
    match kind {
        RejectionKind::NotFound | RejectionKind::NoSuchFolder => Code::NotFound,
        RejectionKind::SizeLimit { .. } => Code::SizeLimit,
        RejectionKind::NoSpace { .. } | RejectionKind::QuotaUsedUp { .. } => Code::NoSpace,
        RejectionKind::NameTaken
        | RejectionKind::FolderTaken
        | RejectionKind::NodeExists { .. } => Code::Exists,
        RejectionKind::Conflict { .. } => Code::Conflict,
        RejectionKind::Unseen { .. } => Code::Unseen,
        RejectionKind::Cycle => Code::Cycle,
        RejectionKind::NotEmpty => Code::NotEmpty,
        RejectionKind::Busy => Code::Busy,
        RejectionKind::BadCursor => Code::BadCursor,
        RejectionKind::CursorReset { .. } => Code::CursorReset,
        RejectionKind::OffsetMismatch { .. } => Code::OffsetMismatch,
        RejectionKind::SizeExceeded { .. } => Code::SizeExceeded,
        RejectionKind::BlockMismatch { .. } => Code::BlockMismatch,
        RejectionKind::NoSuchBlock { .. }
        | RejectionKind::BadRequest { .. }
        | RejectionKind::NotAFolder => Code::BadRequest,
        RejectionKind::Incomplete { .. } => Code::Incomplete,
        RejectionKind::HashMismatch => Code::HashMismatch,
        RejectionKind::Superseded => Code::Superseded,
        RejectionKind::NotShared
        | RejectionKind::NoBytes
        | RejectionKind::RemovedWithFolder { .. }
        | RejectionKind::LengthUnknown
        | RejectionKind::NoActiveUpload
        | RejectionKind::WrongPhase { .. } => Code::BadState,
        RejectionKind::FileChanged => Code::FileChanged,
        RejectionKind::Expired => Code::Expired,
        RejectionKind::Cancelled => Code::Cancelled,
        RejectionKind::Failed => Code::Failed,
        RejectionKind::TooMany { .. } => Code::TooMany,
        RejectionKind::StorageRefused => Code::StorageRefused,
        RejectionKind::StorageFailed => Code::StorageFailed,
        RejectionKind::Damaged { .. } => Code::Damaged,
        RejectionKind::Scanning => Code::Scanning,
        RejectionKind::Quarantined => Code::Quarantined,
        RejectionKind::Unscanned => Code::Unscanned,
        RejectionKind::StorageReadOnly => Code::StorageReadOnly,
        RejectionKind::Contended | RejectionKind::Internal => Code::Internal,
        RejectionKind::Stopping => Code::ShuttingDown,
        RejectionKind::UserGone => Code::Unauthorized,
        RejectionKind::BadName => Code::BadName,
        RejectionKind::WrongUser => Code::WrongUser,
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
