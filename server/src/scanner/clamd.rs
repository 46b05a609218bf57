//! The scanner of ClamAV: the daemon clamd, over a Unix socket or TCP. The protocol is `INSTREAM`, as
//! `clamd(8)` describes it: pieces with their lengths before them, and one line as the answer.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use towline_engine::scanning::{ScanBytes, ScanResult, Scanned, Scanner};

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClamdAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

/// The text is no address of clamd.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of clamd; write unix:/PATH or tcp:HOST:PORT")]
pub struct BadClamdAddress(String);

impl FromStr for ClamdAddress {
    type Err = BadClamdAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadClamdAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("tcp:").ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || !has_port { Err(bad()) } else { Ok(Self::Tcp(address.to_owned())) }
    }
}

impl fmt::Display for ClamdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Clamd {
    address: ClamdAddress,
    /// Its version and that of its signatures, and when it said so.
    version: Mutex<Option<(Instant, String)>>,
}

/// clamd counts the bytes of a document in a signed number of 32 bits: a longer one it cannot look
/// through, whatever its settings.
const LONGEST_BYTES: u64 = (1 << 31) - 1;

/// How much of a document is sent at a time.
const PIECE_BYTES: usize = 128 << 10;

/// The time between two looks at whether the time of a scan is over.
const LOOKS: Duration = Duration::from_millis(250);

/// How long the connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// How long what it said of its version is believed.
const VERSION_KEPT: Duration = Duration::from_secs(60);

/// As much of an answer is looked at.
const ANSWER_BYTES: usize = 4096;

impl Clamd {
    pub(crate) const fn at(address: ClamdAddress) -> Self {
        Self { address, version: Mutex::new(None) }
    }

    fn connect(&self) -> io::Result<Socket> {
        match &self.address {
            ClamdAddress::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect(&SockAddr::unix(path)?)?;
                ready(socket)
            }
            ClamdAddress::Tcp(address) => {
                let mut last = None;
                for address in address.to_socket_addrs()? {
                    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                    match socket.connect_timeout(&address.into(), CONNECTING) {
                        Ok(()) => return ready(socket),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| ErrorKind::NotFound.into()))
            }
        }
    }

    /// The version of clamd and of its signatures.
    fn version(&self, bytes: &ScanBytes<'_>) -> io::Result<String> {
        let mut known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, version)) = &*known
            && at.elapsed() < VERSION_KEPT
        {
            return Ok(version.clone());
        }
        let socket = self.connect()?;
        write_all(&socket, b"zVERSION\0", bytes)?;
        let version = answer(&socket, bytes)?;
        *known = Some((Instant::now(), version.clone()));
        Ok(version)
    }

    fn ask(&self, bytes: &mut ScanBytes<'_>) -> io::Result<String> {
        let socket = self.connect()?;
        match send(&socket, bytes) {
            Ok(()) => answer(&socket, bytes),
            // It answers before the last byte where it wants no more of them, and hangs up.
            Err(Sending::Socket(error)) => answer(&socket, bytes).map_err(|_| error),
            Err(Sending::Source(error)) => Err(error),
        }
    }
}

impl Scanner for Clamd {
    fn name(&self) -> &str {
        "clamd"
    }

    fn scan(&self, bytes: &mut ScanBytes<'_>) -> Scanned {
        if bytes.filesize().get() > LONGEST_BYTES {
            let reason = "it is longer than 2 GiB, and clamd looks through no such file".to_owned();
            return ScanResult::Unscannable { reason }.unsigned();
        }
        let gone = |error: io::Error| {
            ScanResult::retry(format!("clamd at {}: {error}", self.address)).unsigned()
        };
        let version = match self.version(bytes) {
            Ok(version) => version,
            Err(error) => return gone(error),
        };
        match self.ask(bytes) {
            Ok(answer) => Scanned { result: meaning(&answer), signatures: Some(version) },
            Err(error) => gone(error),
        }
    }
}

