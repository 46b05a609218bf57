//! What a verification finds, and what a repair has done about it.

use std::ops::Range;
use std::path::PathBuf;
use towline_types::{DocumentId, FileHash, FileSize, Offset, UserId};

/// One thing that is not as it should be.
#[derive(Debug)]
pub struct Finding {
    /// The file, seen from the data folder; nothing where only a row is wrong.
    pub path: Option<PathBuf>,
    /// The document it belongs to, where it belongs to one.
    pub subject: Option<Subject>,
    /// What is wrong.
    pub wrong: Wrong,
    /// What was done about it.
    pub done: Done,
}

/// A document and whose it is.
#[derive(Debug)]
pub struct Subject {
    /// Its number.
    pub document_id: DocumentId,
    /// Whose it is.
    pub owner: UserId,
    /// Its name, as far as it is known.
    pub name: Option<String>,
    /// What its owner sees of it.
    pub seen: Seen,
}

/// What the owner of a document sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A file, or an upload that becomes one.
    File,
    /// An older version of a file.
    OlderVersion,
    /// Something in the trash.
    Removed,
}

/// What is in a file, or ought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The length in bytes.
    pub filesize: FileSize,
    /// Nothing where the size alone tells that it is another.
    pub blake3: Option<FileHash>,
}

/// What is wrong.
#[derive(Debug)]
pub enum Wrong {
    /// A document's file has other bytes than were uploaded.
    Damaged {
        /// What was uploaded.
        expected: Content,
        /// What is there.
        found: Content,
    },
    /// A document's file is not there.
    Missing {
        /// Something else has its name.
        replaced: bool,
        /// Nothing at all lies in its owner's folder.
        deserted: bool,
    },
    /// Bytes of an upload that were promised are others now. The blocks that show
    /// it; none where only the hash of the whole does.
    UploadDamaged {
        /// The damaged blocks.
        blocks: Vec<Range<u64>>,
    },
    /// Bytes of an upload that were promised are not there.
    UploadShort {
        /// How far its bytes are promised.
        promised: Offset,
        /// The length of what is there; none where nothing is.
        found_bytes: Option<u64>,
    },
    /// A file or folder that cannot be read: what is in it is not known.
    Unreadable(String),
    /// A row that does not read.
    UnreadableRow(String),
    /// A file that is no document's.
    NoDocument,
    /// Something among the staging files that is no upload's.
    NoUpload,
}

/// What was done about it.
#[derive(Debug)]
pub enum Done {
    /// Nothing: no repair was asked for, or none is possible without losing something.
    Nothing,
    /// The server does not believe in the file any more before it has read it.
    Doubted,
    /// A repair was tried and did not succeed, for that reason. The file is where it was.
    Refused(String),
    /// The damaged file was set aside, and its document can be uploaded again.
    SetAside(PathBuf),
    /// The document can be uploaded again.
    Failed,
    /// The damaged blocks will be asked for again.
    Withdrawn,
    /// What no upload knows was set aside.
    OutOfTheWay(PathBuf),
}

impl Done {
    /// Whether a repair has done something.
    pub fn is_repair(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Doubted | Self::Refused(_))
    }
}

impl Wrong {
    /// Whether a repair can do something about it without losing anything.
    pub fn is_repairable(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::Missing { deserted: false, .. }
            | Self::UploadDamaged { .. }
            | Self::NoUpload => true,
            // A disk that is not mounted has lost nothing.
            Self::Missing { deserted: true, .. }
            // The next start gives such an upload up, as it always does.
            | Self::UploadShort { .. }
            // It may be whole.
            | Self::Unreadable(_)
            // Only a person can tell what it meant.
            | Self::UnreadableRow(_)
            // It may be the only copy, and it is where a restored catalog looks for it.
            | Self::NoDocument => false,
        }
    }

    /// The stable word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::Missing { .. } => "missing",
            Self::UploadDamaged { .. } => "upload_damaged",
            Self::UploadShort { .. } => "upload_short",
            Self::Unreadable(_) => "unreadable",
            Self::UnreadableRow(_) => "unreadable_row",
            Self::NoDocument => "no_document",
            Self::NoUpload => "no_upload",
        }
    }
}
