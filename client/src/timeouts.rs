//! How long the client waits for what.

use std::time::Duration;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to one address.
    pub connect: Duration,
    /// For the answer to a question once it is sent, whatever else the server says
    /// meanwhile.
    pub answer: Duration,
    /// For anything to come of what is sent, whatever the server says meanwhile.
    pub progress: Duration,
    /// For any sign of life, before a `ping` asks for one.
    pub ping_after: Duration,
    /// For the answer to that `ping`; then the connection counts as lost. The
    /// system gives a link up that long after it last delivered anything, too.
    pub ping_answer: Duration,
    /// For the server's last word at a pause.
    pub closing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            progress: Duration::from_secs(300),
            ping_after: Duration::from_secs(15),
            ping_answer: Duration::from_secs(30),
            closing: Duration::from_secs(2),
        }
    }
}
