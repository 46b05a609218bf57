//! What a client says of a document that no rule of the server reads.

use super::error::CatalogError;
use super::job::Share;
use super::row::NamedRow;
use super::{Catalog, Reply};
use rusqlite::{Connection, OptionalExtension as _, params};
use towline_types::{DocumentId, Sha256Hash};

/// The most tags of a document.
pub const TAGS_MAX: usize = 64;

/// The longest tag, in bytes.
pub const TAG_BYTES: usize = 128;

/// The longest [metadata](Description::metadata), in bytes.
pub const METADATA_BYTES: usize = 4096;

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The SHA-256 hash that the whole file must have.
    pub expected_sha256: Option<Sha256Hash>,
    /// Words by which the client finds the document again.
    pub tags: Vec<String>,
    /// A text that means something to the client alone, at most
    /// [`METADATA_BYTES`] long.
    pub metadata: Option<String>,
}

/// The columns that a description is read from.
const COLUMNS: &str = "document_id, expected_sha256, tags, metadata";

impl Description {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Catalog {
    /// What was said of a document; nothing where there is no such document.
    pub fn description(&self, document_id: DocumentId) -> Reply<Description> {
        self.look(Share::Users, move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM descriptions WHERE document_id = $1");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_row([document_id.to_i64()], |row| {
                Ok(NamedRow::selected(row, "document", COLUMNS).and_then(|row| read(&row)))
            });
            found.optional()?.unwrap_or_else(|| Ok(Description::default()))
        })
    }
}

fn read(row: &NamedRow<'_, '_>) -> Result<Description, CatalogError> {
    let tags = row.get_option("tags", |text: String| serde_json::from_str(&text))?;
    Ok(Description {
        expected_sha256: row.get_option("expected_sha256", |hash: [u8; 32]| {
            Ok::<_, String>(Sha256Hash::from_bytes(hash))
        })?,
        tags: tags.unwrap_or_default(),
        metadata: row.plain("metadata")?,
    })
}

/// Records what was said of a document that has just got its row.
pub(super) fn record(
    connection: &Connection,
    document_id: DocumentId,
    said: &Description,
) -> Result<(), CatalogError> {
    if said.is_empty() {
        return Ok(());
    }
    let tags = (!said.tags.is_empty()).then(|| serde_json::json!(said.tags).to_string());
    let sql = "INSERT INTO descriptions (document_id, expected_sha256, tags, metadata) \
               VALUES ($1, $2, $3, $4)";
    connection.prepare_cached(sql)?.execute(params![
        document_id.to_i64(),
        said.expected_sha256.as_ref().map(Sha256Hash::as_bytes),
        tags,
        said.metadata,
    ])?;
    Ok(())
}
