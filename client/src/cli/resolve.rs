//! What the arguments mean, together with the environment and the state file.

use super::arguments::{ConnectArgs, StateArgs};
use super::printer::{Resuming, say, shown};
use super::{CliError, signals};
use crate::address::ServerAddress;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::shell_word;
use crate::token::Token;
use crate::uploads::{self, Found, Uploads};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use towline_state::state_file::{JobEntry, KnownServer, UploadEntry};
use towline_state::{StateFile, StateFileError, UploadsState};
use towline_types::{BadName, DocumentId, Name, StoreId};

/// The environment variable for `--to`.
const SERVER_VARIABLE: &str = "TOWLINE_SERVER";
/// The environment variable for the token itself.
const TOKEN_VARIABLE: &str = "TOWLINE_TOKEN";

/// A token and the file it came from, if it came from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) token: Token,
    pub(super) file: Option<PathBuf>,
}

/// What is remembered, and where.
#[derive(Debug)]
pub(super) struct Memory {
    /// Absent where there is none, or none that can be read.
    file: Option<StateFile>,
    is_writable: bool,
    pub(super) state: UploadsState,
    /// Where it is not where it usually is.
    elsewhere: Option<PathBuf>,
}

/// What a command wants the state file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The command is about the list: without it there is nothing to say.
    List,
    /// The list is gone on with, and may change on the way.
    GoOn,
    /// What is begun is to be remembered.
    Remember,
    /// It may say which server a document is on.
    Hint,
}

impl Memory {
    /// Lets a client use it, as far as it can be used.
    pub(super) fn lent_to(&self, client: Client) -> Client {
        match &self.file {
            Some(file) if self.is_writable => client.state_file(file.clone()),
            Some(file) => client.read_only_state_file(file.clone()),
            None => client,
        }
    }

    /// The same for what is not about one upload alone.
    pub(super) fn uploads(&self) -> Uploads {
        match self.file.clone() {
            Some(file) if self.is_writable => Uploads::kept_in(file),
            Some(file) => Uploads::read_from(file),
            None => Uploads::default(),
        }
    }

    /// Whether what is begun now can be found in the list later.
    pub(super) fn keeps(&self) -> bool {
        self.file.is_some() && self.is_writable && !LOCK_IS_HELD.load(Ordering::Relaxed)
    }

    /// What `towline uploads` has to be told to find it, with a space before it.
    pub(super) fn option(&self) -> String {
        let path = self.elsewhere.as_deref();
        path.map(|path| format!(" --state-file {}", shell_word(path))).unwrap_or_default()
    }

    /// Changes what it says, durably.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut UploadsState) -> T,
    ) -> Result<T, CliError> {
        let none = || CliError::new(Exit::Refused, "there is no list of uploads");
        let file = self.file.as_ref().ok_or_else(none)?;
        Ok(file.update(change).map_err(Failure::from)?)
    }

    /// What it says by now; as it was read where it cannot be read again.
    pub(super) fn state_now(&self) -> UploadsState {
        let now = self.file.as_ref().and_then(|file| file.read().ok());
        now.unwrap_or_else(|| self.state.clone())
    }

    /// How an upload goes on after an interruption.
    pub(super) fn resuming(&self, connect: &ConnectArgs) -> Resuming {
        let is_from_environment =
            connect.token_file.is_none() && variable(TOKEN_VARIABLE).is_some();
        if self.keeps() {
            Resuming::ByNumber {
                state_file: self.elsewhere.clone(),
                to: connect.to.clone().filter(|_| is_from_environment),
            }
        } else {
            Resuming::SameCommand
        }
    }
}

/// Another process holds the lock of the state file, and this one has said that it waits: what it wants to remember may not be written.
static LOCK_IS_HELD: AtomicBool = AtomicBool::new(false);

/// After that a wait for the lock is said.
const WAIT_WORTH_SAYING: Duration = Duration::from_secs(2);

