//! Where files go: the server after `--to`, the line after `put --to`, and `towline put FILE...
//! NAME:FOLDER`, a named server as the last of the paths, as other tools have it.

use super::arguments::{ConnectArgs, Link, Put, Resume, TypedServer};
use super::error::CliError;
use super::joining;
use super::named_servers::NamedServers;
use crate::text::{printable, shell_word};
use std::path::Path;

/// Takes the address that was typed.
pub(super) fn take_address(connect: &mut ConnectArgs) {
    if let Some(TypedServer::Address(address)) = &connect.typed_to {
        connect.to = Some(address.clone());
    }
}

/// Joins by the line that was typed, and takes the address and the token from it.
pub(super) fn take_line(put: &mut Put) -> Result<(), CliError> {
    let Some(TypedServer::Line(line)) = &put.connect.typed_to else { return Ok(()) };
    let connect = &put.connect;
    let options = [
        ("--token-file", connect.token_file.is_some()),
        ("--fingerprint", connect.fingerprint.is_some()),
        ("--plaintext", connect.plaintext),
        ("--trust-new", connect.trust_new),
    ];
    if let Some((option, _)) = options.iter().find(|(_, is_typed)| *is_typed) {
        return Err(CliError::usage(format!(
            "{option}: the line after --to says which key the server has, and brings a token; omit \
             the option"
        )));
    }
    let missing = |path: &&std::path::PathBuf| {
        path.as_os_str() != "-" && std::fs::symlink_metadata(path).is_err()
    };
    // The line is good for one machine and for some minutes: a mistyped path does not use it.
    if let Some(path) = put.paths.iter().find(missing) {
        return Err(CliError::usage(format!(
            "there is no {}; nothing was sent, and the line can still be used",
            printable(&path.to_string_lossy())
        )));
    }
    if put.dry_run {
        put.connect.typed_to = None;
        return Ok(());
    }
    let server = joining::join(line)?;
    put.connect.key_of_line = Some(line.fingerprint);
    put.connect.token_file = Some(server.token_file);
    put.connect.to = Some(server.address);
    put.connect.typed_to = None;
    Ok(())
}

/// Takes the address from the line that was typed after `resume --to`: what was begun with the server
/// of the line goes on with the token of before, and the line is not used up.
pub(super) fn take_place(resume: &mut Resume) -> Result<(), CliError> {
    let connect = &mut resume.connect;
    let Some(TypedServer::Line(line)) = &connect.typed_to else { return Ok(()) };
    let options = [
        ("--fingerprint", connect.fingerprint.is_some()),
        ("--plaintext", connect.plaintext),
        ("--trust-new", connect.trust_new),
    ];
    if let Some((option, _)) = options.iter().find(|(_, is_typed)| *is_typed) {
        return Err(CliError::usage(format!(
            "{option}: the line after --to says which key the server has; omit the option"
        )));
    }
    connect.to = Some(joining::found(line)?);
    connect.key_of_line = Some(line.fingerprint);
    connect.typed_to = None;
    Ok(())
}

/// Other commands than `put` and `resume` need a server that has a name.
pub(super) fn refuse_line(connect: &ConnectArgs) -> Result<(), CliError> {
    match connect.typed_to {
        Some(TypedServer::Line(_)) => Err(CliError::usage(
            "--to has a line to join by, which only `towline put` and `towline resume` take; to use the server for more: \
             towline login LINE, and then --to NAME",
        )),
        _ => Ok(()),
    }
}

/// Takes the last path for the server and the folder, where it begins with the name of a server and a
/// colon. A name has no slash, so `./nas:a` is always a file. Where a file here has the same name, the
/// person has to say which one is meant.
pub(super) fn take(put: &mut Put) -> Result<(), CliError> {
    let [_, .., last] = put.paths.as_slice() else { return Ok(()) };
    let Some((name, folder)) = last.to_str().and_then(|text| text.split_once(':')) else {
        return Ok(());
    };
    let servers = NamedServers::of_person()?;
    let Some(server) = servers.as_ref().and_then(|servers| servers.named(name)) else {
        return Ok(());
    };
    if std::fs::symlink_metadata(last).is_ok() {
        let typed = printable(&last.to_string_lossy());
        return Err(CliError::usage(format!(
            "{typed} is a file here, and {name} is a server as well; write {} for the file, or --to \
             {name} for the server",
            shell_word(&Path::new(".").join(last))
        )));
    }
    if put.connect.to.is_some() {
        return Err(CliError::usage(format!(
            "the server is named twice, with --to and with {name}: as the last path; name it once"
        )));
    }
    let folder = folder.trim_matches('/');
    if !folder.is_empty() {
        if put.folder.is_some() {
            return Err(CliError::usage(format!(
                "the folder is named twice, with --folder and after {name}: ; name it once"
            )));
        }
        put.folder = Some(folder.to_owned());
    }
    // By its name, the token of the environment is not meant for it.
    put.connect.token_file.get_or_insert_with(|| server.token_file.clone());
    put.connect.to = Some(server.address.clone());
    put.paths.pop();
    Ok(())
}

/// The same of `link NAME:PATH`. Where the server is named by `--to`, a `:` is a part of the path.
pub(super) fn take_named(link: &mut Link) -> Result<(), CliError> {
    let Some((name, path)) = link.path.split_once(':') else { return Ok(()) };
    if link.connect.typed_to.is_some() {
        return Ok(());
    }
    let servers = NamedServers::of_person()?;
    let Some(server) = servers.as_ref().and_then(|servers| servers.named(name)) else {
        return Ok(());
    };
    // By its name, the token of the environment is not meant for it.
    link.connect.token_file.get_or_insert_with(|| server.token_file.clone());
    link.connect.to = Some(server.address.clone());
    link.path = path.to_owned();
    Ok(())
}
