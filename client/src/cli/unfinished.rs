//! What a person is told at the end of a run that has left something undone.

use super::resolve::Memory;
use crate::text::{shell_word, shown};
use crate::uploads;
use std::path::Path;
use towline_state::UploadsState;
use towline_state::state_file::JobEntry;

pub(super) fn interrupted_before(path: &Path, how: &str) -> String {
    let how = if how.is_empty() { String::new() } else { format!(". {how}") };
    format!("{}: interrupted before anything was sent{how}", shown(path))
}

/// The note about a command in the list whose server has not answered while it ran: its address may be
/// mistyped. What earlier commands have met at that address is not known here.
pub(super) fn unanswered(job: &JobEntry, options: &str) -> String {
    let server = crate::text::printable(job.server.as_deref().unwrap_or_default());
    let path = job.paths.first().map_or_else(|| "PATH".to_owned(), |path| shell_word(path));
    format!(
        "{server} has not answered; this command stays in the list (towline uploads). If the \
         address is wrong, `towline uploads --forget {path}{options}` removes it from the list"
    )
}

/// How a person continues a command: advice that works with what the list has.
pub(super) fn how_to_go_on(memory: &Memory, state: &UploadsState, options: &str) -> String {
    if !memory.keeps() || state.jobs.is_empty() {
        return "Run the same command again to continue.".to_owned();
    }
    let others = state.jobs.len() > 1
        || state.uploads.values().any(|entry| !uploads::covers(&state.jobs[0], entry));
    let mut command = "towline resume".to_owned();
    if others {
        command.push_str(" --all");
    }
    command.push_str(options);
    format!("To continue, run the same command again, or `{command}`.")
}
