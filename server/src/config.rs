//! What a server is told before it starts.

use crate::audit::AuditFile;
use crate::http_config::HttpConfig;
use crate::places::PlaceLimits;
use crate::tls::TlsFiles;
use crate::token::TrustedProvider;
use std::path::PathBuf;
use std::time::Duration;
use towline_engine::EngineConfig;

/// Everything that can be set. [`Config::new`] gives the values that the command
/// line gives.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store and what is promised of it.
    pub engine: EngineConfig,
    /// How many connections may be open at the same time (P6).
    pub places: PlaceLimits,
    /// What is bounded in time.
    pub timings: Timings,
    /// The operator's certificate; `None` for the one that the server makes itself.
    pub tls: Option<TlsFiles>,
    /// Whether other machines may connect without TLS.
    pub allow_plaintext: bool,
    /// An identity provider whose tokens are taken besides the server's own.
    pub provider: Option<TrustedProvider>,
    /// The scanner of the engine is a command: the process starts programs.
    pub runs_commands: bool,
    /// Where it is recorded who does what; `None` for no such record.
    pub audit: Option<AuditFile>,
    /// What the HTTP door is told, where the server has one.
    pub http: HttpConfig,
}

/// What is bounded in time, on each connection.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// From the connection to a whole `hello`.
    pub login: Duration,
    /// From the first byte of a frame to its last.
    pub frame: Duration,
    /// Without any byte from the client.
    pub silence: Duration,
    /// Without the client reading a single byte of what is said to it.
    pub unread: Duration,
    /// How long a look at whether a user may be logged in holds. The next begins when two
    /// thirds of it have passed; where none says yes by then, the connection is closed.
    pub recheck: Duration,
    /// For everything under way, from the signal to stop.
    pub stop: Duration,
}

impl Config {
    /// The defaults, over that data folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            engine: EngineConfig::new(data_dir),
            places: PlaceLimits::default(),
            timings: Timings::default(),
            tls: None,
            allow_plaintext: false,
            provider: None,
            runs_commands: false,
            audit: None,
            http: HttpConfig::default(),
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(10),
            frame: Duration::from_secs(60),
            silence: Duration::from_secs(300),
            unread: Duration::from_secs(60),
            recheck: Duration::from_secs(30),
            stop: Duration::from_secs(5),
        }
    }
}
