//! What signals do to a server. SIGTERM and SIGINT stop it in good order. Signals that have another
//! meaning for many programs are logged and change nothing, although their default is to end the
//! process. At SIGHUP the server reads its certificate and the keys of tokens again, and opens its
//! audit log again; nothing else changes.

use super::service_manager::ServiceManager;
use crate::listening::Listening;
use crate::{Reloaded, Reloader};
use rustix::process::Signal as Number;
use std::error::Error as _;
use std::io;
use std::path::PathBuf;
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
const PASSED_OVER: [(&str, Number, &str); 3] = [
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

/// The signal SIGHUP. It comes from `systemctl reload`, from a program that has renewed the
/// certificate, from an operator who has added or retired a key, or from a terminal that was
/// closed.
pub(super) struct Hangup(Signal);

impl Hangup {
    /// Listens for the signal. From now on it does not end the process.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Reads the certificate and the keys of tokens again at each signal, and tells the service
    /// manager when it begins and when it is done. A new key is recorded for join lines: `place` is
    /// what was recorded at the start, and the data folder of the server. A process that is confined
    /// reads files only beneath the folders that it had at its start.
    pub(super) fn reloads(
        mut self,
        reloader: Reloader,
        place: (Listening, PathBuf),
        manager: ServiceManager,
        is_confined: bool,
    ) {
        let (listening, data_dir) = place;
        tokio::spawn(async move {
            while self.0.recv().await.is_some() {
                manager.reloading();
                let (reloader, data_dir) = (reloader.clone(), data_dir.clone());
                let listening = listening.clone();
                let reload = move || {
                    let reloaded = reloader.reload();
                    if let Ok(key) = reloaded.certificate {
                        Listening { key, ..listening }.record_in(&data_dir);
                    }
                    reloaded
                };
                match tokio::task::spawn_blocking(reload).await {
                    Ok(reloaded) => {
                        tell(&reloaded);
                        if is_confined && !is_whole(&reloaded) {
                            tracing::warn!(
                                signal = "SIGHUP",
                                "files are read again only beneath the folders that they were in at \
                                 the start (landlock); if one has another place now, restart the server"
                            );
                        }
                    }
                    Err(error) => tracing::error!(
                        signal = "SIGHUP",
                        %error,
                        "nothing was read again, by a mistake of the server; what it has stays in use"
                    ),
                }
                manager.ready();
            }
        });
    }
}

/// Whether all of it was read again.
fn is_whole(reloaded: &Reloaded) -> bool {
    let Reloaded { certificate, token_keys, provider_keys, audit_log } = reloaded;
    certificate.is_ok()
        && token_keys.is_ok()
        && !matches!(provider_keys, Some(Err(_)))
        && !matches!(audit_log, Some(Err(_)))
}

fn tell(reloaded: &Reloaded) {
    match &reloaded.certificate {
        Ok(key) => tracing::info!(
            signal = "SIGHUP",
            %key,
            "the certificate was read again; settings are read only at the start"
        ),
        Err(error) => tracing::warn!(
            signal = "SIGHUP",
            %error,
            reason = error.source().map(tracing::field::display),
            "the certificate was not read again, and the one of before is used"
        ),
    }
    match &reloaded.token_keys {
        Ok(count) => tracing::info!(signal = "SIGHUP", count, "the keys of tokens were read again"),
        Err(error) => tracing::warn!(
            signal = "SIGHUP",
            %error,
            "the keys of tokens were not read again, and those of before are used"
        ),
    }
    match &reloaded.provider_keys {
        Some(Ok(count)) => tracing::info!(
            signal = "SIGHUP",
            count,
            "the keys of the identity provider were read again"
        ),
        Some(Err(error)) => tracing::warn!(
            signal = "SIGHUP",
            %error,
            "the keys of the identity provider were not read again, and those of before are used"
        ),
        None => {}
    }
    match &reloaded.audit_log {
        Some(Ok(())) => tracing::info!(signal = "SIGHUP", "the audit log was opened again"),
        Some(Err(error)) => tracing::warn!(
            signal = "SIGHUP",
            %error,
            "the audit log was not opened again, and the file of before is written on"
        ),
        None => {}
    }
}
