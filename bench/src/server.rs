//! A peer's server: started, waited for until it accepts, asked to stop.

use crate::interrupt;
use crate::measure::{Process, last_words};
use crate::sample::Cost;
use anyhow::{Context as _, Result, bail, ensure};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starting takes milliseconds; a machine that is busy gets more.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(2);

/// How a server shows that it accepts connections.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sign {
    /// It prints `listening on ADDRESS`.
    Says,
    /// Its port of the loopback interface is open. The system is asked: a connection
    /// to try would have some of them start a process for it.
    Opens(u16),
}

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it accepts connections; what it says goes into `log`.
    pub(crate) fn start(command: Command, log: &Path, sign: Sign) -> Result<Self> {
        let process = Process::start(command, log)?;
        let began = Instant::now();
        loop {
            interrupt::check()?;
            if let Some(address) = sign.shown_by(&process) {
                return Ok(Self { process, address });
            }
            if process.ends_within(Duration::ZERO)? {
                bail!("the server ended before it listened: {}", last_words(log));
            }
            let waited = began.elapsed();
            ensure!(waited < STARTS_WITHIN, "the server does not listen: {}", last_words(log));
            sleep(LOOK);
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has no children, for a server that has one for each connection:
    /// what a child took is counted only once its parent has waited for it.
    pub(crate) fn be_alone(&self) -> Result<()> {
        let id = self.id();
        let children = PathBuf::from(format!("/proc/{id}/task/{id}/children"));
        let began = Instant::now();
        loop {
            interrupt::check()?;
            let left = std::fs::read_to_string(&children)
                .context("the system does not say which children a process has")?;
            if left.trim().is_empty() {
                return Ok(());
            }
            ensure!(
                began.elapsed() < STOPS_WITHIN,
                "the server still works for a client that left"
            );
            sleep(LOOK);
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(self) -> Result<Cost> {
        self.process.terminate()?;
        Ok(self.process.end_within(STOPS_WITHIN).context("the server does not stop")?.cost)
    }
}

impl Sign {
    fn shown_by(self, process: &Process) -> Option<SocketAddr> {
        match self {
            Self::Says => {
                let said = process.said();
                // A line that is still being written has no end yet.
                let whole = &said[..said.rfind('\n')?];
                whole.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
            }
            Self::Opens(port) => {
                let tcp = std::fs::read_to_string("/proc/net/tcp").ok()?;
                let is_open = tcp.lines().any(|line| is_listening(line, port));
                is_open.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            }
        }
    }
}

/// Whether a line of `/proc/net/tcp` is of a socket that listens on that port of
/// 127.0.0.1: "sl local_address rem_address st …".
fn is_listening(line: &str, port: u16) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let loopback = u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets());
    fields.next() == Some(&format!("{loopback:08X}:{port:04X}")) && fields.nth(1) == Some("0A")
}

/// A port that was free a moment ago, for servers that cannot choose one themselves.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_port_is_seen_and_a_closed_one_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = || {
            let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap();
            tcp.lines().any(|line| is_listening(line, port))
        };
        assert!(is_open());
        drop(listener);
        assert!(!is_open());
    }
}
