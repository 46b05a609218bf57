//! What may be said on Towline's wire. `SPEC.md` beside this crate is normative;
//! the golden frames in `tests/golden/` hold both to it.
//!
//! Nothing here opens a socket or a file, or looks at a clock.

mod encoded_bytes;
pub mod error;
pub mod frame;
mod join_line;
mod json;
pub mod limits;
mod node;
pub mod receipt;
pub mod reply;
pub mod request;

pub use encoded_bytes::{BadBase64, EncodedBytes};
pub use error::{Code, ErrorReply};
pub use frame::Channel;
pub use join_line::{BadJoinLine, JOIN_ADDRESSES_MAX, JoinAddress, JoinLine};
pub use node::{Held, Node};
pub use reply::Reply;
pub use request::Request;
