//! The behaviour of the server, seen from outside: one file for each behaviour, and one program for
//! all, because linking takes longer than running.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod already_uploaded;
mod at_rest;
mod backup;
mod bad_input;
mod bad_tokens;
mod changes;
mod channels;
mod copies;
mod first_start;
mod grow;
mod half_closed;
mod identity;
mod integrity;
mod large_folder;
mod list_filters;
mod log;
mod names;
mod new_only;
mod new_store;
mod open_length;
mod parallel;
mod parallel_put;
mod places;
mod progress;
mod provider_tokens;
mod quota;
mod reading;
mod reading_beside_changes;
mod reading_versions;
mod reauth;
mod receipts;
mod recovery;
mod relaxed;
mod replace;
mod resume;
mod resume_refused;
mod run_as;
mod second_store;
mod service_manager;
mod simple_reader;
mod simple_speaker;
mod sizes;
mod state_file;
mod stop;
mod stream;
mod strict_modes;
mod takeover;
mod tree;
mod uploads;
mod verify;
mod whole;
