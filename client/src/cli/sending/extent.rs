//! What a failure concerns: one file, or all that the client sends.

use crate::failure::Failure;
use crate::uploads;
use towline_protocol::Code;

/// A file that was there when the command began and is away now may be on a disk that was
/// unplugged, or in a folder that was moved: it may come back.
pub(super) fn gone_meanwhile(failure: Failure) -> Failure {
    match failure {
        Failure::File { source, path, .. } if uploads::is_not_there(&source) => {
            Failure::Gone { path }
        }
        other => other,
    }
}

/// Whether each other file would fail in the same way.
pub(super) fn concerns_all(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. }
        | Failure::NoServer { .. }
        | Failure::Protocol(_)
        | Failure::OtherServer { document_id: None, .. } => true,
        failure if is_stranger(failure) => true,
        // Where no attempt is to be repeated, the first loss ends it all.
        Failure::ConnectionLost { attempts, .. } => *attempts <= 1,
        Failure::Receipt(failure) => failure.concerns_all(),
        Failure::Refused { reply, .. } => refuses_all(reply.code),
        _ => false,
    }
}

/// Whether what answers is not a server that the client may speak to.
pub(super) const fn is_stranger(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::KeyUnknown { .. } | Failure::KeyChanged { .. } | Failure::NoTls { .. }
    )
}

/// Whether the server refuses the client as a whole, whatever it sends.
pub(super) fn refuses_all(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthorized | Code::AuthExpired | Code::VersionUnsupported | Code::TlsRequired
    )
}
