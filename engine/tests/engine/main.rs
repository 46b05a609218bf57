//! The engine through its public API: what a door may rely on. One program for all of it, with a
//! module for each behaviour.
#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

mod cancelling;
mod completing;
mod conflicts_of_names;
mod disk;
mod durability;
mod expiry;
mod finding;
mod in_memory;
mod joining;
mod kit;
mod known_bytes;
mod lent_sources;
mod limits;
mod progress;
mod read_only;
mod reading;
mod recovery;
mod relaxed;
mod replacing;
mod resuming;
mod several_sessions;
mod shutting_down;
mod status;
mod taking_over;
mod tree;
mod uploading;
mod whole_files;
mod withdrawing;
