//! A document as the catalog knows it.

use super::availability::Availability;
use super::availability_column;
use super::description::Description;
use super::durable::DurableOffset;
use super::error::{CatalogError, Refusal};
use super::node_row::{mode, mtime};
use super::node_wish::NodeWish;
use super::place::{Kept, Places};
use super::row::NamedRow;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
pub use towline_types::OnConflict;
use towline_types::{
    DocumentId, DocumentPath, FileHash, FileSize, Name, NodeId, Offset, SecondDigest, Sha256Hash,
    Timestamp, UserId,
};
use towline_upload::{Length, Phase};

/// The columns that [`Document`] is read from.
pub(super) const COLUMNS: &str = "document_id, user_id, folder, filename, filesize, blake3, \
    status, on_conflict, chunk_size, durable_offset, file_path, reason, started_at, \
    last_chunk_at, created_at, finished_at, cached_inode, file_inode, file_modified, \
    file_mount_depth, length_is_open, second_digest, sha256, node_id, onto_node, into_folder, \
    base_version, mtime_ms, mode, availability";

/// What is known of a document when its upload begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// Whose it is.
    pub user_id: UserId,
    /// The place that was asked for.
    pub path: DocumentPath,
    /// The length of the whole file.
    pub length: Length,
    /// What to do where the place is taken.
    pub on_conflict: OnConflict,
    /// The payload of a full chunk, where it was agreed on.
    pub chunk_size: Option<u32>,
    /// The hash of the whole file that is wanted besides BLAKE3.
    pub second_digest: SecondDigest,
    /// What is wished of its node besides the place.
    pub wish: NodeWish,
    /// What the client says of it besides.
    pub description: Description,
    /// When the upload began.
    pub started_at: Timestamp,
}

/// Where the bytes of a document that is being published are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// All of them are durable.
    Synced,
    /// Some may still be in the page cache only. After a crash they are
    /// read and hashed before they are served.
    Cached {
        /// What the file is known by under any name: a file that another program
        /// has put in its place has another one.
        inode: u64,
    },
}

/// What a published file is known by, besides its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// Its inode number.
    pub inode: u64,
    /// When it was last written to, in nanoseconds since 1970-01-01 UTC.
    pub modified_ns: i64,
    /// Where it lies on a disk that is mounted at its user's folder or below it: how many of
    /// the document's folders lead to the mount point. Nothing where it lies on the file
    /// system of all users' folders.
    pub mount_depth: Option<u16>,
}

impl FileStamp {
    /// The time of modification of a file that was found damaged. It is the smallest number,
    /// in the year 1677; no file is believed in by it.
    pub const DOUBTED_NS: i64 = i64::MIN;

    /// Whether a file with this stamp is the one that the catalog knows by `known`.
    #[must_use]
    pub fn is_known_by(self, known: Option<Self>) -> bool {
        known == Some(self) && self.modified_ns != Self::DOUBTED_NS
    }
}

/// A row of the documents table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its number, which is never given to another.
    pub document_id: DocumentId,
    /// Whose it is.
    pub user_id: UserId,
    /// The place that was asked for.
    pub path: DocumentPath,
    /// The length of the whole file; of one whose [length](Self::length) is not declared yet,
    /// the largest that it may become.
    pub filesize: FileSize,
    /// The length is still to be declared.
    pub length_is_open: bool,
    /// The hash of the whole file; from publishing on.
    pub blake3: Option<FileHash>,
    /// The hash of the whole file that is wanted besides BLAKE3.
    pub second_digest: SecondDigest,
    /// The SHA-256 hash of the whole file, where one was wanted; from publishing on.
    pub sha256: Option<Sha256Hash>,
    /// Where the upload stands.
    pub phase: Phase,
    /// Whether it is given out, once it is completed.
    pub availability: Availability,
    /// What to do where the place is taken.
    pub on_conflict: OnConflict,
    /// The payload of a full chunk, in bytes, where it was agreed on.
    pub chunk_size: Option<u32>,
    /// How far every byte is durable and verified.
    pub durable_offset: DurableOffset,
    /// Where its bytes are; of interest while it is publishing.
    pub bytes: Bytes,
    /// Where its file lies now, under the user's folder: from publishing on, and as long as the
    /// document is the version of a node that was not removed.
    pub file_path: Option<DocumentPath>,
    /// Where the file of a completed document is kept.
    pub kept: Kept,
    /// The node whose version it is, was, or is about to become; from publishing on.
    pub node_id: Option<NodeId>,
    /// The document that is the version of the node until this one, which is publishing, is. None
    /// where the file of that one lies in the quarantine, and so nothing has the name.
    pub replaces: Option<DocumentId>,
    /// What is wished of its node besides the place.
    pub wish: NodeWish,
    /// What its file was known by when that was last the right one; not known of
    /// documents that an earlier version has published.
    pub stamp: Option<FileStamp>,
    /// Why it was given up, for people.
    pub reason: Option<String>,
    /// When the upload began.
    pub started_at: Timestamp,
    /// When the last byte came that a checkpoint recorded; from `publishing` on, when
    /// that began.
    pub last_chunk_at: Timestamp,
    /// When it was completed: only then is there a document.
    pub created_at: Option<Timestamp>,
    /// When the upload ended, one way or the other.
    pub finished_at: Option<Timestamp>,
}

