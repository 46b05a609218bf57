//! The kit of Towline's end-to-end tests: servers, a client that sends whatever a test needs, a
//! network with faults at given points, and files with known hashes.
//!
//! Everything here uses only public interfaces: the wire, the command line, the files that the
//! formats describe. The kit waits for events and not for a time to pass wherever it can. No port
//! is fixed, and a failing test prints everything that it received before.

pub mod capture;
pub mod cli_fixture;
pub mod disks;
mod flip;
pub mod fuzz;
pub mod http_client;
pub mod http_scenario;
pub mod last_release;
pub mod local_tree;
pub mod named_tests;
pub mod netns_link;
pub mod one_shot_frames;
pub mod person_at;
pub mod points;
pub mod printed_messages;
pub mod process;
pub mod proxy;
pub mod raw_client;
pub mod scanned;
pub mod scenario;
pub mod server;
pub mod shown_tree;
pub mod site;
pub mod strace;
pub mod stub_scanner;
pub mod tamper;
pub mod terminal;
pub mod test_file;
pub mod torture;
pub mod tree_audit;
pub mod volume;

use std::time::Duration;

/// How long a test waits for an event that should come at once, before the test fails. The value is
/// large because two slow cores are shared with other processes; only a failing test waits that
/// long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether to run the long forms of tests, which take minutes: `TOWLINE_LONG=1`.
#[must_use]
pub fn is_long() -> bool {
    std::env::var("TOWLINE_LONG").is_ok_and(|wanted| !wanted.is_empty() && wanted != "0")
}
