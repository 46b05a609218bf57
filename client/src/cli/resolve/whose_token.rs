//! Whether a token of the list may go to a server: to the entry's own, and to another address only
//! where the server there has to prove that it is the same one.

use crate::address::ServerAddress;
use crate::cli::arguments::ConnectArgs;
use crate::cli::error::CliError;
use crate::cli::joining::key_of_token;
use crate::cli::known_servers::KnownServers;
use crate::exit::Exit;
use crate::security::is_this_machine;
use crate::text::printable;
use std::path::Path;
use towline_types::Fingerprint;

/// The key of the server that an entry of the list belongs to: the one that its token is for, else the
/// one that is known for the entry's address.
pub(super) fn key_of_entry(server: Option<&str>, token_file: Option<&Path>) -> Option<Fingerprint> {
    token_file.and_then(key_of_token).or_else(|| known_key(&server?.parse().ok()?))
}

fn known_key(server: &ServerAddress) -> Option<Fingerprint> {
    KnownServers::of_person()?.key_of(server).ok().flatten()
}

/// The key that a server has to prove before it gets the token in that file, which the list has for
/// `server`; nothing where it is the server of that address, for which the known key counts.
///
/// Where another address or a line was typed, the server may have moved there; it may as well be
/// another one. Only the key tells, so that the token stays here where the two are known to differ, and
/// where nothing is known.
///
/// # Errors
/// Where the token is for another server, or may be. Nothing was read.
pub(super) fn key_to_prove(
    connect: &ConnectArgs,
    server: Option<&str>,
    token_file: &Path,
) -> Result<Option<Fingerprint>, CliError> {
    let own = key_of_token(token_file);
    let Some(before) = server else { return Ok(own) };
    let Some(typed) = &connect.to else { return Ok(own) };
    let key = own.or_else(|| known_key(&before.parse().ok()?));
    if let Some(line) = connect.key_of_line {
        let is_same = key == Some(line);
        return is_same.then_some(key).ok_or_else(|| is_other(before, typed));
    }
    if typed.to_string() == before {
        return Ok(own);
    }
    let here = [Some(typed.clone()), before.parse().ok()];
    match key {
        Some(_) if connect.plaintext => Err(is_other(before, typed)),
        Some(key) if connect.fingerprint.is_some_and(|typed| typed != key) => {
            Err(is_other(before, typed))
        }
        Some(key) if known_key(typed).is_some_and(|known| known != key) => {
            Err(is_other(before, typed))
        }
        Some(key) => Ok(Some(key)),
        // Nothing leaves this machine.
        None if here.iter().all(|server| server.as_ref().is_some_and(is_this_machine)) => Ok(None),
        None => Err(is_other(before, typed)),
    }
}

fn is_other(before: &str, typed: &ServerAddress) -> CliError {
    let message = format!(
        "it was begun at {}, and nothing proves that the server at {typed} is the same one; nothing was \
         sent, not even the token",
        printable(before)
    );
    CliError::new(Exit::Refused, message).advising(
        "if it is the same server, and has another key now, name the file with a token for it: \
         --token-file FILE",
    )
}