/// After a Ctrl-C the lock is waited for no longer than that.
const WAIT_AFTER_INTERRUPT: Duration = Duration::from_millis(500);

/// Whether to go on waiting for the lock of the state file.
fn go_on_waiting(lock: &Path, waited: Duration) -> bool {
    if waited >= WAIT_WORTH_SAYING && !LOCK_IS_HELD.swap(true, Ordering::Relaxed) {
        say(&format!(
            "waiting for another process that holds {}; what is sent goes on meanwhile",
            shown(lock)
        ));
    }
    waited < WAIT_AFTER_INTERRUPT || !signals::was_interrupted()
}

/// The server: as typed, else where the upload is, else as the environment says.
pub(super) fn server(
    connect: &ConnectArgs,
    entry: Option<&UploadEntry>,
) -> Result<ServerAddress, CliError> {
    if let Some(server) = &connect.to {
        return Ok(server.clone());
    }
    let known = entry.and_then(|entry| entry.server.clone()).or_else(|| variable(SERVER_VARIABLE));
    let Some(text) = known else {
        return Err(CliError::usage(format!(
            "which server? Say --to HOST or set {SERVER_VARIABLE}"
        )));
    };
    text.parse().map_err(|error| CliError::usage(format!("{error}")))
}

/// Whether the command line or the environment names a server.
pub(super) fn names_a_server(connect: &ConnectArgs) -> bool {
    connect.to.is_some() || variable(SERVER_VARIABLE).is_some()
}

/// The token: from the file that was named, else from the file it lay in when the
/// upload began, else from the environment.
///
/// The environment's token goes to a server that a person has named, on the command line
/// or beside the token. It does not follow an entry of the list to whichever server that
/// names: it may be another server's.
pub(super) fn credential(
    connect: &ConnectArgs,
    entry: Option<&UploadEntry>,
) -> Result<Credential, CliError> {
    if let Some(path) = &connect.token_file {
        return from_file(path);
    }
    let server = entry.and_then(|entry| entry.server.as_deref());
    let typed = connect.to.as_ref().map(ToString::to_string);
    let beside = variable(SERVER_VARIABLE).and_then(|text| text.parse::<ServerAddress>().ok());
    let is_beside = beside.is_some_and(|beside| Some(beside.to_string().as_str()) == server);
    let is_named = server.is_none() || typed.is_some() || is_beside;
    let variable = variable(TOKEN_VARIABLE).filter(|_| is_named);
    // The file is the entry's server's; of another that was typed the environment knows more.
    let is_elsewhere = typed.is_some() && typed.as_deref() != server;
    let file = entry.and_then(uploads::token_file);
    match (file, variable) {
        (Some(path), None) => from_file(&path),
        (Some(path), Some(_)) if !is_elsewhere => from_file(&path),
        (_, Some(text)) => {
            let token = Token::new(&text)
                .map_err(|error| CliError::usage(format!("{TOKEN_VARIABLE}: {error}")))?;
            Ok(Credential { token, file: None })
        }
        (None, None) if !is_named && self::variable(TOKEN_VARIABLE).is_some() => {
            Err(CliError::usage(format!(
                "{TOKEN_VARIABLE} is only sent to a server that is named: say --to {}, or \
                 --token-file FILE",
                crate::text::printable(server.unwrap_or("HOST"))
            )))
        }
        (None, None) => Err(CliError::usage(format!(
            "a token is needed: say --token-file FILE or set {TOKEN_VARIABLE}"
        ))),
    }
}

fn from_file(path: &Path) -> Result<Credential, CliError> {
    let token = Token::from_file(path).map_err(|error| {
        CliError::usage(format!("'{}': {error}", crate::text::printable(&path.to_string_lossy())))
    })?;
    Ok(Credential { token, file: std::fs::canonicalize(path).ok() })
}

