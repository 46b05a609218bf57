//! Faults of the network, and how uploads survive them: one file for each behaviour.
//!
//! `TOWLINE_LONG=1` runs with slower links and more faults, and waits for the limits that take a
//! minute.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_lines;
mod client_crash;
mod first_contact;
mod half_open;
mod ipv6;
mod join;
mod lost_answers;
mod moved_server;
mod mute_server;
mod other_service;
mod resets;
mod restarts;
mod slow_line;
mod slow_loris;
mod small_packets;
mod splits;
mod stopping;
mod tls;
