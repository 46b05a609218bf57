//! `towline put -`: sends what comes through a pipe.

use super::arguments::Put;
use super::dry_run;
use super::error::CliError;
use super::movement::Movement;
use super::printer::{Printer, Resuming};
use super::receipts_file::ReceiptsFile;
use super::resolve;
use super::runtime::block_on;
use super::selection::found_files::FoundFiles;
use super::signals;
use crate::client::Client;
use crate::events::{Event, Receipt};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::pipe::STANDARD_INPUT;
use crate::text::{printable, shell_word};
use crate::transfer::options::PutOptions;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;
use towline_types::{DocumentPath, Name, OnConflict};

/// Whether standard input is all that is to be sent.
pub(super) fn is_asked_for(put: &Put) -> bool {
    put.paths == [Path::new(STANDARD_INPUT)]
}

pub(super) fn run(put: &Put) -> Result<Exit, CliError> {
    let remote = place(put)?;
    if put.dry_run {
        return Ok(dry_run::of_pipe(&remote, put.output.style()));
    }
    let server = resolve::server(&put.connect, None)?;
    let credential = resolve::credential(&put.connect, None)?;
    resolve::warn_of_open_token(&credential, put.output.quiet);
    let security = resolve::security(&put.connect, &server, &credential)?;
    let options = PutOptions {
        chunk_bytes: put.output.chunk_size,
        on_conflict: Some(put.on_conflict),
        again: put.again,
        document_id: None,
        parallel: put.output.parallel,
    };
    let receipts = put.output.receipts.as_deref();
    let mut receipts = receipts.map(|path| ReceiptsFile::open(path, &[])).transpose()?;
    let mut client = resolve::secured(Client::new(server, credential.token), security)
        .token_file(credential.file)
        .retries(put.output.retries)
        .limit_rate(put.output.limit_rate)
        .receipts(receipts.is_some());
    let mut printer = Printer::new(put.output.style(), Resuming::SameCommand);
    printer.expect(vec![Arc::new(FoundFiles::known(1, 0))]);
    let printer = Mutex::new(printer);
    let movement = Movement::new(put.output.timeout.map(Duration::from_secs));
    let cancel = signals::pause();
    let ended = block_on(send(&mut client, remote, &options, &printer, &movement, &cancel))?;
    let mut printer = printer.into_inner().unwrap_or_else(PoisonError::into_inner);
    let exit = match ended {
        Ok(receipt) => keep(&receipt, receipts.take(), &mut printer),
        Err(failure) => tell(failure, put.on_conflict, &mut printer),
    };
    printer.finish(exit);
    Ok(exit)
}

/// The place on the server that the person has typed.
fn place(put: &Put) -> Result<DocumentPath, CliError> {
    let folder = resolve::folder(put.folder.as_deref())?;
    let name = put.name.as_deref().ok_or_else(|| {
        CliError::usage(
            "standard input has no name; say which one it is to have on the server: \
             towline put - --name NAME",
        )
    })?;
    let refused = |reason| {
        let todo = match name.trim_end_matches('/').rsplit_once('/') {
            Some((around, own)) if !own.is_empty() && !around.trim_matches('/').is_empty() => {
                let around = Path::new(put.folder.as_deref().unwrap_or_default())
                    .join(around.trim_start_matches('/'));
                let (around, own) = (shell_word(&around), shell_word(Path::new(own)));
                format!("; write --folder {around} --name {own}")
            }
            _ => String::new(),
        };
        CliError::usage(format!("--name {}: {reason}{todo}", printable(name)))
    };
    let name = Name::new(name).map_err(refused)?;
    DocumentPath::new(folder, name.clone())
        .map_err(|reason| CliError::usage(format!("--name {}: {reason}", printable(name.as_str()))))
}

async fn send(
    client: &mut Client,
    remote: DocumentPath,
    options: &PutOptions,
    printer: &Mutex<Printer>,
    movement: &Movement,
    cancel: &CancellationToken,
) -> Result<Receipt, Failure> {
    let lock = || printer.lock().unwrap_or_else(PoisonError::into_inner);
    // Cancelled by a person or by the timeout.
    let cancel = cancel.child_token();
    let mut listener = |event: Event| {
        movement.heard(&event);
        lock().show(&event);
    };
    let input = std::io::stdin();
    let mut sending =
        std::pin::pin!(client.put_pipe(input, remote, options, &cancel, &mut listener));
    loop {
        tokio::select! {
            biased;
            ended = &mut sending => return ended,
            // Cancel-safe: it only waits.
            silence = movement.silence(), if !cancel.is_cancelled() => {
                lock().note(&silence);
                cancel.cancel();
            }
        }
    }
}

/// Keeps the receipt, where there is a file for it.
fn keep(receipt: &Receipt, receipts: Option<ReceiptsFile>, printer: &mut Printer) -> Exit {
    let Some(mut receipts) = receipts else { return Exit::Done };
    let kept = receipts.keep(receipt).and_then(|()| receipts.close(printer));
    let Err(failure) = kept else { return Exit::Done };
    printer.has_no_receipt(Path::new(STANDARD_INPUT), &failure);
    failure.exit()
}

/// Tells how the upload has failed.
fn tell(failure: Failure, on_conflict: OnConflict, printer: &mut Printer) -> Exit {
    let path = PathBuf::from(STANDARD_INPUT);
    if failure.code() == Some(Code::Exists) && on_conflict == OnConflict::Skip {
        let reason = "its name is taken on the server".to_owned();
        printer.show(&Event::Skipped { path, reason });
        return Exit::Done;
    }
    let exit = failure.exit();
    printer.failed(Some(&path), &failure);
    exit
}
