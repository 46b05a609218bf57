//! What an upload *is*: its phases, its progress, who may write to it, and which
//! command is legal now. Pure: time, sizes and values come in as arguments,
//! decisions go out. `clippy.toml` beside this crate bans clocks, files and sockets.

mod lease;
mod phase;
mod progress;
mod refusal;
mod upload;

pub use lease::{BlockOrder, Integrity, Lease, SendingMode};
pub use phase::Phase;
pub use progress::{Append, Progress, Snapshot, Verdict};
pub use refusal::Refusal;
pub use upload::{Ask, Upload};
