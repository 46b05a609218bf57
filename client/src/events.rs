//! The events of a run, which a listener receives.

use crate::document::Document;
use crate::receipts::{BadReceipt, Issuer, SignedReceipt};
use crate::walk::NotKept;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_protocol::reply::Success;
use towline_types::{DocumentId, FileHash, FileSize, Offset};

/// Something that happened. As JSON each event has its name in the field `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// A new upload was granted.
    Started(UploadStatus),
    /// An earlier upload is continued, or this one after a lost connection.
    Resumed {
        /// How far it is.
        #[serde(flatten)]
        status: UploadStatus,
        /// How many bytes of the file have yet to be sent.
        left_bytes: u64,
        /// Blocks that the server has differ from the local ones: the file was changed, and
        /// these blocks are sent again.
        changed: bool,
    },
    /// The server has more than before.
    Progress(UploadStatus),
    /// The upload rests; it can be resumed.
    Paused(UploadStatus),
    /// The document is complete, or was already.
    Completed(Receipt),
    /// A file could not be uploaded.
    Error(ErrorReport),
    /// Something a person may want to know.
    Notice {
        /// The local file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The message, a sentence.
        message: String,
    },
    /// An attempt has failed, and another one follows automatically. Sent before each wait.
    Waiting {
        /// The local file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The reason, in a few words: `connection refused`, `the server is stopping`.
        reason: String,
        /// How many attempts in a row have made nothing durable.
        attempt: u32,
        /// How long it is until the next attempt; as JSON in seconds.
        #[serde(serialize_with = "seconds")]
        next_in: Duration,
    },
    /// The local file is being read, to compare it with what the server has.
    Checking {
        /// The local file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// How many bytes of the file have to be read.
        bytes: u64,
        /// How many of them have been read.
        checked_bytes: u64,
    },
    /// The server copies the file: it has these bytes as another document, or all of them
    /// have arrived and its folder lies on another disk.
    Copying {
        /// The local file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// Its length in bytes.
        bytes: u64,
        /// How many of them are copied.
        copied_bytes: u64,
    },
    /// The server has received no byte for some seconds, though the connection is not known to be
    /// lost. The next `progress` ends this state.
    Stalled {
        /// The local file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The upload.
        document_id: DocumentId,
        /// How long no byte was received, in seconds.
        seconds: u64,
    },
    /// A file was left out.
    Skipped {
        /// The local file.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// The reason, a sentence.
        reason: String,
    },
    /// A file is being fetched from the server.
    Fetching(Fetching),
    /// A file is here, whole and verified.
    Fetched(Fetched),
    /// A folder or link is here, or where files are sent, on the server.
    Made {
        /// The local path.
        #[serde(serialize_with = "lossy")]
        path: PathBuf,
        /// It was there before.
        existing: bool,
    },
    /// The last event of a run: how its files ended.
    Summary(Summary),
    /// The last event of a run that fetches.
    #[serde(rename = "summary")]
    FetchSummary(FetchSummary),
}

impl Event {
    /// The server has copied `copied` bytes of a file of that length.
    pub(crate) fn copying(path: PathBuf, filesize: FileSize, copied: Offset) -> Self {
        let bytes = filesize.get();
        Self::Copying { path, bytes, copied_bytes: copied.get().min(bytes) }
    }
}

/// How far a file is that is being fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetching {
    /// The local file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The document.
    pub document_id: DocumentId,
    /// Its whole length in bytes.
    pub filesize: FileSize,
    /// The bytes that are here and verified.
    pub fetched: u64,
}

impl Fetching {
    /// The same, in the form in which the screen shows an upload.
    pub(crate) fn as_status(&self) -> UploadStatus {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        UploadStatus {
            path: self.path.clone(),
            document_id: self.document_id,
            filename: name.to_string_lossy().into_owned(),
            folder: Vec::new(),
            filesize: self.filesize,
            is_open: false,
            received: Offset::ZERO,
            durable: Offset::ZERO,
            held_bytes: self.fetched,
            safe_bytes: 0,
            sent_bytes: 0,
            progress: String::new(),
        }
    }
}

/// A file that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// The local file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The document.
    pub document_id: DocumentId,
    /// Its length in bytes.
    pub filesize: FileSize,
    /// Its hash, the same here and there.
    pub blake3: FileHash,
    /// The same bytes were here before.
    pub existing: bool,
}

/// How the things of a run ended that fetches. Each counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FetchSummary {
    /// Files that came from the server.
    pub fetched: usize,
    /// Files, folders and links that were here already.
    pub existing: usize,
    /// Folders and links that were made.
    pub made: usize,
    /// Things that were left out.
    pub skipped: usize,
    /// Files, folders and links that a rule has left out.
    pub excluded: usize,
    /// Things that could not be fetched.
    pub failed: usize,
    /// The bytes of files that came from the server, repetitions included.
    pub fetched_bytes: u64,
    /// How long the run took, in milliseconds.
    pub milliseconds: u64,
    /// The exit code that it leads to.
    pub exit: u8,
}

