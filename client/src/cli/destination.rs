//! `towline put FILE... NAME:FOLDER`: a named server as the last of the paths, as other tools have it.

use super::arguments::Put;
use super::error::CliError;
use super::named_servers::NamedServers;
use crate::text::{printable, shell_word};
use std::path::Path;

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
