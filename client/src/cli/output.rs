//! The two output streams of the command line, and whether everything could be written to them.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

/// The kind of the first error of a write to standard output, or of an event.
static LOST: Mutex<Option<io::ErrorKind>> = Mutex::new(None);

/// Events go to standard error, and nothing else does.
static HAS_EVENTS_ON_ERROR: AtomicBool = AtomicBool::new(false);

/// Standard output is for the bytes of a file: from now on events go to standard error. Lines for
/// people are left out, so that a program can read each line of it.
#[cfg(unix)]
pub(super) fn put_events_on_error() {
    HAS_EVENTS_ON_ERROR.store(true, Ordering::Relaxed);
}

/// `--quiet`: no line of a result is printed.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only errors and events are printed.
pub(super) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Writes one line to standard error. Where that is closed, the line is dropped.
pub(super) fn say(text: &str) {
    if !HAS_EVENTS_ON_ERROR.load(Ordering::Relaxed) {
        let _ = writeln!(io::stderr(), "towline: {text}");
    }
}

/// Writes the line of an event, which a program reads.
pub(super) fn event(text: &str) {
    if HAS_EVENTS_ON_ERROR.load(Ordering::Relaxed) {
        // In one piece: no other line comes in between.
        note(io::stderr().write_all(format!("{text}\n").as_bytes()));
    } else {
        write(text);
    }
}

/// Writes one line of a result to standard output, unless `--quiet`. A line that cannot be written
/// does not end the upload; [`lost`] reports it at the end.
pub(super) fn line(text: &str) {
    if !IS_QUIET.load(Ordering::Relaxed) {
        write(text);
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    note(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Remembers the error of a write.
pub(super) fn note(written: io::Result<()>) {
    if let Err(error) = written {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.kind());
    }
}

/// Whether output was lost: nobody reads it any more, or the disk is full.
#[cfg(unix)]
pub(super) fn is_lost() -> bool {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Why output was lost, if it was. A person who closes a pipe (`| head`) has read enough; a program
/// that reads events has missed some of them.
pub(super) fn lost(json: bool) -> Option<String> {
    let kind = (*LOST.lock().unwrap_or_else(PoisonError::into_inner))?;
    (json || kind != io::ErrorKind::BrokenPipe)
        .then(|| format!("standard output could not be written: {kind}"))
}