/// How the files of a run ended. Each file counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Files whose bytes were sent.
    pub sent: usize,
    /// Files that the server copied from a document that it has.
    pub copied: usize,
    /// Files among `sent` and `copied` that got another name, because theirs was taken.
    pub renamed: usize,
    /// Files that were already on the server, in their place.
    pub existing: usize,
    /// Links and empty folders that were made on the server.
    pub made: usize,
    /// What was left out: pipes, sockets and devices; for an older server links and empty folders,
    /// too.
    pub skipped: usize,
    /// Files and folders that a rule (`--exclude`, `--include`, an ignore file) left out; what
    /// lies in such a folder is not counted.
    pub excluded: usize,
    /// Files that no server takes, because of their name or their kind.
    pub refused: usize,
    /// Files that could not be uploaded for another reason.
    pub failed: usize,
    /// Files that were interrupted or not begun.
    pub paused: usize,
    /// Files among `paused` that were begun: the server has a part of each.
    pub begun: usize,
    /// Folders and links that were not made.
    pub unmade: usize,
    /// What no server keeps of what was sent.
    #[serde(flatten)]
    pub not_kept: NotKept,
    /// The bytes that were sent, including repetitions and the bytes of unfinished files.
    pub sent_bytes: u64,
    /// The bytes of unfinished files that are safe on the server.
    pub safe_bytes: u64,
    /// How long the run took, in milliseconds.
    pub milliseconds: u64,
    /// The exit code that it leads to.
    pub exit: u8,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UploadStatus {
    /// The local file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The upload.
    pub document_id: DocumentId,
    /// Its name on the server.
    pub filename: String,
    /// The folders around it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The whole length in bytes; while that is not known, what was read so far.
    pub filesize: FileSize,
    /// The whole length is not known: it comes through a pipe.
    #[serde(rename = "open", skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// The number of bytes that the server holds without a gap.
    pub received: Offset,
    /// The number of bytes without a gap that survive a power cut of the server.
    pub durable: Offset,
    /// The number of bytes that the server holds, including those beyond a gap.
    pub held_bytes: u64,
    /// How many of the held bytes are known to survive a power cut of the server.
    pub safe_bytes: u64,
    /// The bytes of the file that this run has sent, including repetitions.
    pub sent_bytes: u64,
    /// The received bytes and the whole length for people: `65536/1048576 bytes`.
    pub progress: String,
}

/// What the server has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The local file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// The document.
    pub document_id: DocumentId,
    /// The name that the document got.
    pub filename: String,
    /// The name that was asked for, where the document got another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_filename: Option<String>,
    /// The folders around it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// Its length in bytes.
    pub filesize: FileSize,
    /// Its hash, which is the same on both sides.
    pub blake3: FileHash,
    /// The document was there already, in this place and with these bytes.
    pub existing: bool,
    /// The server made it from another document with the same bytes.
    pub copied: bool,
    /// Whether the document already survives a power cut of the server; where it does not, the
    /// server makes it durable within seconds.
    pub durable: bool,
    /// The bytes of the file that this run sent, including repetitions.
    pub sent_bytes: u64,
    /// The same, signed by the server, where the client has asked for that. It is left out of the
    /// JSON output, because it is written to the file of receipts.
    #[serde(skip)]
    pub signed: Option<Result<Box<SignedReceipt>, BadReceipt>>,
}

impl Receipt {
    /// The receipt for this document, from the server's SUCCESS, which was compared with what was
    /// sent. `issuer` is the server, where it was asked to sign.
    pub(crate) fn of(
        document: &Document,
        success: Success,
        sent_bytes: u64,
        issuer: Option<&Issuer>,
    ) -> Self {
        let asked = document.remote.filename().as_str();
        Self {
            signed: issuer.map(|issuer| issuer.checked(&success)),
            path: document.local.clone(),
            asked_filename: (asked != success.filename).then(|| asked.to_owned()),
            document_id: success.document_id,
            filename: success.filename,
            folder: success.folder,
            filesize: success.filesize,
            blake3: success.blake3,
            existing: success.existing,
            copied: success.copied,
            durable: success.durable,
            sent_bytes,
        }
    }
}

/// Why a file could not be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The local file, where the error is about one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lossy_option")]
    pub path: Option<PathBuf>,
    /// The upload, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// The server's code for the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What happened.
    pub message: String,
    /// What the server keeps and what a person can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The exit code that it leads to.
    pub exit: u8,
}

/// Called with each event of an upload.
pub type Listener<'a> = &'a mut (dyn FnMut(Event) + Send);

fn seconds<S: Serializer>(wait: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((wait.as_secs_f64() * 10.0).round() / 10.0)
}

/// A path may have bytes that are no Unicode; JSON may not.
fn lossy<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn lossy_option<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Path::to_string_lossy).serialize(to)
}
