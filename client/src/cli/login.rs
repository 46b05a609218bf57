//! `towline login LINE`: this machine joins a server, and the server gets a name.

use super::arguments::Login;
use super::error::CliError;
use super::joining::{self, NEW_LINE};
use super::json;
use super::known_servers::KnownServers;
use super::named_servers::{BAD_NAME, NamedServers, is_name};
use super::output::{line, say};
use super::private_file;
use crate::address::ServerAddress;
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::{printable, shown};
use serde::Serialize;
use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use towline_protocol::JoinLine;

pub(super) fn run(login: &Login) -> Result<Exit, CliError> {
    let join_line = join_line(login)?;
    let Some(servers) = NamedServers::of_person()? else {
        return Err(CliError::new(Exit::Refused, "there is no home folder for the token"));
    };
    let addresses = joining::addresses(&join_line)?;
    let name = name(login, &servers, &addresses)?;
    let (address, joined) = joining::joined(&join_line, addresses)?;

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
