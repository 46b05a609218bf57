//! The log lines of the engine: one for the end of each upload, and at most one a second of each
//! kind that clients can cause as often as they like.

mod limiter;
mod summary;
mod upload_end;

pub use limiter::{LeftOut, Limiter};
pub use summary::chain;
pub(crate) use summary::{Summary, run};
pub(crate) use upload_end::{Since, UploadEnd};
