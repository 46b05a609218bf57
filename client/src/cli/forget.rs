//! `towline uploads --forget`: takes uploads and commands off the list. No server is asked.

use super::error::CliError;
use super::output::line;
use super::resolve::Memory;
use crate::exit::Exit;
use crate::text::shown;
use std::path::{Path, PathBuf};
use towline_state::UploadsState;
use towline_types::DocumentId;

/// What is taken off the list.
#[derive(Debug, PartialEq, Eq)]
enum Which {
    All,
    Number(DocumentId),
    /// Everything at or below one of these paths: the path as it was typed, and the path without
    /// symbolic links.
    Below(Vec<PathBuf>),
}

impl Which {
    /// A file that is called `all`, or whose name is a number, has to be typed as `./all`.
    fn of(typed: &Path) -> Self {
        if typed == Path::new("all") {
            return Self::All;
        }
        if let Some(number) = typed.to_str().and_then(|text| text.parse().ok()) {
            return Self::Number(number);
        }
        let absolute = std::path::absolute(typed).unwrap_or_else(|_| typed.to_owned());
        let real = absolute.canonicalize().ok();
        Self::Below([Some(absolute), real].into_iter().flatten().collect())
    }

    /// Takes it off the list. Returns whether the list had anything of it.
    fn forget_in(&self, state: &mut UploadsState) -> bool {
        let before = state.clone();
        match self {
            Self::All => {
                state.jobs.clear();
                state.uploads.clear();
            }
            Self::Number(number) => {
                state.uploads.retain(|key, _| UploadsState::document_id_of(key) != Some(*number));
            }
            Self::Below(paths) => {
                let is_below = |path: &Path| paths.iter().any(|top| path.starts_with(top));
                state.uploads.retain(|_, entry| !entry.path.as_deref().is_some_and(is_below));
                for job in &mut state.jobs {
                    job.paths.retain(|path| !is_below(path));
                }
                state.jobs.retain(|job| !job.paths.is_empty());
            }
        }
        *state != before
    }
}

pub(super) fn run(typed: &Path, memory: &Memory) -> Result<Exit, CliError> {
    let which = Which::of(typed);
    if let Which::Number(number) = which
        && memory.state.numbered(number).count() > 1
    {
        return Err(CliError::usage(format!(
            "document {number} is on several servers; name its file instead"
        )));
    }
    let was_there = memory.change(|state| which.forget_in(state))?;
    if !was_there && which != Which::All {
        return Err(CliError::new(
            Exit::Refused,
            format!("{} is not in the list; `towline uploads` shows what is", shown(typed)),
        ));
    }
    line(&match which {
        Which::All => "the list is empty now".to_owned(),
        Which::Number(number) => format!("document {number} is off the list"),
        Which::Below(_) => format!("{} is off the list", shown(typed)),
    });
    Ok(Exit::Done)
}
