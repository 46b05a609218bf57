//! The HTTP door, seen from outside: one file for each behaviour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod changes;
mod cross_origin;
mod digests;
mod downloads;
mod durability;
mod files;
mod kit;
mod links;
mod links_by_frames;
mod parallel_ranges;
mod proxied;
mod proxies;
mod ranges;
mod rufh;
mod scanning;
mod shares;
mod state_machine;
mod tokens;
mod tus;
mod tus_concat;
mod two_doors;
mod uploads;
