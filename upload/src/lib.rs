//! What an upload *is*: its phases, its progress, who may write to it, and which
//! command is legal now. Pure: time, sizes and values come in as arguments,
//! decisions go out. `clippy.toml` beside this crate bans clocks, files and sockets.

mod phase;

pub use phase::Phase;
