//! The local files that are compared with receipts.

use super::lines::{Lines, cannot_read};
use super::teller::Verdict;
use super::trusted::TrustedKeys;
use crate::cli::error::CliError;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::receipts::{SignedReceipt, Statement, verify};
use crate::source::Source;
use crate::system::in_words;
use crate::text::shown;
use crate::uploads::is_not_there;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use towline_types::{DocumentId, DocumentPath, Name, StoreId, UserId};

/// A file of a user of a server.
type Place = (StoreId, UserId, DocumentPath);

/// See the module's description.
pub(super) struct LocalFiles {
    dir: PathBuf,
    /// The folders on the server that lie around what is in `dir`.
    folder: Vec<Name>,
    /// The newest document of each file. The bytes of earlier ones were replaced, and are not
    /// looked for here.
    newest: BTreeMap<Place, DocumentId>,
}

impl LocalFiles {
    /// Reads all receipts once, to know which is the newest of each file.
    pub(super) fn of(
        dir: &Path,
        folder: Vec<Name>,
        keys: &TrustedKeys,
        receipts: &Path,
    ) -> Result<Self, CliError> {
        let metadata = std::fs::metadata(dir);
        if !metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            let why =
                metadata.map_or_else(|error| in_words(&error), |_| "it is no folder".to_owned());
            return Err(CliError::new(Exit::Refused, format!("--dir {}: {why}", shown(dir))));
        }
        let mut newest = BTreeMap::new();
        for line in Lines::of(receipts)? {
            let (_, line) = line.map_err(|error| cannot_read(receipts, &error))?;
            let Ok(receipt) = line else { continue };
            // A forged receipt must not hide an honest one.
            let is_good = verify(&receipt).is_ok_and(|key| keys.has(key));
            if let Some(place) = place(&receipt.statement).filter(|_| is_good) {
                let newest = newest.entry(place).or_insert(receipt.statement.document_id);
                *newest = receipt.statement.document_id.max(*newest);
            }
        }
        Ok(Self { dir: dir.to_owned(), folder, newest })
    }

    /// Whether the file is here with the bytes of a good receipt.
    pub(super) fn compared(&self, receipt: &SignedReceipt) -> Verdict {
        let statement = &receipt.statement;
        let Some(place) = place(statement) else { return Verdict::Missing };
        let Some(folder) = place.2.folder().strip_prefix(self.folder.as_slice()) else {
            return Verdict::Elsewhere;
        };
        let mut path = self.dir.clone();
        path.extend(folder.iter().map(Name::as_str));
        path.push(place.2.filename().as_str());
        if self.newest.get(&place) != Some(&statement.document_id) {
            return Verdict::Replaced;
        }
        match hash(&path, statement) {
            Ok(true) => Verdict::Same,
            Ok(false) => Verdict::Differs,
            Err(Failure::File { source, .. }) if is_not_there(&source) => Verdict::Missing,
            Err(failure) => Verdict::NotCompared(path, failure),
        }
    }
}

/// Whether the file has the size and the hash of the receipt.
fn hash(path: &Path, statement: &Statement) -> Result<bool, Failure> {
    let source = Source::open(path)?;
    if source.filesize() != statement.filesize {
        return Ok(false);
    }
    let unreadable = |source| {
        let (action, path, kept) = ("read", path.to_owned(), None);
        Failure::File { action, path, source, kept }
    };
    Ok(source.hash(|_| {}).map_err(unreadable)? == statement.blake3)
}

/// Where a receipt says that the file lies; `None` where no file may have that name.
fn place(statement: &Statement) -> Option<Place> {
    let Statement { server_id, user_id, folder, filename, .. } = statement;
    let names = folder.iter().map(|name| Name::new(name.as_str()).ok());
    let path = DocumentPath::new(names.collect::<Option<_>>()?, Name::new(filename.as_str()).ok()?);
    Some((*server_id, *user_id, path.ok()?))
}