impl Document {
    /// How long the file is, as far as that was declared.
    #[must_use]
    pub const fn length(&self) -> Length {
        match self.length_is_open {
            true => Length::Open { max: self.filesize },
            false => Length::Declared(self.filesize),
        }
    }
}

impl Document {
    /// The length of the file; while it is not declared, that of the durable bytes. For people:
    /// the largest length that the file may become tells them nothing.
    #[must_use]
    pub fn length_so_far(&self) -> FileSize {
        self.length().so_far(self.durable_offset.get())
    }

    /// What is promised of its bytes: what a checkpoint recorded, and from `publishing` on the
    /// whole file, where it was synced before the row said so.
    #[must_use]
    pub fn durable(&self) -> DurableOffset {
        match (self.phase, self.bytes) {
            (Phase::Publishing, Bytes::Synced) => DurableOffset::recorded(self.filesize.end()),
            _ => self.durable_offset,
        }
    }
}

/// Reads a row with [`COLUMNS`].
pub(super) fn document(places: &Places<'_>, row: &Row<'_>) -> Result<Document, CatalogError> {
    let row = NamedRow::selected(row, "document", COLUMNS)?;
    let mut document = Document {
        document_id: row.get("document_id", DocumentId::from_i64)?,
        user_id: row.get("user_id", UserId::from_i64)?,
        path: path(&row)?,
        filesize: row.get("filesize", FileSize::from_i64)?,
        blake3: row
            .get_option("blake3", |hash: [u8; 32]| Ok::<_, String>(FileHash::from_bytes(hash)))?,
        phase: row.get("status", |word: String| {
            Phase::parse(&word).ok_or_else(|| format!("{word:?} is no phase"))
        })?,
        on_conflict: row.get("on_conflict", |word: String| {
            OnConflict::parse(&word).ok_or_else(|| format!("{word:?} is no way out of a conflict"))
        })?,
        chunk_size: row.get_option("chunk_size", |bytes: i64| u32::try_from(bytes))?,
        durable_offset: DurableOffset::recorded(row.get("durable_offset", Offset::from_i64)?),
        // The place that it got once. Where it lies now the node says.
        file_path: row.get_option("file_path", |path: String| DocumentPath::recorded(&path))?,
        reason: row.plain("reason")?,
        started_at: row.time("started_at")?,
        last_chunk_at: row.time("last_chunk_at")?,
        created_at: row.time_option("created_at")?,
        finished_at: row.time_option("finished_at")?,
        bytes: match row.plain::<Option<i64>>("cached_inode")? {
            Some(inode) => Bytes::Cached { inode: inode.cast_unsigned() },
            None => Bytes::Synced,
        },
        stamp: stamp(&row)?,
        length_is_open: row.plain("length_is_open")?,
        second_digest: second_digest(&row)?,
        sha256: row
            .get_option("sha256", |hash: [u8; 32]| Ok::<_, String>(Sha256Hash::from_bytes(hash)))?,
        kept: Kept::InPlace,
        node_id: row.get_option("node_id", NodeId::from_i64)?,
        replaces: None,
        wish: NodeWish {
            onto_node: row.get_option("onto_node", NodeId::from_i64)?,
            into_folder: row.get_option("into_folder", NodeId::from_i64)?,
            base_version: row.get_option("base_version", DocumentId::from_i64)?,
            mtime: mtime(&row)?,
            mode: mode(&row)?,
        },
        availability: availability_column::of_row(&row)?,
    };
    if matches!(document.phase, Phase::Publishing | Phase::Completed) {
        place(places, &row, &mut document)?;
    }
    Ok(document)
}

