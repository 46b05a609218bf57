//! How long the client waits for each step.

use std::time::Duration;

/// How long the client waits for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long the connection to one address may take.
    pub connect: Duration,
    /// How long the answer to a question may take after the question is sent, even where the server
    /// sends other messages meanwhile.
    pub answer: Duration,
    /// How long an attempt may continue without a byte sent, received by the server or made
    /// durable, even where the server sends messages meanwhile.
    pub progress: Duration,
    /// After which time without a byte from the server the client sends a `ping`.
    pub ping_after: Duration,
    /// How long the answer to that `ping` may take; then the connection counts as lost. On Linux
    /// the system gives up bytes that are not acknowledged after twice this time.
    pub ping_answer: Duration,
    /// How long the client waits at a pause for the last replies of the server.
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
