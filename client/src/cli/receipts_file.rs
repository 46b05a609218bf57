//! `--receipts FILE`: the file to which receipts are added, one line each.
//!
//! The file can be read by its owner alone: it tells the names and hashes of all files that were
//! sent.

use super::error::CliError;
use super::json;
use super::printer::Printer;
use crate::events::Receipt;
use crate::exit::Exit;
use crate::failure::{Failure, ReceiptFailure};
use crate::system::in_words;
use crate::text::{shell_word, shown};
use crate::units;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use towline_types::Fingerprint;

/// See the module's description.
#[derive(Debug)]
pub(super) struct ReceiptsFile {
    path: PathBuf,
    file: File,
    kept: usize,
    /// The key of the last receipt.
    key: Option<Fingerprint>,
    /// A write has failed, and was told. Nothing more is written.
    is_broken: bool,
}

#[derive(Serialize)]
struct Kept {
    path: String,
    kept: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl ReceiptsFile {
    /// Opens the file before anything is sent; where there is none, makes it. `sources` are the paths
    /// that are sent.
    pub(super) fn open(path: &Path, sources: &[PathBuf]) -> Result<Self, CliError> {
        let cannot = |error: io::Error| {
            CliError::new(
                Exit::Refused,
                format!(
                    "--receipts {}: the file cannot be written: {}; nothing was sent",
                    shown(path),
                    in_words(&error)
                ),
            )
        };
        // The place is checked before the file is made, so that no file is left where none may be.
        let place = place(path).map_err(cannot)?;
        let has_it =
            |source: &&PathBuf| source.canonicalize().is_ok_and(|it| place.starts_with(it));
        if let Some(source) = sources.iter().find(has_it) {
            return Err(CliError::usage(format!(
                "--receipts {}: the file is in {}, which is sent, and would change meanwhile; choose \
                 a place outside of it",
                shown(path),
                shown(source)
            )));
        }
        let file = open(path).map_err(cannot)?;
        Ok(Self { path: path.to_owned(), file, kept: 0, key: None, is_broken: false })
    }

    /// Adds the receipt of a file that is on the server.
    ///
    /// # Errors
    /// Where the receipt is not good, or cannot be written. The error of a write is returned once,
    /// and later receipts are passed over.
    pub(super) fn keep(&mut self, receipt: &Receipt) -> Result<(), Failure> {
        let signed = match &receipt.signed {
            Some(Ok(signed)) => signed,
            Some(Err(bad)) => return Err(ReceiptFailure::Bad(bad.clone()).into()),
            None => return Ok(()),
        };
        if self.is_broken {
            return Ok(());
        }
        // In one piece: another process may add to the same file.
        let line = signed.line() + "\n";
        if let Err(source) = self.file.write_all(line.as_bytes()) {
            return Err(self.not_written(source));
        }
        self.kept += 1;
        self.key = Some(crate::public_key::fingerprint(&signed.statement.public_key.0));
        Ok(())
    }

    /// Makes the receipts safe, and says where they are.
    ///
    /// # Errors
    /// Where the disk has not taken them.
    pub(super) fn close(mut self, printer: &Printer) -> Result<(), Failure> {
        if self.kept == 0 {
            return Ok(());
        }
        if let Err(source) = self.file.sync_all() {
            return Err(self.not_written(source));
        }
        let key = self.key.map(|key| key.to_string());
        if printer.is_for_programs() {
            let path = self.path.to_string_lossy().into_owned();
            json::event("receipts", &Kept { path, kept: self.kept, key });
            return Ok(());
        }
        printer.note(&format!(
            "{} added to {}, signed by the key {}; to check: towline receipt verify {}",
            units::count(self.kept, "receipt"),
            shown(&self.path),
            key.unwrap_or_default(),
            shell_word(&self.path)
        ));
        Ok(())
    }

    fn not_written(&mut self, source: io::Error) -> Failure {
        self.is_broken = true;
        ReceiptFailure::NotWritten { path: self.path.clone(), source }.into()
    }
}

/// Where the file lies or will lie.
fn place(path: &Path) -> io::Result<PathBuf> {
    if let Ok(place) = path.canonicalize() {
        return Ok(place);
    }
    let (folder, name) = (folder_of(path).canonicalize()?, path.file_name());
    Ok(folder.join(name.ok_or(io::ErrorKind::InvalidInput)?))
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Opens the file to add lines. Where a crash has torn its last line, that line is ended first, so
/// that it stays by itself.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let is_new = !path.exists();
    let mut file = options.open(path)?;
    if is_new {
        // Some systems sync no folders. There the sync of the file has to do.
        let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    }
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_file_is_for_its_owner_and_a_torn_line_stays_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deposit.jsonl");
        drop(ReceiptsFile::open(&path, &[]).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (before, after) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"rec", "{}\n{\"rec\n")] {
            std::fs::write(&path, before).unwrap();
            drop(ReceiptsFile::open(&path, &[]).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn a_file_that_would_be_sent_itself_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sources = [folder.path().to_owned()];
        let error = ReceiptsFile::open(&folder.path().join("deposit.jsonl"), &sources).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "it was made all the same"
        );
        let error = ReceiptsFile::open(&folder.path().join("no/where"), &[]).unwrap_err();
        assert_eq!(error.exit, Exit::Refused);
        assert!(error.message.contains("nothing was sent"), "{error}");
    }
}
