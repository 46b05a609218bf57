//! Why a command did not begin.

use crate::exit::Exit;
use crate::failure::Failure;
use std::fmt;

/// Why a command did not begin.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl CliError {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let mut message = failure.to_string();
        if let Some(advice) = failure.advice() {
            message = format!("{message}; {advice}");
        }
        Self::new(failure.exit(), message)
    }
}

#[cfg(feature = "serve")]
#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
/// What the server or the demo, which run in this process, could not do.
pub(super) fn of_server(error: anyhow::Error) -> CliError {
    let is_usage = towline_server::cli::is_usage(&error);
    let exit = if is_usage { Exit::Usage } else { Exit::Refused };
    // An error about a configuration file shows the line and points at the place in it.
    let text = format!("{error:#}");
    let lines: Vec<_> = text.trim_end().lines().map(crate::text::printable).collect();
    CliError::new(exit, lines.join("\n"))
}
