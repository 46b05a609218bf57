//! The two output streams of the command line, and whether everything could be written to them.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::PoisonError;

/// The kind of the first error of a write to standard output.
static LOST: Mutex<Option<io::ErrorKind>> = Mutex::new(None);

/// Writes one line to standard error. Where that is closed, the line is dropped.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "towline: {text}");
}

/// Writes one line to standard output. A line that cannot be written does not end the upload;
/// [`lost`] reports it at the end.
pub(super) fn line(text: &str) {
    let mut out = io::stdout().lock();
    note(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Remembers the error of a write.
pub(super) fn note(written: io::Result<()>) {
    if let Err(error) = written {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.kind());
    }
}

/// Why output was lost, if it was. A person who closes a pipe (`| head`) has read enough; a program
/// that reads events has missed some of them.
pub(super) fn lost(json: bool) -> Option<String> {
    let kind = (*LOST.lock().unwrap_or_else(PoisonError::into_inner))?;
    (json || kind != io::ErrorKind::BrokenPipe)
        .then(|| format!("standard output could not be written: {kind}"))
}
