//! What a client hears of a document that is not given out.

use crate::rejection::RejectionKind;
use towline_state::catalog::Availability;

/// The kind of the rejection.
pub(super) const fn kind(availability: Availability) -> RejectionKind {
    match availability {
        Availability::Available | Availability::Scanning => RejectionKind::Scanning,
        Availability::Failed => RejectionKind::Unscanned,
        Availability::Isolating | Availability::Quarantined | Availability::Releasing => {
            RejectionKind::Quarantined
        }
    }
}

/// Why a document is not given out, and what can be done now.
pub(super) const fn sentence(availability: Availability) -> &'static str {
    match availability {
        Availability::Available | Availability::Scanning => {
            "the server is still scanning this file; it is kept, ask for it again in a while"
        }
        Availability::Failed => {
            "the server could not scan this file, and does not give it out; it is kept, the server's \
             operator can have it scanned again"
        }
        Availability::Isolating | Availability::Quarantined | Availability::Releasing => {
            "the server's scanner has found something in this file; it is kept in the quarantine, \
             where the server's operator decides about it"
        }
    }
}