/// A token that others can read is theirs as well.
pub(super) fn warn_of_open_token(credential: &Credential, quiet: bool) {
    #[cfg(unix)]
    if let Some(path) = credential.file.as_deref().filter(|_| !quiet) {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0) {
            say(&format!(
                "warning: {} can be read by every user of this machine; chmod 600 {}",
                shown(path),
                shell_word(path)
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (credential, quiet);
}

/// The state file, read. What a person should know about it is said at once, and once.
pub(super) fn memory(
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
                "nothing is remembered of this command; if it is interrupted, \
                 the same command again goes on"
            }
            Purpose::GoOn => {
                "nothing new is remembered; if this is interrupted, the same \
                 command again goes on"
            }
            Purpose::List | Purpose::Hint => return,
        };
        if !quiet {
            say(&format!("{reason}: {consequence}"));
        }
    };
    let is_about_list = matches!(purpose, Purpose::List | Purpose::GoOn);
    let Some(path) = elsewhere.clone().or_else(usual_place) else {
        let reason = "there is no home folder with a list of uploads";
        if is_about_list {
            let message = format!("{reason}; name the list with --state-file");
            return Err(CliError::new(Exit::Refused, message));
        }
        warn(reason);
        return Ok(none(elsewhere));
    };
    let file = StateFile::at(path).while_waiting(go_on_waiting);
    let state = match uploads::read(&file) {
        // It may have told of much: no command says that there is nothing.
        Ok(Found { notices, .. }) if is_about_list && !notices.is_empty() => {
            return Err(CliError::new(Exit::Refused, crate::text::printable(&notices.join("; "))));
        }
        Ok(Found { state, notices }) => {
            if !quiet {
                notices.iter().for_each(|notice| say(&crate::text::printable(notice)));
            }
            state
        }
        // At the usual place the list is not asked for: the files are sent without one, and
        // that is said. A file that was named has to be usable, before anything is sent: a
        // person who names it counts on it. And the answer to a question about the list must
        // not be that it is empty.
        Err(error) if elsewhere.is_none() && !is_about_list => {
            warn(&Failure::from(error).to_string());
            return Ok(none(elsewhere));
        }
        Err(error) => return Err(unusable(error, purpose)),
    };
    // A list that could not be written says nothing of what is unfinished.
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

/// A state file that was named cannot be used.
fn unusable(error: StateFileError, purpose: Purpose) -> CliError {
    let error = CliError::from(Failure::from(error));
    if purpose != Purpose::Remember {
        return error;
    }
    CliError::new(
        error.exit,
        format!(
            "{error}; nothing was sent, because an interruption could not be remembered there. \
             Name another file with --state-file, or leave the option out"
        ),
    )
}

/// The one entry of a document: on that server if one is named, or else on whichever.
/// A server that is named may be the entry's under another address: that is found out
/// when it has answered.
pub(super) fn entry<'a>(
    state: &'a UploadsState,
    document: DocumentId,
    server: Option<&ServerAddress>,
) -> Result<Option<&'a UploadEntry>, CliError> {
    if let Some(server) = server {
        let server = KnownServer::new(server.to_string(), None);
        if let Some((_, entry)) = state.find(document, Some(&server)) {
            return Ok(Some(entry));
        }
    }
    let mut found = state.numbered(document).map(|(_, entry)| entry);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(CliError::usage(format!(
            "document {document} is on several servers; say which with --to"
        ))),
        (entry, _) => Ok(entry),
    }
}

/// The stores that the list has seen at that address.
fn stores_at(state: &UploadsState, address: &str) -> Vec<StoreId> {
    let uploads = state.uploads.values().map(|entry| (&entry.server, entry.server_id));
    let jobs = state.jobs.iter().map(|job| (&job.server, job.server_id));
    let is_there = |server: &Option<String>| server.as_deref() == Some(address);
    uploads.chain(jobs).filter(|(server, _)| is_there(server)).filter_map(|(_, id)| id).collect()
}

