//! What an upload *is*: its phases, its progress, who may write to it, and which
//! command is legal now. Pure: time, sizes and values come in as arguments,
//! decisions go out. `clippy.toml` beside this crate bans clocks, files and sockets.

mod block_value;
mod length;
pub mod limits;
mod phase;
mod progress;
mod refusal;
mod sending_mode;
mod upload;

pub use block_value::BlockValue;
pub use length::Length;
pub use phase::Phase;
pub use progress::{Append, Hashing, Progress, RequestId, Snapshot, Verdict};
pub use refusal::Refusal;
pub use sending_mode::{BlockOrder, Integrity, SendingMode};
pub use upload::{Lease, ResumeClaim, Upload};
