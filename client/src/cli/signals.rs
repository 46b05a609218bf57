//! Ctrl-C and the other signals that end a program pause the uploads.

use crate::exit::Exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A wrapper may pass on one Ctrl-C that the terminal has sent to this process as well. A second
/// signal within this time counts as the same one.
const ONE_AND_THE_SAME: Duration = Duration::from_millis(300);

/// The first signal has come.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the person has asked for a pause. For threads that wait for something else.
pub(super) fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Cancelled at the first SIGINT or SIGTERM; the second one ends the process at once. What was sent
/// is then still safe on the server, and `resume` finds it.
///
/// Signals have a thread of their own. So they are handled also while the client's only thread is
/// busy: with a server that sends without end, or with a disk that does not answer.
pub(super) fn pause() -> CancellationToken {
    let cancel = CancellationToken::new();
    let told = cancel.clone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let listening = std::thread::Builder::new().name("towline-signals".to_owned());
    // Without this thread a signal does what it does by default: it ends the process.
    let _ = listening.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(listen(&told, ready));
        }
    });
    // Waits until the thread listens, so that no signal comes before that. An error means that the
    // thread will never listen.
    let _ = is_ready.recv();
    cancel
}

async fn listen(told: &CancellationToken, ready: std::sync::mpsc::Sender<()>) {
    let Ok(mut signals) = Signals::new() else { return };
    drop(ready);
    signals.next().await;
    INTERRUPTED.store(true, Ordering::Relaxed);
    told.cancel();
    tokio::time::sleep(ONE_AND_THE_SAME).await;
    let Ok(mut signals) = Signals::new() else { return };
    signals.next().await;
    std::process::exit(i32::from(Exit::Resumable.code()));
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
