//! The demo's output.

use crate::units;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// Prints what happens, when it happens.
pub(super) struct Story {
    begun: Instant,
}

impl Story {
    pub(super) fn begin(path: &Path, filesize_bytes: u64) -> Self {
        let path = crate::printable(&path.display().to_string());
        say("Towline demo: one upload, one cut connection, one killed server.");
        say("A server runs on this machine, in a temporary folder, and the file is sent to it.");
        say(&format!("The file: {path}, {}.\n", units::size(filesize_bytes)));
        Self { begun: Instant::now() }
    }

    pub(super) fn tell(&self, what: &str) {
        say(&format!("{:5.2} s  {what}", self.begun.elapsed().as_secs_f64()));
    }

    pub(super) fn end(&self, again_bytes: u64, filesize_bytes: u64) {
        let again = match again_bytes {
            0 => "Not one byte was sent twice.".to_owned(),
            bytes => format!(
                "Sent twice because of both interruptions: {}. A cut connection costs nothing; a \
                 killed server costs at most what came in its last second.",
                units::share(bytes, filesize_bytes)
            ),
        };
        say(&format!("\n{again}\n"));
        say("Now with files of your own:");
        say("  towline serve                     run a server; it prints the line to send a file");
        say("  towline put FILE --to HOST        interrupt it anywhere, run it again");
        say("  towline put --help                options and examples");
    }
}

/// A reader who has closed the output does not stop the demo.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
