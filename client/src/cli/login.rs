//! `towline login LINE`: this machine joins a server, and the server gets a name.

use super::arguments::Login;
use super::error::CliError;
use super::json;
use super::known_servers::KnownServers;
use super::named_servers::{BAD_NAME, NamedServers, is_name};
use super::output::{line, say};
use super::private_file;
use super::runtime::block_on;
use crate::address::ServerAddress;
use crate::client::Client;
use crate::client::joining::Joined;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::security::Security;
use crate::system::in_words;
use crate::text::{printable, shown};
use serde::Serialize;
use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use towline_protocol::{Code, JoinAddress, JoinLine};

pub(super) fn run(login: &Login) -> Result<Exit, CliError> {
    let join_line = join_line(login)?;
    let Some(servers) = NamedServers::of_person()? else {
        return Err(CliError::new(Exit::Refused, "there is no home folder for the token"));
    };
    let addresses = join_line.addresses.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let name = name(login, &servers, &addresses)?;
    let (address, joined) = joined(&join_line, addresses)?;

    // The secret is used up. Where one of these fails, the token at least is not lost unnoticed.
    let token_file = servers.token_file(&name);
    private_file::write(&token_file, &format!("{}\n", joined.token.reveal())).map_err(|error| {
        let message = format!("{} cannot be written: {}", shown(&token_file), in_words(&error));
        CliError::new(Exit::Refused, message).advising(NEW_LINE)
    })?;
    if let Some(known_servers) = KnownServers::of_person() {
        known_servers.remember(&address, join_line.fingerprint).map_err(|error| {
            let path = shown(known_servers.path());
            CliError::new(Exit::Refused, format!("{path} cannot be written: {}", in_words(&error)))
                .advising(NEW_LINE)
        })?;
    }
    servers.add(&name, &address)?;
    let default = servers.default().is_none_or(|default| default.name == name);
    tell(
        login,
        &LoggedIn { name: &name, address: address.to_string(), user: &joined.user, default },
    );
    Ok(Exit::Done)
}

const NEW_LINE: &str =
    "the line was used up: ask for a new one (towlined join) once that is mended";

/// What `--json` says.
#[derive(Serialize)]
struct LoggedIn<'a> {
    name: &'a str,
    address: String,
    user: &'a str,
    default: bool,
}

fn tell(login: &Login, done: &LoggedIn<'_>) {
    if login.answer.json {
        return json::answer("login", done);
    }
    let LoggedIn { name, address, user, default } = done;
    line(&format!("logged in to {name} ({address}) as {}", printable(user)));
    line(&match default {
        true => format!("it is the default server; to send a file: towline put FILE {name}:"),
        false => format!("to send a file: towline put FILE {name}:"),
    });
}

/// The line: as typed, in however many words a program has broken it; else from standard input, where
/// neither the list of processes nor the history of a shell shows it.
fn join_line(login: &Login) -> Result<JoinLine, CliError> {
    let text = match login.line.as_slice() {
        [] => {
            if io::stdin().is_terminal() {
                say("paste the line that `towlined join` or `towline receive` has printed:");
            }
            let mut text = String::new();
            io::stdin().read_line(&mut text).map_err(|error| {
                let message = format!("standard input cannot be read: {}", in_words(&error));
                CliError::new(Exit::Refused, message)
            })?;
            text
        }
        words => words.concat(),
    };
    text.parse().map_err(|error| CliError::usage(format!("{error}; nothing was sent")))
}

fn address(typed: &JoinAddress) -> Result<ServerAddress, CliError> {
    let host = typed.host();
    let text = match host.contains(':') {
        true => format!("[{host}]:{}", typed.port()),
        false => typed.to_string(),
    };
    text.parse().map_err(|error| CliError::usage(format!("{error}")))
}

/// The name of the server: as typed, else the first part of the name of its host, or its address. The
/// name is looked at before anything is sent, because the line is good only once.
fn name(
    login: &Login,
    servers: &NamedServers,
    addresses: &[ServerAddress],
) -> Result<String, CliError> {
    let name = match (&login.name, addresses.first()) {
        (Some(name), _) => name.clone(),
        (None, Some(first)) => usual_name(first.host()),
        (None, None) => String::new(),
    };
    if !is_name(&name) {
        return Err(CliError::usage(format!(
            "{:?}: {BAD_NAME}; choose one with --as",
            printable(&name)
        )));
    }
    match servers.named(&name) {
        Some(other) if !addresses.contains(&other.address) => Err(CliError::new(
            Exit::Refused,
            format!(
                "another server, {}, is called {name} already, and nothing was sent; choose another \
                 name with --as, or remove that one: towline logout {name}",
                other.address
            ),
        )),
        _ => Ok(name),
    }
}

fn usual_name(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Ok(IpAddr::V6(_)) => format!("ip-{}", host.replace(':', "-")),
        Err(_) => host.split('.').next().unwrap_or(host).to_lowercase(),
    }
}

/// Tries the addresses in their order. An address that leads to another server, or to none, has been
/// sent nothing, so that the next one is tried.
fn joined(
    line: &JoinLine,
    addresses: Vec<ServerAddress>,
) -> Result<(ServerAddress, Joined), CliError> {
    let mut errors = Vec::new();
    for address in addresses {
        let client = Client::without_token(address.clone());
        let mut client = client.security(Security::Key(line.fingerprint));
        match block_on(client.join(&line.secret))? {
            Ok(joined) => return Ok((address, joined)),
            Err(failure) if is_answer(&failure) => return Err(refused(failure)),
            Err(failure) => errors.push((address, failure)),
        }
    }
    Err(none_answered(errors))
}

/// Whether the failure is the answer of the right server.
fn is_answer(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { .. } | Failure::Protocol(_))
}

fn refused(failure: Failure) -> CliError {
    match &failure {
        Failure::Refused { reply, .. } if reply.code == Code::Unauthorized => CliError::new(
            Exit::Refused,
            "the server does not take this line: it was used, its time has passed, or it was damaged",
        )
        .advising("ask for a new one (towlined join --user NAME)"),
        Failure::Refused { reply, .. } if reply.code == Code::BadRequest => {
            CliError::from(failure).advising("ask the server's operator to update towlined")
        }
        _ => failure.into(),
    }
}

fn none_answered(errors: Vec<(ServerAddress, Failure)>) -> CliError {
    let is_other =
        |(_, failure): &&(ServerAddress, Failure)| matches!(failure, Failure::KeyChanged { .. });
    if let Some((address, Failure::KeyChanged { expected, found, .. })) =
        errors.iter().find(is_other)
    {
        let message = format!(
            "the server at {address} has the key {found}, and the line is for one with the key \
             {expected}; nothing was sent, and the line can still be used"
        );
        return CliError::new(Exit::Refused, message).advising(
            "another machine may answer in its place, or the line was changed on the way: ask the \
             person who sent it",
        );
    }
    let reasons: Vec<_> = errors.iter().map(|(_, failure)| failure.to_string()).collect();
    CliError::new(Exit::Refused, reasons.join("; ")).advising(
        "is the server running, and this machine in the same network? The line says where it is",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_like_its_host() {
        for (host, name) in [
            ("nas.example", "nas"),
            ("NAS", "nas"),
            ("192.168.1.7", "192.168.1.7"),
            ("fd00::7", "ip-fd00--7"),
        ] {
            assert_eq!(usual_name(host), name);
            assert!(is_name(name));
        }
    }
}
