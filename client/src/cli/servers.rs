//! `towline servers` and `towline logout NAME`: the servers that have names.

use super::arguments::{Logout, Servers};
use super::error::CliError;
use super::json;
use super::named_servers::{NamedServer, NamedServers};
use super::output::{line, say};
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::{printable, shown};
use crate::token::Token;
use serde::Serialize;
use std::io::ErrorKind;

/// A server, for a program.
#[derive(Serialize)]
struct Listed {
    name: String,
    address: String,
    default: bool,
    /// In milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ends_at: Option<u64>,
}

pub(super) fn list(servers: &Servers) -> Result<Exit, CliError> {
    let found = NamedServers::of_person()?;
    let all = found.as_ref().map_or(&[][..], NamedServers::all);
    let usual = found.as_ref().and_then(NamedServers::default);
    for server in all {
        let default = usual == Some(server);
        let token = Token::from_file(&server.token_file);
        if servers.answer.json {
            let (name, address) = (server.name.clone(), server.address.to_string());
            let ends_at = token.ok().and_then(|token| token.ends_at());
            let token_ends_at = ends_at.and_then(|end| u64::try_from(end.as_millis()).ok());
            json::answer("server", &Listed { name, address, default, token_ends_at });
            continue;
        }
        let until = match token.map(|token| token.expires_at()) {
            Ok(Some(until)) => format!("token until {until}"),
            Ok(None) => "token without an end".to_owned(),
            Err(error) => error.to_string(),
        };
        let mark = if default { "  (default)" } else { "" };
        line(&format!("{}  {}  {until}{mark}", server.name, server.address));
    }
    if all.is_empty() && !servers.answer.json && !servers.answer.quiet {
        say("no server has a name yet; `towline login LINE` adds one");
    }
    Ok(Exit::Done)
}

/// What `--json` says.
#[derive(Serialize)]
struct LoggedOut<'a> {
    name: &'a str,
}

pub(super) fn logout(logout: &Logout) -> Result<Exit, CliError> {
    let name = &logout.name;
    let found = NamedServers::of_person()?;
    let server = found.as_ref().and_then(|servers| Some((servers, servers.named(name)?)));
    let Some((servers, server)) = server else {
        let message =
            format!("no server is called {}; `towline servers` lists them", printable(name));
        return Err(CliError::new(Exit::Refused, message));
    };
    remove_token(servers, server)?;
    servers.remove(name)?;
    if logout.answer.json {
        json::answer("logout", &LoggedOut { name });
    } else {
        line(&format!(
            "{name} and its token were removed here; its key stays known. To make the token useless \
             for others too: towlined token revoke ID, on the server"
        ));
    }
    Ok(Exit::Done)
}

/// Removes the token that `login` has written. A file that the person has named is the person's.
fn remove_token(servers: &NamedServers, server: &NamedServer) -> Result<(), CliError> {
    if server.token_file != servers.token_file(&server.name) {
        return Ok(());
    }
    match std::fs::remove_file(&server.token_file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CliError::new(
            Exit::Refused,
            format!("{} cannot be removed: {}", shown(&server.token_file), in_words(&error)),
        )),
        _ => Ok(()),
    }
}
