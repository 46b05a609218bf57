//! Which token goes to which server.

use super::environment::{SERVER_VARIABLE, TOKEN_VARIABLE, variable};
use super::whose_token;
use crate::address::ServerAddress;
use crate::cli::arguments::ConnectArgs;
use crate::cli::error::CliError;
use crate::cli::joining::key_of_token;
use crate::cli::output::say;
use crate::exit::Exit;
use crate::text::{shell_word, shown};
use crate::token::Token;
use crate::uploads;
use std::path::{Path, PathBuf};
use towline_state::state_file::UploadEntry;
use towline_types::Fingerprint;

/// A token and the file it came from, if it came from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Credential {
    pub(in crate::cli) token: Token,
    pub(in crate::cli) file: Option<PathBuf>,
    /// The key of the server that the token is for, where that is known besides the key of the address:
    /// a server with another key gets nothing.
    pub(in crate::cli) key: Option<Fingerprint>,
}

/// The token: from the file that was named, else that of the named server that is used, else from the
/// file that held it when the upload began, else from the environment.
///
/// The environment's token is sent only to a server that a person has named, on the command line or
/// in the environment beside the token. It is not sent to the server of an entry of the list,
/// because it may be meant for another server.
///
/// A token that says which store it is for is not sent to the server of an entry that was begun with
/// another store, wherever the token comes from.
pub(in crate::cli) fn credential(
    connect: &ConnectArgs,
    entry: Option<&UploadEntry>,
) -> Result<Credential, CliError> {
    let chosen = chosen(connect, entry)?;
    let begun_with = entry.and_then(|entry| entry.server_id);
    match begun_with.zip(chosen.token.store()) {
        Some((begun_with, store)) if begun_with != store => Err(of_other_store(&chosen)),
        _ => Ok(chosen),
    }
}

fn of_other_store(chosen: &Credential) -> CliError {
    let token = match &chosen.file {
        Some(path) => format!("the token in {}", shown(path)),
        None => format!("the token in {TOKEN_VARIABLE}"),
    };
    let message = format!(
        "it was begun with one server, and {token} is for another server; nothing was sent, not even \
         the token"
    );
    CliError::new(Exit::Refused, message).advising(
        "name its own token: --token-file FILE; if the server was set up anew, what was begun is gone \
         there: run `towline put` again",
    )
}

fn chosen(connect: &ConnectArgs, entry: Option<&UploadEntry>) -> Result<Credential, CliError> {
    if let Some(path) = &connect.token_file {
        return from_file(path);
    }
    let server = entry.and_then(|entry| entry.server.as_deref());
    // The environment's token is beside the server of the environment, and beside no other.
    let is_of_environment =
        variable(SERVER_VARIABLE).is_some() && variable(TOKEN_VARIABLE).is_some();
    if let Some(usual) = &connect.usual
        && server.is_none()
        && !is_of_environment
    {
        return from_file(&usual.token_file);
    }
    let typed = connect.to.as_ref().map(ToString::to_string);
    let beside = variable(SERVER_VARIABLE).and_then(|text| text.parse::<ServerAddress>().ok());
    let is_beside = beside.is_some_and(|beside| Some(beside.to_string().as_str()) == server);
    let is_named = server.is_none() || typed.is_some() || is_beside;
    let variable = variable(TOKEN_VARIABLE).filter(|_| is_named);
    // The file of the entry holds a token for the entry's server. Where another server was typed,
    // the environment's token is more probably the right one.
    let is_elsewhere =
        typed.is_some() && typed.as_deref() != server && connect.key_of_line.is_none();
    let file = entry.and_then(uploads::token_file);
    match (file, variable) {
        (Some(path), None) => of_list(connect, server, &path),
        (Some(path), Some(_)) if !is_elsewhere => of_list(connect, server, &path),
        (_, Some(text)) => {
            let token = Token::new(&text)
                .map_err(|error| CliError::usage(format!("{TOKEN_VARIABLE}: {error}")))?;
            Ok(Credential { token, file: None, key: None })
        }
        (None, None) if !is_named && super::environment::variable(TOKEN_VARIABLE).is_some() => {
            Err(CliError::usage(format!(
                "the token in {TOKEN_VARIABLE} is only sent to a server that you name: add --to {}, \
                 or --token-file FILE",
                crate::text::printable(server.unwrap_or("HOST"))
            )))
        }
        (None, None) => Err(CliError::usage(format!(
            "a token is needed: use --token-file FILE, or set {TOKEN_VARIABLE}, or log in to the server \
             once (towline login LINE)"
        ))),
    }
}

fn from_file(path: &Path) -> Result<Credential, CliError> {
    let token = Token::from_file(path).map_err(|error| {
        CliError::usage(format!("'{}': {error}", crate::text::printable(&path.to_string_lossy())))
    })?;
    // The path of a link stays the path of the link: a later token may come by another target of
    // it.
    Ok(Credential { token, file: std::path::absolute(path).ok(), key: key_of_token(path) })
}

/// The token of an entry of the list, for the server that the command is about. It is read only where
/// that is the entry's server, or has to prove that it is.
fn of_list(
    connect: &ConnectArgs,
    server: Option<&str>,
    path: &Path,
) -> Result<Credential, CliError> {
    let key = whose_token::key_to_prove(connect, server, path)?;
    Ok(Credential { key, ..from_file(path)? })
}

/// Warns of a token file that other users of the machine can read.
pub(in crate::cli) fn warn_of_open_token(credential: &Credential, quiet: bool) {
    #[cfg(unix)]
    if let Some(path) = credential.file.as_deref().filter(|_| !quiet) {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0) {
            say(&format!(
                "warning: every user of this machine can read the token in {}; to forbid that: \
                 chmod 600 {}",
                shown(path),
                shell_word(path)
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (credential, quiet);
}
