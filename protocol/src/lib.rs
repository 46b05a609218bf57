//! What may be said on Towline's wire. `SPEC.md` beside this crate is normative;
//! the golden frames in `tests/golden/` hold both to it.
//!
//! Nothing here opens a socket or a file, or looks at a clock.

pub mod error;
pub mod frame;
mod json;
pub mod limits;
mod node;
pub mod reply;
pub mod request;

pub use error::{Code, ErrorReply};
pub use frame::Channel;
pub use node::Node;
pub use reply::Reply;
pub use request::Request;
