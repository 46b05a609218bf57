//! Ctrl-C and SIGTERM: whatever waits gives up, so that what was started is ended
//! and what was written is removed on the way out.

use anyhow::{Context as _, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on the signals do not end this program by themselves.
pub(crate) fn watch() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        (interrupt, signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        ASKED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// # Errors
/// Where a signal has asked the program to end.
pub(crate) fn check() -> Result<()> {
    ensure!(!ASKED.load(Ordering::Relaxed), "interrupted; nothing was written");
    Ok(())
}