/// What an answer means. What is not understood is never clean.
fn meaning(answer: &str) -> ScanResult {
    let said = answer.strip_prefix("stream: ").unwrap_or(answer);
    if said == "OK" {
        return ScanResult::Clean;
    }
    if let Some(threat) = said.strip_suffix(" FOUND") {
        if NOT_LOOKED_THROUGH.iter().any(|prefix| threat.starts_with(prefix)) {
            return ScanResult::Unscannable { reason: format!("clamd says: {threat}") };
        }
        return ScanResult::Infected { threat: threat.to_owned() };
    }
    if let Some(reason) = said.strip_suffix("ERROR")
        && reason.starts_with(TOO_LONG)
    {
        let reason = reason.trim().trim_end_matches('.').to_owned();
        return ScanResult::Unscannable { reason: format!("clamd says: {reason}") };
    }
    // Every other error may be one of clamd and not of the document: no room in its temporary
    // folder, no memory. It says the same of all documents then.
    ScanResult::retry(format!("clamd has said {said:?}"))
}

/// What clamd says of a document that is longer than its `StreamMaxLength`.
const TOO_LONG: &str = "INSTREAM size limit exceeded";

/// What clamd says of documents that it has not looked through to their end, where it is told to
/// say so (`AlertExceedsMax`, `AlertEncrypted`).
const NOT_LOOKED_THROUGH: [&str; 2] = ["Heuristics.Limits.Exceeded", "Heuristics.Encrypted"];

/// A socket on which no call takes longer than a moment, so that the end of a scan is seen.
fn ready(socket: Socket) -> io::Result<Socket> {
    socket.set_read_timeout(Some(LOOKS))?;
    socket.set_write_timeout(Some(LOOKS))?;
    Ok(socket)
}

/// Why not all bytes were sent.
enum Sending {
    Socket(io::Error),
    Source(io::Error),
}

fn send(socket: &Socket, bytes: &mut ScanBytes<'_>) -> Result<(), Sending> {
    write_all(socket, b"zINSTREAM\0", bytes).map_err(Sending::Socket)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = bytes.read(&mut piece).map_err(Sending::Source)?;
        let length = u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        write_all(socket, &length, bytes).map_err(Sending::Socket)?;
        if count == 0 {
            return Ok(());
        }
        write_all(socket, &piece[..count], bytes).map_err(Sending::Socket)?;
    }
}

fn write_all(mut socket: &Socket, mut rest: &[u8], bytes: &ScanBytes<'_>) -> io::Result<()> {
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) => wait_on(error, bytes)?,
        }
    }
    Ok(())
}

/// The one line of an answer.
fn answer(mut socket: &Socket, bytes: &ScanBytes<'_>) -> io::Result<String> {
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) => wait_on(error, bytes)?,
        }
        if said.contains(&0) || said.len() > ANSWER_BYTES {
            break;
        }
    }
    let line = said.split(|byte| *byte == 0).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).trim().to_owned();
    if line.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}

/// Goes on after a call that only took its moment, as long as the scan has time.
fn wait_on(error: io::Error, bytes: &ScanBytes<'_>) -> io::Result<()> {
    let is_wait = matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    );
    match is_wait {
        true if bytes.is_over() => {
            Err(io::Error::new(ErrorKind::TimedOut, "the scan took too long"))
        }
        true => Ok(()),
        false => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_which_kind_of_socket() {
        for text in ["unix:/run/clamav/clamd.ctl", "tcp:127.0.0.1:3310", "tcp:[::1]:3310"] {
            assert_eq!(text.parse::<ClamdAddress>().unwrap().to_string(), text);
        }
        for text in
            ["", "/run/clamd", "unix:clamd", "tcp:3310", "tcp::3310", "tcp:host:0", "tcp:host:x"]
        {
            assert!(text.parse::<ClamdAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_ok_is_clean() {
        assert_eq!(meaning("stream: OK"), ScanResult::Clean);
        let threat = "Win.Test.EICAR_HDB-1".to_owned();
        assert_eq!(meaning("stream: Win.Test.EICAR_HDB-1 FOUND"), ScanResult::Infected { threat });
        for limit in [
            "INSTREAM size limit exceeded. ERROR",
            "stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND",
            "stream: Heuristics.Encrypted.Zip FOUND",
        ] {
            assert!(matches!(meaning(limit), ScanResult::Unscannable { .. }), "{limit}");
        }
        for other in [
            "stream: Can't read file ERROR",
            "stream: Can't allocate memory ERROR",
            "stream: ",
            "stream: OK.",
            "UNKNOWN COMMAND",
            "NOT OK",
            "stream: x: OK",
        ] {
            assert!(matches!(meaning(other), ScanResult::Retry { .. }), "{other}");
        }
    }
}
