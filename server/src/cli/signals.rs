//! What signals do to a server. SIGTERM and SIGINT stop it in good order. Signals that have
//! another meaning for many programs (a closed terminal, a reload) are logged and change
//! nothing, although their default is to end the process.

use rustix::process::Signal as Number;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use towline_engine::log::Limiter;

/// The signals that stop a server.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ready once one of them has come. Cancel-safe: one that has come is not forgotten.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Signals that end a process by default, and the reason that the log gives for ignoring each.
/// SIGPIPE is not among them: a Rust program ignores it from the beginning.
const PASSED_OVER: [(&str, Number, &str); 4] = [
    // A closed terminal, `systemctl reload`, a rotated log.
    ("SIGHUP", Number::HUP, "settings are read only at the start"),
    ("SIGUSR1", Number::USR1, "it has no meaning here"),
    ("SIGUSR2", Number::USR2, "it has no meaning here"),
    // A file of any user may be larger than `ulimit -f` allows the process to write.
    ("SIGXFSZ", Number::XFSZ, "a file is larger than a limit of the process (ulimit -f)"),
];

/// From now on those signals are logged, once a second, and change nothing.
pub(super) fn pass_over() -> io::Result<()> {
    for (name, number, why) in PASSED_OVER {
        let mut received = signal(SignalKind::from_raw(number.as_raw()))?;
        tokio::spawn(async move {
            let limiter = Limiter::default();
            while received.recv().await.is_some() {
                if let Some(others) = limiter.due(()) {
                    tracing::info!(signal = name, others, "a signal is ignored: {why}");
                }
            }
        });
    }
    Ok(())
}
