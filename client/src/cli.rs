//! The command line `towline`, in two steps: [`arguments`] is what was typed,
//! [`resolve`] what it means. The commands beside them do it.

mod about;
mod arguments;
mod forget;
mod habits;
mod job;
mod list;
mod printer;
mod put;
mod resolve;
mod resume;
mod selection;
mod signals;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::system::in_words;
use arguments::{Arguments, Command};
use clap::Parser as _;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    run_from(std::env::args_os())
}

/// [`main`] inside another program, whose arguments these are not: the first of them
/// is the name, as in [`std::env::args_os`].
pub fn run_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if habits::is_help_of_help(&error) => {
            return run_from(["towline".into(), "--help".into()]);
        }
        Err(error) => {
            let error = habits::with_tip(error);
            // Where even that cannot be printed, the code must say it all.
            let printed = error.print();
            if error.use_stderr() {
                return Exit::Usage.into();
            }
            printer::note_output(printed);
            return whole_output(Exit::Done, false).into();
        }
    };
    let json = arguments.command.is_for_programs();
    let ended = match arguments.command {
        Command::Put(put) => put::run(put),
        Command::Resume(resume) => resume::run(resume),
        Command::Uploads(uploads) => list::run(&uploads),
        Command::Status(about) => about::status(about),
        Command::Cancel(about) => about::cancel(about),
        #[cfg(feature = "serve")]
        Command::Serve(serve) => {
            towline_server::cli::serve(&serve).map(|()| Exit::Done).map_err(CliError::failed)
        }
        #[cfg(feature = "serve")]
        Command::Demo { file } => crate::demo::run(file).map_err(CliError::failed),
    };
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            printer::say(&error.to_string());
            error.exit
        }
    };
    whole_output(exit, json).into()
}

/// A run is not done where what it had to say was lost.
fn whole_output(exit: Exit, json: bool) -> Exit {
    match printer::lost(json) {
        Some(reason) => {
            printer::say(&reason);
            exit.max(Exit::Refused)
        }
        None => exit,
    }
}

/// Why a command was not even begun.
#[derive(Debug)]
struct CliError {
    exit: Exit,
    message: String,
}

impl CliError {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    #[cfg(feature = "serve")]
    #[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
    fn failed(error: anyhow::Error) -> Self {
        let is_usage = towline_server::cli::is_usage(&error);
        let exit = if is_usage { Exit::Usage } else { Exit::Refused };
        // A complaint about a configuration file shows the line and points at the place.
        let text = format!("{error:#}");
        let lines: Vec<_> = text.trim_end().lines().map(crate::text::printable).collect();
        Self::new(exit, lines.join("\n"))
    }

    fn usage(message: impl Into<String>) -> Self {
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

/// Everything of a client is one task, which waits for the socket most of the
/// time; a second worker would only cost it wake-ups.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            CliError::new(Exit::Refused, format!("cannot start: {}", in_words(&error)))
        })?;
    let done = runtime.block_on(work);
    // A thread may still wait for a name server that does not answer; the process ends without it.
    runtime.shutdown_background();
    Ok(done)
}