/// Finds out where the document's file lies.
fn place(
    places: &Places<'_>,
    row: &NamedRow<'_, '_>,
    document: &mut Document,
) -> Result<(), CatalogError> {
    let bad = |reason: &dyn std::fmt::Display| row.bad("node_id", reason);
    let Some(node_id) = document.node_id else { return Err(bad(&"there is none")) };
    let node = places.node(node_id).map_err(|error| bad(&error))?;
    let id = document.document_id;
    document.file_path = None;
    let (is_version, is_incoming) = (node.version_id == Some(id), node.incoming_id == Some(id));
    match document.phase {
        Phase::Publishing if is_incoming => {
            document.replaces = availability_column::with_file(places.connection, node.version_id)
                .map_err(|error| bad(&error))?;
        }
        Phase::Publishing => return Err(bad(&"the node keeps no name for it")),
        _ if !is_version => {
            document.kept = Kept::OldVersion;
            return Ok(());
        }
        _ => {}
    }
    if node.is_removed {
        document.kept = Kept::InTrash { root: node_id, below: Vec::new() };
        return Ok(());
    }
    let folder = places.of_folder(node.parent_id).map_err(|error| bad(&error))?;
    match folder.trash {
        Some(root) => {
            document.kept = Kept::InTrash { root, below: folder.join(node.name).names };
        }
        None => {
            let path = DocumentPath::new(folder.names.clone(), node.name);
            document.file_path = Some(path.map_err(|error| bad(&error))?);
        }
    }
    Ok(())
}

fn second_digest(row: &NamedRow<'_, '_>) -> Result<SecondDigest, CatalogError> {
    let digest = row.get_option("second_digest", |word: String| {
        SecondDigest::parse(&word).ok_or_else(|| format!("{word:?} is no digest"))
    })?;
    Ok(digest.unwrap_or_default())
}

fn stamp(row: &NamedRow<'_, '_>) -> Result<Option<FileStamp>, CatalogError> {
    let inode = row.plain::<Option<i64>>("file_inode")?;
    let modified_ns = row.plain::<Option<i64>>("file_modified")?;
    let mount_depth = row.get_option("file_mount_depth", |depth: i64| u16::try_from(depth))?;
    let stamp = |(inode, modified_ns): (i64, _)| FileStamp {
        inode: inode.cast_unsigned(),
        modified_ns,
        mount_depth,
    };
    Ok(inode.zip(modified_ns).map(stamp))
}

fn path(row: &NamedRow<'_, '_>) -> Result<DocumentPath, CatalogError> {
    let folder: String = row.plain("folder")?;
    let filename = row.get("filename", |name: String| Name::recorded(name))?;
    let folder = match folder.as_str() {
        "" => Vec::new(),
        folder => folder
            .split('/')
            .map(Name::recorded)
            .collect::<Result<_, _>>()
            .map_err(|reason| row.bad("folder", reason))?,
    };
    DocumentPath::new(folder, filename).map_err(|reason| row.bad("folder", reason))
}

/// The documents that a query finds.
pub(super) fn many(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<Document>, CatalogError> {
    let places = Places::new(connection);
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(document(&places, row)?);
    }
    Ok(documents)
}

/// Those of the documents that a query finds whose rows read.
pub(super) fn readable(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<Document>, CatalogError> {
    let places = Places::new(connection);
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(document(&places, row));
    }
    Ok(found)
}

/// The one document that a query finds, if any.
pub(super) fn one(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Option<Document>, CatalogError> {
    let places = Places::new(connection);
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(parameters, |row| Ok(document(&places, row))).optional()?.transpose()
}

/// The document of that number.
pub(super) fn by_id(
    connection: &Connection,
    document_id: DocumentId,
) -> Result<Option<Document>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM documents WHERE document_id = $1");
    one(connection, &sql, [document_id.to_i64()])
}

/// The document of that number, in one of those phases.
pub(super) fn in_phase(
    connection: &Connection,
    document_id: DocumentId,
    phases: &[Phase],
) -> Result<Document, CatalogError> {
    let document = by_id(connection, document_id)?.ok_or(Refusal::NoSuchDocument)?;
    if phases.contains(&document.phase) {
        Ok(document)
    } else {
        Err(Refusal::WrongPhase(document.phase).into())
    }
}
