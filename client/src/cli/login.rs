//! `towline login LINE`: this machine joins a server, and the server gets a name.

use super::arguments::Login;
use super::error::CliError;
use super::joining::{self, NEW_LINE};
use super::json;
use super::known_servers::KnownServers;
use super::known_stores::KnownStores;
use super::named_servers::{BAD_NAME, NAME_CHARS_MAX, NamedServer, NamedServers, is_name};
use super::output::{line, say};
use super::private_file;
use crate::address::ServerAddress;
use crate::client::joining::Joined;
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::{printable, shown};
use crate::token::{BadToken, Token};
use serde::Serialize;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::net::IpAddr;
use towline_protocol::JoinLine;
use towline_types::Fingerprint;

pub(super) fn run(login: &Login) -> Result<Exit, CliError> {
    let join_line = join_line(login)?;
    let Some(servers) = NamedServers::of_person()? else {
        return Err(CliError::new(Exit::Refused, "there is no home folder for the token"));
    };
    let addresses = joining::addresses_to_name(&join_line)?;
    let at = At { servers: &servers, addresses: &addresses, key: join_line.fingerprint };
    let (name, moved) = (at.name(login.name.as_deref())?, at.moved(login.name.as_deref()));
    let (address, joined) = joining::joined(&join_line, addresses.clone())?;
    let place = Place { servers: &servers, address: &address, key: join_line.fingerprint };
    let moved = moved.filter(|moved| place.is_of(&moved.name, &joined));
    let (wanted, before) = match moved {
        Some(moved) => (moved.name.clone(), Some(moved.address.to_string())),
        None => (name, None),
    };
    let name = place.name(&wanted, &joined);

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
    if let Some(known_stores) = KnownStores::of_person() {
        known_stores.note(&address, join_line.fingerprint, joined.store);
    }
    servers.add(&name, &address)?;
    let default = servers.default().is_none_or(|default| default.name == name);
    tell(
        login,
        &LoggedIn {
            name: &name,
            address: address.to_string(),
            user: &joined.user,
            default,
            address_before: before,
            name_taken: Some(&*wanted).filter(|wanted| **wanted != *name),
        },
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
    /// Where the server was, if it has another address now.
    #[serde(skip_serializing_if = "Option::is_none")]
    address_before: Option<String>,
    /// The name that it was to have, if that one is kept for another server or user.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_taken: Option<&'a str>,
}

fn tell(login: &Login, done: &LoggedIn<'_>) {
    if login.answer.json {
        return json::answer("login", done);
    }
    let LoggedIn { name, address, user, default, address_before, name_taken } = done;
    line(&format!("logged in to {name} ({address}) as {}", printable(user)));
    if let Some(taken) = name_taken {
        line(&format!(
            "{taken} is another server or user here, and keeps its token; to remove it: towline \
             logout {taken}"
        ));
    }
    if let Some(before) = address_before {
        line(&format!(
            "it is the server that was at {before}: what was begun there goes on at {address}"
        ));
    }
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

/// Where a join line leads, and the servers that have names.
struct At<'a> {
    servers: &'a NamedServers,
    addresses: &'a [ServerAddress],
    key: Fingerprint,
}

impl At<'_> {
    /// The name of the server: as typed, else the first part of the name of its host, or its address.
    /// The name is looked at before anything is sent, because the line is good only once.
    fn name(&self, typed: Option<&str>) -> Result<String, CliError> {
        let name = match (typed, self.addresses.first()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(first)) => usual_name(first.host()),
            (None, None) => String::new(),
        };
        if !is_name(&name) {
            return Err(CliError::usage(format!(
                "{:?}: {BAD_NAME}; choose one with --as",
                printable(&name)
            )));
        }
        match self.servers.named(&name) {
            Some(other) if !self.is_here(other) && !self.was_elsewhere(other) => {
                Err(CliError::new(
                    Exit::Refused,
                    format!(
                        "another server, {}, is called {name} already, and nothing was sent; choose \
                         another name with --as, or remove that one: towline logout {name}",
                        other.address
                    ),
                ))
            }
            _ => Ok(name),
        }
    }

    /// The named server that the line leads to under another address: the one of the typed name, or,
    /// where no name was typed, the only one that has the key.
    fn moved(&self, typed: Option<&str>) -> Option<&NamedServer> {
        if let Some(name) = typed {
            return self.servers.named(name).filter(|named| self.was_elsewhere(named));
        }
        let is_one = |named: &&NamedServer| self.is_here(named) || self.was_elsewhere(named);
        let mut found = self.servers.all().iter().filter(is_one);
        let only = found.next().filter(|_| found.next().is_none());
        only.filter(|named| self.was_elsewhere(named))
    }

    fn is_here(&self, named: &NamedServer) -> bool {
        self.addresses.contains(&named.address)
    }

    /// Whether the server of that name has the key of the line, and an address that the line does not
    /// have.
    fn was_elsewhere(&self, named: &NamedServer) -> bool {
        let known = KnownServers::of_person();
        let key = known.and_then(|known| known.key_of(&named.address).ok().flatten());
        key == Some(self.key) && !self.is_here(named)
    }
}

/// Where the server was found, and the servers that have names.
struct Place<'a> {
    servers: &'a NamedServers,
    address: &'a ServerAddress,
    key: Fingerprint,
}

impl Place<'_> {
    /// The name that the server gets: the one that was wanted, or that name with a number where it is
    /// kept for another server or user. The secret of the line is used up by now, so that the token
    /// has to get some name; and it is not written over another one.
    fn name(&self, wanted: &str, joined: &Joined) -> String {
        let short: String = wanted.chars().take(NAME_CHARS_MAX - "-9999".len()).collect();
        let (mut name, mut number) = (wanted.to_owned(), 1);
        while !self.is_of(&name, joined) {
            number += 1;
            name = format!("{short}-{number}");
        }
        name
    }

    /// Whether that name is free, or is the name of this user of this server. The key of a server does
    /// not tell, because servers may share a certificate: the tokens have to be of one user of one
    /// store.
    fn is_of(&self, name: &str, joined: &Joined) -> bool {
        let named = self.servers.named(name);
        let own = self.servers.token_file(name);
        let mut files = std::iter::once(&own).chain(named.map(|named| &named.token_file));
        let mut has_token = false;
        let are_of_user = files.all(|file| match Token::from_file(file) {
            Ok(before) => {
                has_token = true;
                before.has_user_of(&joined.token)
            }
            Err(BadToken::Empty) => true,
            Err(BadToken::Unreadable(error)) => error.kind() == ErrorKind::NotFound,
            Err(_) => false,
        });
        // Without a token, only where it was tells which server has the name.
        let is_known = |named: &NamedServer| {
            let stores = KnownStores::of_person().zip(joined.store);
            named.address == *self.address
                || stores.is_some_and(|(known, store)| known.has(&named.address, self.key, store))
        };
        are_of_user && (has_token || named.is_none_or(is_known))
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
