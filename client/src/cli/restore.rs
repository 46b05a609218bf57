//! `towline restore`: out of the trash, or an older version of a file.

use super::arguments::Restore;
use super::error::CliError;
use super::nodes::{self, place_of, print_json};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::client::tree::names;
use crate::exit::Exit;
use towline_protocol::request;

pub(super) fn run(restore: &Restore) -> Result<Exit, CliError> {
    let path = resolve::place(&restore.path)?;
    let mut client = nodes::client(&restore.connect, restore.answer.quiet)?;
    let request = request::Restore {
        path: Some(names(&path)),
        version: restore.version,
        ..request::Restore::default()
    };
    let answer = block_on(client.restore(request))?;
    let answer = answer.map_err(|failure| nodes::about(&path, failure))?;
    if restore.answer.json {
        print_json(&answer);
    } else if !restore.answer.quiet {
        line(&match restore.version {
            Some(version) => format!("{} has version {version} again", place_of(&answer)),
            None => format!("{} is back", place_of(&answer)),
        });
    }
    Ok(Exit::Done)
}
