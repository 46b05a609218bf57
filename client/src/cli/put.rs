//! `towline put`.

use super::arguments::Put;
use super::dry_run;
use super::error::CliError;
use super::job::Job;
use super::order::{Files, Part};
use super::printer::Printer;
use super::put_pipe;
use super::receipts_file::ReceiptsFile;
use super::resolve::{self, Purpose};
use super::runtime::block_on;
use super::selection::Selection;
use super::sending::{Run, asides, client};
use super::server_among::server_among;
use crate::exit::Exit;
use crate::transfer::options::PutOptions;
use crate::uploads;
use crate::walk::{Walk, WalkOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use towline_state::clock;
use towline_state::state_file::JobEntry;

pub(super) fn run(put: Put) -> Result<Exit, CliError> {
    if put_pipe::is_asked_for(&put) {
        return put_pipe::run(&put);
    }
    if put.name.is_some() {
        return Err(CliError::usage(
            "--name is for standard input, which is sent alone: towline put - --name NAME",
        ));
    }
    if put.connect.to.is_none()
        && let Some(refused) = server_among(&put.paths)
    {
        return Err(CliError::usage(refused));
    }
    let folder = resolve::folder(put.folder.as_deref())?;
    let walk = WalkOptions {
        folder: folder.clone(),
        rules: put.choose.rules()?,
        skips_refused: put.skip_refused,
        follows_links: put.copy_links,
        ..WalkOptions::default()
    };
    if put.dry_run {
        return Ok(dry_run::run(Walk::of(put.paths, walk), put.output.style()));
    }
    let server = resolve::server(&put.connect, None)?;
    let credential = resolve::credential(&put.connect, None)?;
    resolve::warn_of_open_token(&credential, put.output.quiet);
    let memory = resolve::memory(&put.state_args, Purpose::Remember, put.output.quiet)?;

    let receipts = put.output.receipts.as_deref();
    let receipts = receipts.map(|path| ReceiptsFile::open(path, &put.paths)).transpose()?;
    let token_file = credential.file.clone();
    let address = server.to_string();
    let client = client(&put.connect, server, credential, &memory, put.output.retries)?;
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
        server: Some(address),
        server_id: None,
        on_conflict: options.on_conflict,
        chunk_size: options.chunk_bytes,
        skip_refused: put.skip_refused,
        rules: walk.rules.texts(),
        copy_links: walk.follows_links,
        again: put.again,
        sent_again: Vec::new(),
        token_file,
        start_time: Some(clock::now()),
        files: 0,
        done: 0,
        other: serde_json::Map::new(),
    };
    let mut printer = Printer::new(
        put.output.style(),
        memory.resuming(&put.connect, put.output.receipts.as_deref()),
    );
    if !put.skip_refused {
        printer.offer_skipping();
    }
    let (tell, asides) = asides();
    let selection = Selection::start(put.paths, walk, 0, tell);
    let job = Job::of(&memory, entry, Arc::clone(selection.files()));
    let sent_again = job.sent_again().cloned();
    let files = Files::Named(selection);
    let part = Part { client: 0, files, options, job: Some(0), sent_again };
    let clients = vec![client.limit_rate(put.output.limit_rate).receipts(receipts.is_some())];
    let timeout = put.output.timeout.map(Duration::from_secs);
    let run = Run { clients, parts: vec![part], jobs: vec![job], asides, timeout, receipts };
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
