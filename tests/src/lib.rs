//! The harness of Towline's end-to-end tests: servers to talk to, a client that
//! says whatever a test wants said, a network that breaks when told to, and
//! files with known hashes.
//!
//! Everything here speaks through public doors only: the wire, the command
//! line, the files that the formats describe. Nothing waits for time to pass
//! where it can wait for an event, no port is fixed, and a failure says what
//! was heard up to then.

pub mod cli_fixture;
pub mod disks;
mod flip;
pub mod fuzz;
pub mod named_tests;
pub mod netns_link;
pub mod one_shot_frames;
pub mod points;
pub mod process;
pub mod proxy;
pub mod raw_client;
pub mod scenario;
pub mod server;
pub mod site;
pub mod strace;
pub mod tamper;
pub mod terminal;
pub mod test_file;
pub mod torture;
pub mod volume;

use std::time::Duration;

/// How long a test waits for what must come at once, before it fails. Generous:
/// two slow cores are shared with others, and only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the long forms of tests are wanted, which take minutes: `TOWLINE_LONG=1`.
#[must_use]
pub fn is_long() -> bool {
    std::env::var("TOWLINE_LONG").is_ok_and(|wanted| !wanted.is_empty() && wanted != "0")
}
