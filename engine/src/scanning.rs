//! What a scanner is: a program that looks through the bytes of a document before they are given out
//! to anyone. The engine knows neither a program nor a protocol; whoever opens the engine brings the
//! scanner.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use towline_types::FileSize;

/// Looks through the bytes of one document at a time.
pub trait Scanner: fmt::Debug + Send + Sync {
    /// Its name, for the operator.
    fn name(&self) -> &str;

    /// Looks through a document, and returns before [`ScanBytes::deadline`], or soon after
    /// [`ScanBytes::is_over`] says so. It is called by several threads at the same time. Blocks.
    ///
    /// It need not read all bytes. What it does not understand is never
    /// [`Clean`](ScanResult::Clean).
    fn scan(&self, bytes: &mut ScanBytes<'_>) -> Scanned;
}

/// What a scanner has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// What it has found.
    pub result: ScanResult,
    /// The version of the signatures by which it has looked, where it says so.
    pub signatures: Option<String>,
}

/// What a document is, as far as a scanner can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanResult {
    /// Nothing was found in it.
    Clean,
    /// Something was found in it.
    Infected {
        /// The name of that.
        threat: String,
    },
    /// The scanner cannot look through this document, now or later.
    Unscannable {
        /// Why.
        reason: String,
    },
    /// The scanner is not there, or did not come to an end: it is asked again later.
    Retry {
        /// Why.
        reason: String,
    },
}

impl ScanResult {
    /// The same of a scanner that does not say by which signatures it has looked.
    #[must_use]
    pub const fn unsigned(self) -> Scanned {
        Scanned { result: self, signatures: None }
    }

    /// The scanner is asked again later.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string() }
    }
}

/// The bytes of a document on their way into a scanner.
pub struct ScanBytes<'a> {
    pub(crate) source: &'a mut dyn Read,
    pub(crate) filesize: FileSize,
    pub(crate) deadline: Instant,
    pub(crate) stopping: CancellationToken,
}

impl ScanBytes<'_> {
    /// The length of the document.
    #[must_use]
    pub const fn filesize(&self) -> FileSize {
        self.filesize
    }

    /// When the scan must have come to its end.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the scan is to end now: its time is over, or the engine ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stopping.is_cancelled() || Instant::now() >= self.deadline
    }

    /// The same for another thread.
    pub fn watch(&self) -> impl Fn() -> bool + Send + use<> {
        let (stopping, deadline) = (self.stopping.clone(), self.deadline);
        move || stopping.is_cancelled() || Instant::now() >= deadline
    }
}

impl Read for ScanBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the scan took too long"));
        }
        self.source.read(buffer)
    }
}

/// What becomes of a document that a scanner cannot look through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unscannable {
    /// It goes into the quarantine.
    Quarantine,
    /// It is not given out, and stays where it is.
    #[default]
    Fail,
    /// It is given out.
    Allow,
}

/// How documents are scanned.
#[derive(Debug, Clone)]
pub struct Scanning {
    /// The scanner.
    pub scanner: Arc<dyn Scanner>,
    /// What becomes of a document that it cannot look through.
    pub unscannable: Unscannable,
    /// How long a scan of an empty document may take. A longer one has a second more for each
    /// [`BYTES_A_SECOND`].
    pub timeout: Duration,
}

/// The least speed at which a scanner is expected to look through a document, in bytes per second.
pub const BYTES_A_SECOND: u64 = 10 << 20;

impl Scanning {
    /// A scanner with the defaults.
    #[must_use]
    pub fn with(scanner: Arc<dyn Scanner>) -> Self {
        let timeout = Duration::from_secs(300);
        Self { scanner, unscannable: Unscannable::default(), timeout }
    }

    /// How long a scan of a document of that length may take.
    pub(crate) fn patience(&self, filesize: FileSize) -> Duration {
        self.timeout + Duration::from_secs(filesize.get() / BYTES_A_SECOND)
    }
}
