//! Which entries of the list a `towline resume` continues.

use crate::cli::arguments::Resume;
use crate::cli::error::CliError;
use crate::cli::listed::Listed;
use crate::cli::resolve;
use crate::exit::Exit;
use crate::text::{shell_word, shown};
use crate::uploads;
use std::collections::HashSet;
use std::path::Path;
use towline_state::UploadsState;
use towline_state::state_file::{JobEntry, UploadEntry};
use towline_types::DocumentId;

/// How many commands a message names where a person has to choose one.
const NAMED_MAX: usize = 5;

/// The entries of the list that this run continues.
pub(super) struct Chosen<'a> {
    pub(super) jobs: Vec<&'a JobEntry>,
    /// The uploads that belong to none of the commands, in the order in which they were typed, or
    /// in the order of their numbers.
    pub(super) uploads: Vec<(DocumentId, &'a UploadEntry)>,
}

pub(super) fn choose<'a>(resume: &Resume, state: &'a UploadsState) -> Result<Chosen<'a>, CliError> {
    let jobs = resolve::jobs(state, &resume.connect);
    let mut uploads = resolve::entries(state, &resume.connect);
    if resume.typed.is_empty() {
        // A file that belongs to a command is continued with the command, also where the command
        // has another server.
        uploads.retain(|(_, entry)| !state.jobs.iter().any(|job| uploads::covers(job, entry)));
        return Ok(Chosen { jobs, uploads });
    }
    let mut chosen = Chosen { jobs: Vec::new(), uploads: Vec::new() };
    for typed in &resume.typed {
        match Listed::of(typed) {
            Listed::All => return Err(CliError::usage("write --all to continue everything")),
            Listed::Number(document) => {
                let entry = resolve::entry(state, document, &resume.connect)?;
                let entry = entry.ok_or_else(|| {
                    unknown(&format!("document {document} is not among the unfinished uploads"))
                })?;
                chosen.uploads.push((document, entry));
            }
            which => {
                let named = |job: &&&JobEntry| job.paths.iter().any(|path| which.is_above(path));
                let its_jobs: Vec<_> = jobs.iter().filter(named).copied().collect();
                // A command of the list continues its own uploads.
                let is_its = |entry: &UploadEntry| {
                    entry.path.as_deref().is_some_and(|path| which.is_above(path))
                        && !its_jobs.iter().any(|job| uploads::covers(job, entry))
                };
                let before = chosen.uploads.len();
                chosen.uploads.extend(uploads.iter().filter(|(_, entry)| is_its(entry)));
                if its_jobs.is_empty() && chosen.uploads.len() == before {
                    return Err(unknown(&format!("{} is not in the list", shown(typed))));
                }
                chosen.jobs.extend(its_jobs);
            }
        }
    }
    let mut seen = HashSet::new();
    chosen.jobs.retain(|job| seen.insert(std::ptr::from_ref(*job)));
    let mut seen = HashSet::new();
    chosen.uploads.retain(|(_, entry)| seen.insert(std::ptr::from_ref(*entry)));
    Ok(chosen)
}

fn unknown(what: &str) -> CliError {
    CliError::new(Exit::Refused, format!("{what}; `towline uploads` lists them"))
}

/// Several commands and uploads may be meant: each is named by a command that continues it.
pub(super) fn several(chosen: &Chosen<'_>, state: &UploadsState, options: &str) -> CliError {
    let by_path = |path: Option<&Path>| path.map(shell_word).unwrap_or_else(|| "PATH".to_owned());
    let jobs = chosen.jobs.iter().map(|job| by_path(job.paths.first().map(|path| &**path)));
    let uploads = chosen.uploads.iter().map(|(document, entry)| {
        // A number that several servers have says too little.
        match state.numbered(*document).count() {
            0 | 1 => document.to_string(),
            _ => by_path(entry.path.as_deref()),
        }
    });
    let mut seen = HashSet::new();
    let all: Vec<String> = jobs.chain(uploads).filter(|word| seen.insert(word.clone())).collect();
    let named = all.iter().take(NAMED_MAX);
    let named: Vec<_> = named.map(|word| format!("`towline resume {word}{options}`")).collect();
    let more = match all.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more that `towline uploads` lists"),
    };
    CliError::usage(format!(
        "there are several unfinished uploads; continue all of them with `towline resume \
         --all{options}`, or choose: {}{more}",
        named.join(", ")
    ))
}
