//! What may be said on Towline's wire. `SPEC.md` beside this crate is normative;
//! `golden.rs` in its tests holds the frames both must agree on.
//!
//! Nothing here opens a socket or a file, or looks at a clock.

pub mod block;
pub mod limits;
pub mod name;
mod number;

pub use block::{BlockHasher, BlockIndex, ChainingValue, FileHash};
pub use name::{BadName, DocumentPath, Name};
pub use number::{DocumentId, FileSize, Offset, OutOfRange, Timestamp, UserId};
