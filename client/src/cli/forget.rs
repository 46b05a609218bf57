//! `towline uploads --forget`: takes uploads and commands off the list. No server is asked.

use super::error::CliError;
use super::listed::Listed;
use super::output::line;
use super::resolve::Memory;
use crate::exit::Exit;
use crate::text::shown;
use std::path::Path;
use towline_state::UploadsState;

/// Takes it off the list. Returns whether the list had anything of it.
fn forget_in(state: &mut UploadsState, which: &Listed) -> bool {
    let before = state.clone();
    match which {
        Listed::All => {
            state.jobs.clear();
            state.uploads.clear();
        }
        Listed::Number(number) => {
            state.uploads.retain(|key, _| UploadsState::document_id_of(key) != Some(*number));
        }
        Listed::Below(_) => {
            let is_below = |path: &Path| which.is_above(path);
            state.uploads.retain(|_, entry| !entry.path.as_deref().is_some_and(is_below));
            for job in &mut state.jobs {
                job.paths.retain(|path| !is_below(path));
            }
            state.jobs.retain(|job| !job.paths.is_empty());
        }
    }
    *state != before
}

pub(super) fn run(typed: &Path, memory: &Memory) -> Result<Exit, CliError> {
    let which = Listed::of(typed);
    if let Listed::Number(number) = which
        && memory.state.numbered(number).count() > 1
    {
        return Err(CliError::usage(format!(
            "several servers have a document {number}; write the path of its file instead"
        )));
    }
    let was_there = memory.change(|state| forget_in(state, &which))?;
    if !was_there && which != Listed::All {
        return Err(CliError::new(
            Exit::Refused,
            format!("{} is not in the list; `towline uploads` shows the list", shown(typed)),
        ));
    }
    line(&match which {
        Listed::All => "the list is empty now".to_owned(),
        Listed::Number(number) => format!("document {number} is removed from the list"),
        Listed::Below(_) => format!("{} is removed from the list", shown(typed)),
    });
    Ok(Exit::Done)
}