/// Whether something of the list belongs to the server that was typed: it was begun at that
/// address or with a store that was seen there, or it names no server. All of it does, where
/// none was typed.
///
/// What was begun elsewhere is not sent to an address that was typed without a number: its
/// files and its token may be meant for that other server alone.
fn belongs(
    state: &UploadsState,
    typed: Option<&ServerAddress>,
) -> impl Fn(Option<&str>, Option<StoreId>) -> bool {
    let address = typed.map(ToString::to_string);
    let stores = address.as_deref().map_or_else(Vec::new, |address| stores_at(state, address));
    move |server, store| match (&address, server) {
        (None, _) | (_, None) => true,
        (Some(address), Some(server)) => {
            server == address || store.is_some_and(|store| stores.contains(&store))
        }
    }
}

/// The uploads that belong to that server, in the order of their numbers.
pub(super) fn entries<'a>(
    state: &'a UploadsState,
    server: Option<&ServerAddress>,
) -> Vec<(DocumentId, &'a UploadEntry)> {
    let belongs = belongs(state, server);
    let mut found: Vec<_> = state
        .uploads
        .iter()
        .filter(|(_, entry)| belongs(entry.server.as_deref(), entry.server_id))
        .filter_map(|(key, entry)| Some((UploadsState::document_id_of(key)?, entry)))
        .collect();
    found.sort_by_key(|(document, _)| *document);
    found
}

/// The commands that belong to that server.
pub(super) fn jobs<'a>(
    state: &'a UploadsState,
    server: Option<&ServerAddress>,
) -> Vec<&'a JobEntry> {
    let belongs = belongs(state, server);
    state.jobs.iter().filter(|job| belongs(job.server.as_deref(), job.server_id)).collect()
}

/// `a/b` as a list of names.
pub(super) fn folder(text: Option<&str>) -> Result<Vec<Name>, CliError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text.trim().is_empty() {
        return Err(CliError::usage(
            "--folder is empty; leave it out to put the files at the top of your own folder",
        ));
    }
    if text.starts_with('/') {
        let below = text.trim_start_matches('/');
        return Err(CliError::usage(format!(
            "--folder names a folder below your own folder on the server and cannot begin with /; \
             say --folder {}",
            if below.is_empty() { "NAME".to_owned() } else { crate::text::printable(below) }
        )));
    }
    if text.split('/').any(|name| matches!(name, "." | "..")) {
        return Err(CliError::usage(
            "--folder must stay below your own folder on the server: no \".\" and no \"..\"",
        ));
    }
    let names = text.split('/').filter(|name| !name.is_empty());
    names
        .map(Name::new)
        .collect::<Result<_, BadName>>()
        .map_err(|reason| CliError::usage(format!("--folder: {reason}")))
}

fn usual_place() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let folder = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(folder.join("towline/uploads_state.json"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The exit code of a run that did several things.
pub(super) fn worst(exits: impl IntoIterator<Item = Exit>) -> Exit {
    exits.into_iter().max().unwrap_or(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_lists_of_names() {
        assert_eq!(folder(None).unwrap(), []);
        let names: Vec<String> =
            folder(Some("a/b c/")).unwrap().into_iter().map(Into::into).collect();
        assert_eq!(names, ["a", "b c"]);
        for outside in ["a/../b", "..", "../x", "./a", "/x", "/", "", " "] {
            let error = folder(Some(outside)).unwrap_err();
            assert_eq!(error.exit, Exit::Usage, "{outside}");
            assert!(error.message.contains("--folder"), "{}", error.message);
            assert!(error.message.contains("your own folder"), "{}", error.message);
        }
    }

    #[test]
    fn the_worst_wins() {
        assert_eq!(worst([]), Exit::Done);
        assert_eq!(worst([Exit::Done, Exit::Resumable, Exit::Refused]), Exit::Resumable);
        assert_eq!(worst([Exit::Integrity, Exit::Done]), Exit::Integrity);
    }
}
