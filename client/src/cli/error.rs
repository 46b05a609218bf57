//! Why a command did not begin, or could not do one of the things that it was asked for.

use super::json;
use super::output::say;
use crate::events::ErrorReport;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::{printable, shown};
use std::fmt;
use std::path::Path;

/// See the module's description.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) exit: Exit,
    pub(super) message: String,
    /// What a person can do about it.
    advice: Option<String>,
    /// The server's code for it.
    code: Option<&'static str>,
}

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Person,
    Program,
}

impl Reader {
    /// A program where `--json` was given.
    pub(super) const fn of(json: bool) -> Self {
        if json { Self::Program } else { Self::Person }
    }
}

impl CliError {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None, code: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The failure; where a server has refused, with the thing that was asked about.
    pub(super) fn about(what: &str, failure: Failure) -> Self {
        let error = Self::from(failure);
        if error.code.is_none() {
            return error;
        }
        Self { message: format!("{}: {}", printable(what), error.message), ..error }
    }

    /// A failure that is about one local file.
    pub(super) fn about_file(path: &Path, failure: &Failure) -> Self {
        let message = format!("{}: {failure}", shown(path));
        Self { exit: failure.exit(), message, advice: failure.advice(), code: None }
    }

    /// The same with other advice: what a failure advises is meant for `put` and `get`.
    pub(super) fn advising(self, advice: &str) -> Self {
        Self { advice: Some(advice.to_owned()), ..self }
    }

    /// Tells of the error: a person on standard error, and a program with an event as well.
    pub(super) fn report(&self, path: Option<&Path>, reader: Reader) {
        if reader == Reader::Program {
            json::event(
                "error",
                &ErrorReport {
                    path: path.map(Path::to_owned),
                    document_id: None,
                    code: self.code,
                    message: self.message.clone(),
                    advice: self.advice.clone(),
                    exit: self.exit.code(),
                },
            );
        }
        say(&self.to_string());
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self {
            exit: failure.exit(),
            message: failure.to_string(),
            advice: failure.advice(),
            code: failure.code().map(towline_protocol::Code::as_str),
        }
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
