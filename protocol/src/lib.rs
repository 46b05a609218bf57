//! What may be said on Towline's wire. `SPEC.md` beside this crate is normative;
//! the golden frames in `tests/golden.rs` hold both to it.
//!
//! Nothing here opens a socket or a file, or looks at a clock.

pub mod block;
pub mod error;
pub mod frame;
mod json;
pub mod limits;
pub mod name;
mod number;
pub mod reply;
pub mod request;
mod store_id;

pub use block::{BlockHasher, BlockIndex, ChainingValue, FileHash};
pub use error::{Code, ErrorReply};
pub use frame::Channel;
pub use name::{BadName, DocumentPath, Name};
pub use number::{DocumentId, FileSize, Generation, Offset, OutOfRange, Timestamp, UserId};
pub use reply::Reply;
pub use request::{OnConflict, Request};
pub use store_id::{BadStoreId, StoreId};
