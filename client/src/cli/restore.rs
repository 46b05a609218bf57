//! `towline restore`: out of the trash, or an older version of a file.

use super::arguments::Restore;
use super::error::CliError;
use super::json;
use super::nodes::{self, Placed, place_of};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::client::tree::names;
use crate::exit::Exit;
use towline_protocol::{Code, request};
use towline_types::{DocumentId, NodePath};

pub(super) fn run(restore: &Restore) -> Result<Exit, CliError> {
    let path = resolve::place(&restore.path)?;
    let mut client = nodes::client(&restore.connect, restore.answer.quiet)?;
    let request = request::Restore {
        path: Some(names(&path)),
        version: restore.version,
        ..request::Restore::default()
    };
    let answer = block_on(client.restore(request))?;
    let answer = answer.map_err(|failure| match restore.version {
        Some(version) if failure.code() == Some(Code::NotFound) => no_version(&path, version),
        _ => nodes::about(&path, failure),
    })?;
    if restore.answer.json {
        json::event("restored", &Placed::of(&answer));
    } else {
        line(&match restore.version {
            Some(version) => format!("{} is version {version} again", place_of(&answer)),
            None if answer.existing => {
                format!("{} is not in the trash; it is there", place_of(&answer))
            }
            None => format!("{} is restored", place_of(&answer)),
        });
    }
    Ok(Exit::Done)
}

fn no_version(path: &NodePath, version: DocumentId) -> CliError {
    CliError::new(
        Exit::Refused,
        format!(
            "{}: there is no version {version} of it on the server; nothing was changed. \
             towline versions {} lists those that are kept",
            nodes::shown(path),
            nodes::typed(path)
        ),
    )
}
