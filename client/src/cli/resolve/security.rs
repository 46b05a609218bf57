//! How the connections of a command are protected, and the first contact with a server.

use super::Credential;
use crate::address::ServerAddress;
use crate::cli::arguments::ConnectArgs;
use crate::cli::error::CliError;
use crate::cli::known_servers::KnownServers;
use crate::cli::known_stores::{KnownStores, WithKey};
use crate::cli::output::say;
use crate::cli::question::agrees;
use crate::cli::runtime::block_on;
use crate::client::Client;
use crate::exit::Exit;
use crate::security::{Security, is_this_machine};
use crate::system::in_words;
use crate::text::printable;
use std::io::{self, IsTerminal as _};
use towline_types::Fingerprint;

/// How the server is spoken to. Where its key is not known, the server is asked for it, without the
/// token, and the person is asked whether it is the right one. Blocks.
///
/// A key that is known for the address is replaced by one that the person has typed, and by nothing
/// else: neither by that of a line, nor by that of the server which the token is for.
pub(in crate::cli) fn security(
    connect: &ConnectArgs,
    server: &ServerAddress,
    credential: &Credential,
) -> Result<Security, CliError> {
    refuse_unproven(connect, credential)?;
    if connect.plaintext {
        return Ok(Security::Plaintext);
    }
    let token = &credential.token;
    let demanded = connect.fingerprint.or(connect.key_of_line).or(credential.key);
    let known_servers = KnownServers::of_person();
    let known = match &known_servers {
        Some(known_servers) => known_servers.key_of(server).map_err(not_usable(known_servers)),
        None => Ok(None),
    };
    let is_plain = is_this_machine(server) && !connect.tls && !connect.trust_new;
    let known = match known {
        // The file cannot be read, say because the home folder is another person's. The command
        // needs no key from it.
        Err(_) if is_plain || demanded.is_some() => None,
        known => known?,
    };
    match (demanded, known) {
        (Some(key), known) if known == Some(key) => return Ok(Security::Key(key)),
        (None, Some(key)) => return Ok(Security::Key(key)),
        (None, None) if is_plain => return Ok(Security::Plaintext),
        _ => {}
    }
    let mut stranger = Client::new(server.clone(), token.clone()).security(Security::UnknownKey);
    let key = match block_on(stranger.key_of_server())? {
        Ok(key) => key,
        // The command waits for the server as for any other. Where no key was typed, it asks no
        // more: once the server is there, it ends and says what the key is.
        Err(failure) if failure.exit() == Exit::Resumable => {
            return Ok(demanded.map_or(Security::UnknownKey, Security::Key));
        }
        Err(failure) => return Err(failure.into()),
    };
    match demanded {
        // A key that is not the server's is not remembered.
        Some(demanded) if demanded != key => return Ok(Security::Key(demanded)),
        Some(_) => {}
        None => {
            // Under another address, it has proved that it is the server which the token is for. That
            // any server has this key proves nothing: the token may be for another one.
            let store = token.store();
            let known = store.zip(KnownStores::of_person());
            let is_met = known.is_some_and(|(store, known)| known.key_of(store) == Some(key));
            if !is_met && !connect.trust_new {
                ask(server, key)?;
            }
        }
    }
    if known.is_some() && connect.fingerprint.is_none() {
        return Ok(Security::Key(key));
    }
    if let Some(known_servers) = known_servers
        && let Err(error) = known_servers.remember(server, key)
    {
        say(&format!(
            "the key of {server} could not be written to {}: {}; the next command looks at its key again",
            printable(&known_servers.path().display().to_string()),
            in_words(&error)
        ));
    }
    Ok(Security::Key(key))
}

/// Refuses the options by which a token would go to a server that has not proved to be the one that the
/// token is for.
fn refuse_unproven(connect: &ConnectArgs, credential: &Credential) -> Result<(), CliError> {
    let Some(key) = credential.key else { return Ok(()) };
    let advice = if connect.plaintext {
        "omit --plaintext: the connection is encrypted then, and the server is recognised by its key"
    } else if connect.fingerprint.is_some_and(|typed| typed != key) {
        "omit --fingerprint; if the server has another key by now, ask its operator for a new line \
         (towlined join --user NAME), and run the same `towline put` again with --to and that line"
    } else {
        return Ok(());
    };
    let message = format!(
        "the token is for the server with the key {key} alone; nothing was sent, not even the token"
    );
    Err(CliError::new(Exit::Refused, message).advising(advice))
}

/// The client, protected in that way. Where it recognises the server by its key, it also finds it at
/// any other address at which the person has used that server.
pub(in crate::cli) fn secured(client: Client, security: Security) -> Client {
    let client = client.security(security);
    let Security::Key(key) = security else { return client };
    match KnownServers::of_person().zip(KnownStores::of_person()) {
        Some((servers, stores)) => client.other_addresses(WithKey { key, servers, stores }),
        None => client,
    }
}

fn not_usable(known_servers: &KnownServers) -> impl Fn(io::Error) -> CliError {
    let path = printable(&known_servers.path().display().to_string()).to_string();
    move |error| {
        CliError::new(
            Exit::Refused,
            format!("{path}, which has the keys of servers, cannot be read: {}", in_words(&error)),
        )
    }
}

/// Asks the person whether that is the key of the server.
fn ask(server: &ServerAddress, key: Fingerprint) -> Result<(), CliError> {
    let not_known = format!("{server} is not known yet; its key is {key}");
    if !io::stdin().is_terminal() {
        let error = CliError::new(Exit::Refused, format!("{not_known}, and nothing was sent"));
        return Err(error.advising(
            "compare it with the key that the server prints when it starts, and add --fingerprint \
             and the key; --trust-new takes the key without a question",
        ));
    }
    if agrees(&format!(
        "{server} is not known yet. Its key is\n  {key}\n\
         The server prints its key when it starts.\n\
         Is it the right one"
    )) {
        return Ok(());
    }
    Err(CliError::new(Exit::Refused, "the key was not accepted, and nothing was sent"))
}
