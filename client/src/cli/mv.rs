//! `towline mv`: another name or another folder on the server.

use super::arguments::Move;
use super::error::CliError;
use super::json;
use super::nodes::{self, Placed, place_of, shown};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use crate::failure::Failure;
use towline_protocol::Code;
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
        client.move_to(&old, &to).await.map_err(|failure| {
            let what = if is_about_target(&failure) { &to } else { &old };
            nodes::about(what, failure)
        })
    })??;
    if moved.answer.json {
        json::event("moved", &Placed::of(&answer));
    } else {
        line(&format!("{} is {} now", shown(&old), place_of(&answer)));
    }
    Ok(Exit::Done)
}

/// Whether the new place was refused: its folder is not there, or the name is taken.
fn is_about_target(failure: &Failure) -> bool {
    match failure {
        Failure::Refused { reply, .. } => {
            reply.field.as_deref() == Some("to") || reply.code == Code::Exists
        }
        _ => false,
    }
}
