//! The list of unfinished uploads, in the form in which a command may use it.

use super::environment::{TOKEN_VARIABLE, usual_place, variable};
use crate::cli::arguments::{ConnectArgs, StateArgs};
use crate::cli::error::CliError;
use crate::cli::output::say;
use crate::cli::printer::Resuming;
use crate::cli::signals;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::{shell_word, shown};
use crate::uploads::{self, Found, Uploads};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use towline_state::{StateFile, StateFileError, UploadsState};

/// The list, and the file that it is kept in.
#[derive(Debug)]
pub(in crate::cli) struct Memory {
    /// Absent where there is no state file, or none that can be read.
    file: Option<StateFile>,
    is_writable: bool,
    pub(in crate::cli) state: UploadsState,
    /// The path of the state file, where it is not the usual one.
    elsewhere: Option<PathBuf>,
}

/// What a command needs the state file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Purpose {
    /// The command is about the list: without the list it has nothing to say.
    List,
    /// The command continues what is in the list, and may change the list.
    GoOn,
    /// The command begins uploads, and the list is to remember them.
    Remember,
    /// The list may say which server a document is on.
    Hint,
}

impl Memory {
    /// Gives the client the state file: to read and write it, or only to read it.
    pub(in crate::cli) fn lent_to(&self, client: Client) -> Client {
        match &self.file {
            Some(file) if self.is_writable => client.state_file(file.clone()),
            Some(file) => client.read_only_state_file(file.clone()),
            None => client,
        }
    }

    /// The same for the work on the list that is not about one upload alone.
    pub(in crate::cli) fn uploads(&self) -> Uploads {
        match self.file.clone() {
            Some(file) if self.is_writable => Uploads::kept_in(file),
            Some(file) => Uploads::read_from(file),
            None => Uploads::default(),
        }
    }

    /// Whether the list remembers what this command begins.
    pub(in crate::cli) fn keeps(&self) -> bool {
        self.file.is_some() && self.is_writable && !LOCK_IS_HELD.load(Ordering::Relaxed)
    }

    /// The option with which `towline uploads` finds this state file, with a space before it.
    pub(in crate::cli) fn option(&self) -> String {
        let path = self.elsewhere.as_deref();
        path.map(|path| format!(" --state-file {}", shell_word(path))).unwrap_or_default()
    }

    /// Changes the list durably.
    pub(in crate::cli) fn change<T>(
        &self,
        change: impl FnOnce(&mut UploadsState) -> T,
    ) -> Result<T, CliError> {
        let none = || CliError::new(Exit::Refused, "there is no list of uploads");
        let file = self.file.as_ref().ok_or_else(none)?;
        Ok(file.update(change).map_err(Failure::from)?)
    }

    /// The list as it is now; where the file cannot be read again, as it was at the beginning.
    pub(in crate::cli) fn state_now(&self) -> UploadsState {
        let now = self.file.as_ref().and_then(|file| file.read().ok());
        now.unwrap_or_else(|| self.state.clone())
    }

    /// How a person continues an upload after an interruption.
    pub(in crate::cli) fn resuming(
        &self,
        connect: &ConnectArgs,
        receipts: Option<&Path>,
    ) -> Resuming {
        let is_from_environment =
            connect.token_file.is_none() && variable(TOKEN_VARIABLE).is_some();
        if self.keeps() {
            Resuming::ByNumber {
                state_file: self.elsewhere.clone(),
                to: connect.to.clone().filter(|_| is_from_environment),
                receipts: receipts.map(Path::to_owned),
            }
        } else {
            Resuming::SameCommand
        }
    }
}

/// Another process holds the lock of the state file, and this process has printed that it waits.
/// What this command wants to write may then stay unwritten.
static LOCK_IS_HELD: AtomicBool = AtomicBool::new(false);

/// After this time, the wait for the lock is printed.
const WAIT_WORTH_SAYING: Duration = Duration::from_secs(2);

