//! Ctrl-C and its like mean: pause.

use crate::exit::Exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A wrapper may hand one Ctrl-C on that the terminal has sent to us as well:
/// a second signal so soon is still the first.
const ONE_AND_THE_SAME: Duration = Duration::from_millis(300);

/// The first signal has come.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the person has asked for a pause. For threads that wait for something else.
pub(super) fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Cancelled at the first SIGINT or SIGTERM; the second ends the process at
/// once. What is sent is then still safe on the server, and `resume` finds it.
pub(super) fn pause() -> CancellationToken {
    let cancel = CancellationToken::new();
    let told = cancel.clone();
    tokio::spawn(async move {
        // Without them a signal does what it does by default: end the process.
        let Ok(mut signals) = Signals::new() else { return };
        signals.next().await;
        INTERRUPTED.store(true, Ordering::Relaxed);
        told.cancel();
        tokio::time::sleep(ONE_AND_THE_SAME).await;
        let Ok(mut signals) = Signals::new() else { return };
        signals.next().await;
        std::process::exit(i32::from(Exit::Resumable.code()));
    });
    cancel
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancel-safe, as both of its parts are.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
