//! Rules that doors other than the framed one need, through the engine's own API: no socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod blocks;
mod digests;
mod door;
mod handle;
mod killed;
mod killed_store;
mod lengths;
mod log;
mod ranges;
mod requests;
