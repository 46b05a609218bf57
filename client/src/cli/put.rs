//! `towline put`.

use super::arguments::Put;
use super::error::CliError;
use super::job::Job;
use super::order::{Files, Part};
use super::output::{line, say};
use super::printer::{OutputStyle, Printer};
use super::resolve::{self, Purpose};
use super::runtime::block_on;
use super::selection::Selection;
use super::sending::{Run, asides, client};
use crate::document::Document;
use crate::exit::Exit;
use crate::text::{printable, shown};
use crate::transfer::options::PutOptions;
use crate::walk::{Found, Walk, WalkOptions};
use crate::{units, uploads};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use towline_state::clock;
use towline_state::state_file::JobEntry;

pub(super) fn run(put: Put) -> Result<Exit, CliError> {
    let folder = resolve::folder(put.folder.as_deref())?;
    let walk = WalkOptions {
        folder: folder.clone(),
        rules: put.choose.rules()?,
        skips_refused: put.skip_refused,
        follows_links: put.copy_links,
    };
    if put.dry_run {
        return Ok(dry_run(Walk::of(put.paths, walk), put.output.style()));
    }
    let server = resolve::server(&put.connect, None)?;
    let credential = resolve::credential(&put.connect, None)?;
    resolve::warn_of_open_token(&credential, put.output.quiet);
    let memory = resolve::memory(&put.state_args, Purpose::Remember, put.output.quiet)?;

    let options = PutOptions {
        chunk_bytes: put.output.chunk_size,
        on_conflict: Some(put.on_conflict),
        again: put.again,
        document_id: None,
        parallel: put.output.parallel,
    };
    // The list remembers every command until it is done, also a command that is interrupted before
    // the server has a byte of its only file.
    let entry = JobEntry {
        // A path with nothing at it is refused in this run: no later run has to look for it.
        paths: put.paths.iter().filter(|path| is_there(path)).map(|path| absolute(path)).collect(),
        folder,
        server: Some(server.to_string()),
        server_id: None,
        on_conflict: options.on_conflict,
        chunk_size: options.chunk_bytes,
        skip_refused: put.skip_refused,
        rules: walk.rules.texts(),
        copy_links: walk.follows_links,
        token_file: credential.file.clone(),
        start_time: Some(clock::now()),
        files: 0,
        done: 0,
        other: serde_json::Map::new(),
    };
    let mut printer = Printer::new(put.output.style(), memory.resuming(&put.connect));
    if !put.skip_refused {
        printer.offer_skipping();
    }
    let (tell, asides) = asides();
    let selection = Selection::start(put.paths, walk, 0, tell);
    let job = Job::of(&memory, entry, Arc::clone(selection.files()));
    let part = Part { client: 0, files: Files::Named(selection), options, job: Some(0) };
    let client = client(server, credential, &memory, put.output.retries);
    let clients = vec![client.limit_rate(put.output.limit_rate)];
    let timeout = put.output.timeout.map(Duration::from_secs);
    let run = Run { clients, parts: vec![part], jobs: vec![job], asides, timeout };
    let exit = block_on(run.all(&memory, &mut printer))?;
    printer.finish(exit);
    Ok(exit)
}

fn is_there(path: &Path) -> bool {
    !std::fs::metadata(path).is_err_and(|error| uploads::is_not_there(&error))
}

/// The absolute path, by which a later run finds the file from any working folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Prints what would be sent, without asking a server.
fn dry_run(walk: Walk, style: OutputStyle) -> Exit {
    let (mut files, mut bytes) = (0, 0u64);
    let (mut skipped, mut excluded, mut refused) = (0, 0, 0);
    let mut exit = Exit::Done;
    let note = |text: &str| {
        if !style.quiet {
            say(text);
        }
    };
    for found in walk {
        match found {
            Found::File(Document { local, remote }, size) => {
                files += 1;
                bytes = bytes.saturating_add(size);
                if !style.quiet {
                    line(&format!("{} -> {remote}  {}", shown(&local), units::size(size)));
                }
            }
            Found::EmptyFolder(path) => {
                skipped += 1;
                note(&format!("{}: an empty folder; skipped", shown(&path)));
            }
            Found::Link(path) => {
                skipped += 1;
                note(&format!("{}: a symbolic link; skipped", shown(&path)));
            }
            Found::Skipped(path, reason) => {
                skipped += 1;
                note(&format!("{}: {reason}; skipped", shown(&path)));
            }
            Found::Excluded => excluded += 1,
            Found::Refused(path, failure) => {
                refused += 1;
                exit = exit.max(failure.exit());
                say(&format!("{}: {failure}", shown(&path)));
            }
            Found::Barren(path) => {
                note(&format!("{}: there is nothing in it to upload", shown(&path)));
            }
            Found::BadLine(path, why) => {
                note(&format!("{}: a line of it means nothing: {}", shown(&path), printable(&why)));
            }
        }
    }
    let excluded = match excluded {
        0 => String::new(),
        some => format!("{some} left out by rules, "),
    };
    line(&format!(
        "would send {}, {}; {excluded}{skipped} skipped, {refused} refused; the server was not \
         asked what it has already",
        units::count(files, "file"),
        units::size(bytes),
    ));
    exit
}
