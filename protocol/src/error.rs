//! The error table: every way in which a server says no.

use crate::frame::Channel;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use std::fmt;
use towline_types::{BlockIndex, DocumentId, Offset};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $word:literal $number:literal $retry:ident $fate:ident,)*) => {
        /// The stable word for an error. `SPEC.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
            /// A word that this version does not know; only ever received.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// Every code that may be sent, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* Self::Unknown => "unknown" }
            }

            /// The number, as HTTP has it for the like.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* Self::Unknown => 500 }
            }

            /// Whether the same request can succeed later or after a correction
            /// that the error itself names.
            #[must_use]
            pub const fn can_retry(self) -> bool {
                match self { $(Self::$name => codes!(@$retry),)* Self::Unknown => false }
            }

            /// Whether the server closes the connection after it.
            #[must_use]
            pub const fn closes(self) -> bool {
                match self { $(Self::$name => codes!(@$fate),)* Self::Unknown => false }
            }
        }
    };
    (@retry) => { true };
    (@final) => { false };
    (@close) => { true };
    (@keep) => { false };
}

codes! {
    /// The first byte belongs to no protocol that the server speaks.
    BadProtocol "bad_protocol" 400 final close,
    /// The framing is broken.
    BadFrame "bad_frame" 400 final close,
    /// A length beyond its cap.
    FrameTooLarge "frame_too_large" 413 final close,
    /// No version in common.
    VersionUnsupported "version_unsupported" 426 final close,
    /// The connection comes from another machine and has no TLS.
    TlsRequired "tls_required" 426 final close,
    /// Something else came before `hello`.
    AuthRequired "auth_required" 401 final close,
    /// No `hello` in time.
    AuthTimeout "auth_timeout" 408 retry close,
    /// The token is not valid, or its user was removed.
    Unauthorized "unauthorized" 401 final close,
    /// The token was good once.
    AuthExpired "auth_expired" 401 final close,
    /// The request names another user than the token does.
    WrongUser "wrong_user" 401 final keep,
    /// A frame was begun and not ended in time, or nothing was said for too long.
    TooSlow "too_slow" 408 retry close,
    /// Not a JSON object, or one with a key twice.
    BadJson "bad_json" 400 final keep,
    /// A field is missing, unknown or of the wrong kind; `field` names it.
    BadRequest "bad_request" 400 final keep,
    /// No such action.
    UnknownAction "unknown_action" 400 final keep,
    /// Not now: the channel or the upload is in another state.
    BadState "bad_state" 409 final keep,
    /// No such document, or not yours.
    NotFound "not_found" 404 final keep,
    /// The name is refused; `message` says why.
    BadName "bad_name" 422 final keep,
    /// Larger than this server takes; `max` says how large a file may be.
    SizeLimit "size_limit" 413 final keep,
    /// The disk is full; `missing` says by how many bytes.
    NoSpace "no_space" 507 retry keep,
    /// The name is taken and the request said `reject`.
    Exists "exists" 409 final keep,
    /// What the request speaks of is not what is there now; `node` says what is.
    Conflict "conflict" 409 final keep,
    /// Something below the folder is newer than what the client has seen; `count` says how many.
    Unseen "unseen" 409 final keep,
    /// A folder cannot move into itself or below itself.
    Cycle "cycle" 409 final keep,
    /// The folder is not empty, and the request did not say `recursive`.
    NotEmpty "not_empty" 409 final keep,
    /// Something else is being done to the node or its folder; ask again.
    Busy "busy" 409 retry keep,
    /// Continue at `expected` instead.
    OffsetMismatch "offset_mismatch" 409 retry keep,
    /// A chunk reaches beyond the size that was announced.
    SizeExceeded "size_exceeded" 413 final keep,
    /// Block `index` differs from its value: send that block again.
    BlockMismatch "block_mismatch" 422 retry keep,
    /// Bytes are missing from `expected` on.
    Incomplete "incomplete" 409 retry keep,
    /// The whole differs from the hash in `complete`; the upload has failed.
    HashMismatch "hash_mismatch" 422 final keep,
    /// Another connection has taken the upload over.
    Superseded "superseded" 409 final keep,
    /// The file was announced with another size or name than the one resumed.
    FileChanged "file_changed" 409 final keep,
    /// No byte came for too long; the upload was given up.
    Expired "expired" 410 final keep,
    /// The owner gave the upload up.
    Cancelled "cancelled" 410 final keep,
    /// The server gave the upload up; `message` says why.
    Failed "failed" 410 final keep,
    /// The cursor is none of this server's, or another user's.
    BadCursor "bad_cursor" 400 final keep,
    /// The server no longer has the changes after the cursor; `reason` says why.
    CursorReset "cursor_reset" 410 final keep,
    /// Too many at the same time.
    TooMany "too_many" 429 retry keep,
    /// The server's system refuses this name or place for good; what was received is kept.
    StorageRefused "storage_refused" 500 final keep,
    /// The disk did not do as it was told; the upload has failed.
    StorageFailed "storage_failed" 500 final keep,
    /// The file on the server's disk is not the one that was uploaded; it is not sent.
    Damaged "damaged" 500 final keep,
    /// The file is being scanned, and is not sent before that is over.
    Scanning "scanning" 409 retry keep,
    /// A scanner has found something in the file; it is not sent.
    Quarantined "quarantined" 403 final keep,
    /// The file could not be scanned; it is not sent.
    Unscanned "unscanned" 403 final keep,
    /// The disk failed earlier; nothing is written until someone has looked.
    StorageReadOnly "storage_read_only" 503 retry keep,
    /// The server is stopping; try again.
    ShuttingDown "shutting_down" 503 retry close,
    /// A fault of the server's own.
    Internal "internal" 500 retry keep,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as it travels: `{"action":"error", …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The channel whose request it answers.
    #[serde(default)]
    pub channel: Channel,
    /// The document, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// The stable word.
    pub code: Code,
    /// The HTTP-like number.
    pub number: u16,
    /// What happened, for the person.
    pub message: String,
    /// Whether trying again can help.
    pub retry: bool,
    /// Where to continue instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Offset>,
    /// Which block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<BlockIndex>,
    /// The most that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// How many bytes of room are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Which field of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<Node>>,
    /// How many nodes are in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// With `cursor_reset`: `expired` or `restored`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ErrorReply {
    /// An error with nothing but its sentence, which is cut where it is too long.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            channel: Channel::default(),
            document_id: None,
            code,
            number: code.number(),
            message: clipped(message.into()),
            retry: code.can_retry(),
            expected: None,
            index: None,
            max: None,
            missing: None,
            field: None,
            node: None,
            count: None,
            reason: None,
        }
    }

    /// A `bad_request` about that field.
    #[must_use]
    pub fn bad_field(field: &str, reason: &str) -> Self {
        let mut reply = Self::new(Code::BadRequest, format!("{field}: {reason}"));
        reply.field = Some(clipped(field.to_owned()));
        reply
    }

    /// The same, as the answer to a request on that channel.
    #[must_use]
    pub fn on(mut self, channel: Channel, document_id: Option<DocumentId>) -> Self {
        self.channel = channel;
        self.document_id = document_id;
        self
    }
}

/// The beginning of a text, as much of it as an error may carry.
fn clipped(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text
}
