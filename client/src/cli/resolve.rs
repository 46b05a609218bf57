//! What the arguments mean, together with the environment and the state file.

mod credential;
mod entries;
mod environment;
mod memory;
mod named_server;
mod security;
mod whose_token;

use super::arguments::ConnectArgs;
use super::error::CliError;
use crate::address::ServerAddress;
pub(super) use credential::{Credential, credential, warn_of_open_token};
pub(super) use entries::{entries, entry, jobs};
use environment::{SERVER_VARIABLE, variable};
pub(super) use memory::{Memory, Purpose, memory};
pub(super) use named_server::look_up_names;
pub(super) use security::{secured, security};
use towline_state::state_file::UploadEntry;
use towline_types::{BadName, Name, NodePath};

/// The server: the one that was typed, else the one of the entry, else the one of the environment,
/// else the default one.
pub(super) fn server(
    connect: &ConnectArgs,
    entry: Option<&UploadEntry>,
) -> Result<ServerAddress, CliError> {
    if let Some(server) = &connect.to {
        return Ok(server.clone());
    }
    let usual = connect.usual.as_ref().map(|server| server.address.to_string());
    let known = entry.and_then(|entry| entry.server.clone()).or(usual);
    let Some(text) = known.or_else(|| variable(SERVER_VARIABLE)) else {
        return Err(CliError::usage(format!(
            "no server is given: use --to HOST, or set {SERVER_VARIABLE}, or log in to a server once \
             (towline login LINE)"
        )));
    };
    text.parse().map_err(|error| CliError::usage(format!("{error}")))
}

/// Whether the command line or the environment names a server, or there is a default one.
pub(super) fn names_a_server(connect: &ConnectArgs) -> bool {
    connect.to.is_some() || connect.usual.is_some() || variable(SERVER_VARIABLE).is_some()
}

/// `a/b` as a list of names.
pub(super) fn folder(text: Option<&str>) -> Result<Vec<Name>, CliError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text.trim().is_empty() {
        return Err(CliError::usage(
            "--folder is empty; omit it to put the files directly into your own folder",
        ));
    }
    if text.starts_with('/') {
        let below = text.trim_start_matches('/');
        return Err(CliError::usage(format!(
            "--folder is a folder inside your own folder on the server and cannot begin with /; \
             write --folder {}",
            if below.is_empty() { "NAME".to_owned() } else { crate::text::printable(below) }
        )));
    }
    if text.split('/').any(|name| matches!(name, "." | "..")) {
        return Err(CliError::usage(
            "--folder must stay inside your own folder on the server: it cannot contain \".\" or \"..\"",
        ));
    }
    let names = text.split('/').filter(|name| !name.is_empty());
    names
        .map(Name::new)
        .collect::<Result<_, BadName>>()
        .map_err(|reason| CliError::usage(format!("--folder: {reason}")))
}

/// A path of the server, seen from the person's own folder: `.` and `/` are that folder itself.
pub(super) fn place(text: &str) -> Result<NodePath, CliError> {
    let shown = crate::text::printable(text);
    if text.trim().is_empty() {
        return Err(CliError::usage("a path is empty; write . for your own folder on the server"));
    }
    let names = text.split('/').filter(|name| !matches!(*name, "" | "."));
    if names.clone().any(|name| name == "..") {
        return Err(CliError::usage(format!(
            "{shown}: a path begins at your own folder on the server and cannot leave it (no \"..\")"
        )));
    }
    let names: Vec<String> = names.map(str::to_owned).collect();
    NodePath::of_existing(&names).map_err(|reason| CliError::usage(format!("{shown}: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

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
}
