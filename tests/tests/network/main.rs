//! What the network does to uploads, and how they live through it: a file for each
//! behaviour.
//!
//! `TOWLINE_LONG=1` makes the lines longer, the faults more, and waits for the limits
//! that take a minute.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_lines;
mod client_crash;
mod first_contact;
mod half_open;
mod ipv6;
mod lost_answers;
mod mute_server;
mod other_service;
mod resets;
mod restarts;
mod slow_line;
mod slow_loris;
mod small_packets;
mod splits;
mod stopping;
