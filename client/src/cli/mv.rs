//! `towline mv`: another name or another folder on the server.

use super::arguments::Move;
use super::error::CliError;
use super::nodes::{self, place_of, print_json, shown};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use towline_types::NodeKind;

pub(super) fn run(moved: &Move) -> Result<Exit, CliError> {
    let (old, new) = (resolve::place(&moved.old)?, resolve::place(&moved.new)?);
    let Some(name) = old.name().cloned() else {
        return Err(CliError::usage("your own folder has no name, and cannot be moved"));
    };
    let mut client = nodes::client(&moved.connect, moved.answer.quiet)?;
    let answer = block_on(async {
        // As every `mv`: into a folder that is there.
        let is_folder = new.is_root()
            || client.stat(&new).await.is_ok_and(|found| found.node.kind == NodeKind::Folder);
        let to = match is_folder && new != old {
            true => new.join(name).map_err(|reason| CliError::usage(reason.to_string()))?,
            false => new,
        };
        client.move_to(&old, &to).await.map_err(|failure| nodes::about(&old, failure))
    })??;
    if moved.answer.json {
        print_json(&answer);
    } else if !moved.answer.quiet {
        line(&format!("{} is {} now", shown(&old), place_of(&answer)));
    }
    Ok(Exit::Done)
}