/// After Ctrl-C, this process waits no longer than this for the lock.
const WAIT_AFTER_INTERRUPT: Duration = Duration::from_millis(500);

/// Whether this process goes on waiting for the lock of the state file.
fn go_on_waiting(lock: &Path, waited: Duration) -> bool {
    if waited >= WAIT_WORTH_SAYING && !LOCK_IS_HELD.swap(true, Ordering::Relaxed) {
        say(&format!(
            "waiting for another process that has locked {}; sending continues meanwhile",
            shown(lock)
        ));
    }
    waited < WAIT_AFTER_INTERRUPT || !signals::was_interrupted()
}

/// Reads the state file, and prints at once what a person should know about it.
pub(in crate::cli) fn memory(
    state_args: &StateArgs,
    purpose: Purpose,
    quiet: bool,
) -> Result<Memory, CliError> {
    let elsewhere = state_args.state_file.clone();
    let none = |elsewhere| Memory {
        file: None,
        is_writable: false,
        state: UploadsState::default(),
        elsewhere,
    };
    let warn = |reason: &str| {
        let consequence = match purpose {
            Purpose::Remember => {
                "so this command is not in the list of unfinished uploads; if it is interrupted, \
                 run the same command again to continue"
            }
            Purpose::GoOn => {
                "so the list of unfinished uploads is not kept up to date; if this is interrupted, \
                 run the same command again to continue"
            }
            Purpose::List | Purpose::Hint => return,
        };
        if !quiet {
            say(&format!("{reason}, {consequence}"));
        }
    };
    let is_about_list = matches!(purpose, Purpose::List | Purpose::GoOn);
    let Some(path) = elsewhere.clone().or_else(usual_place) else {
        let reason = "there is no home folder for the list of unfinished uploads";
        if is_about_list {
            let message = format!("{reason}; choose a file for it with --state-file");
            return Err(CliError::new(Exit::Refused, message));
        }
        warn(reason);
        return Ok(none(elsewhere));
    };
    let file = StateFile::at(path).while_waiting(go_on_waiting);
    let state = match uploads::read(&file) {
        // The damaged file may have had many entries: a command about the list must not say that
        // there are none.
        Ok(Found { notices, .. }) if is_about_list && !notices.is_empty() => {
            return Err(CliError::new(Exit::Refused, crate::text::printable(&notices.join("; "))));
        }
        Ok(Found { state, notices }) => {
            if !quiet {
                notices.iter().for_each(|notice| say(&crate::text::printable(notice)));
            }
            state
        }
        // At the usual place the command can do without the list: it sends the files and prints
        // that nothing is remembered. A file that a person has named must be usable before anything
        // is sent, because the person relies on it. And a question about the list must not be
        // answered as if the list were empty.
        Err(error) if elsewhere.is_none() && !is_about_list => {
            warn(&Failure::from(error).to_string());
            return Ok(none(elsewhere));
        }
        Err(error) => return Err(unusable(error, purpose)),
    };
    // A list that could never be written says nothing about what is unfinished.
    if is_about_list && !file.path().exists() {
        file.check_writable().map_err(Failure::from)?;
    }
    let is_writable = match purpose {
        Purpose::Remember | Purpose::GoOn => match file.check_writable() {
            Ok(()) => true,
            Err(error) if elsewhere.is_none() || purpose == Purpose::GoOn => {
                warn(&Failure::from(error).to_string());
                false
            }
            Err(error) => return Err(unusable(error, purpose)),
        },
        Purpose::List | Purpose::Hint => true,
    };
    Ok(Memory { file: Some(file), is_writable, state, elsewhere })
}

/// The error about a state file that cannot be used.
fn unusable(error: StateFileError, purpose: Purpose) -> CliError {
    let error = CliError::from(Failure::from(error));
    if purpose != Purpose::Remember {
        return error;
    }
    CliError::new(
        error.exit,
        format!(
            "{error}; nothing was sent, because the list of unfinished uploads could not be written \
             there. Choose another file with --state-file, or omit the option"
        ),
    )
}
