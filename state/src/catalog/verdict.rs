//! What was found out about a document after its last byte.

use super::error::CatalogError;
use super::job::Share;
use super::row::NamedRow;
use super::{Catalog, Reply};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use towline_types::{DocumentId, Timestamp};

/// What a document was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOutcome {
    /// The scanner found nothing in it.
    Clean,
    /// The scanner found something in it.
    Infected,
    /// The scanner cannot look through it: it is too large, for example.
    Unscannable,
    /// No scanner came to an end with it.
    Failed,
    /// The operator gives it out, whatever a scanner says.
    Released,
}

impl ScanOutcome {
    const ALL: [Self; 5] =
        [Self::Clean, Self::Infected, Self::Unscannable, Self::Failed, Self::Released];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Infected => "infected",
            Self::Unscannable => "unscannable",
            Self::Failed => "failed",
            Self::Released => "released",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|one| one.as_str() == word);
        named.ok_or_else(|| format!("{word:?} is no verdict"))
    }
}

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanVerdict {
    /// What it is.
    pub outcome: ScanOutcome,
    /// Which scanner has looked.
    pub scanner: Option<String>,
    /// The version of the signatures by which it looked, where it says so.
    pub signatures: Option<String>,
    /// The name of what was found, or why nothing could be said.
    pub detail: Option<String>,
    /// The media type, by the content of the file.
    pub content_type: Option<String>,
    /// When that was.
    pub at: Timestamp,
}

impl Catalog {
    /// What was found out about a document; nothing for one that was never scanned.
    pub fn verdict(&self, document_id: DocumentId) -> Reply<Option<ScanVerdict>> {
        self.look(Share::Documents, move |connection| of(connection, document_id))
    }
}

const COLUMNS: &str = "document_id, verdict, scanner, signatures, detail, content_type, at";

pub(super) fn of(
    connection: &Connection,
    document_id: DocumentId,
) -> Result<Option<ScanVerdict>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM verdicts WHERE document_id = $1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([document_id.to_i64()], |row| Ok(read(row))).optional()?;
    found.transpose()
}

fn read(row: &Row<'_>) -> Result<ScanVerdict, CatalogError> {
    let row = NamedRow::selected(row, "document", COLUMNS)?;
    Ok(ScanVerdict {
        outcome: row.get("verdict", |word: String| ScanOutcome::parse(&word))?,
        scanner: row.plain("scanner")?,
        signatures: row.plain("signatures")?,
        detail: row.plain("detail")?,
        content_type: row.plain("content_type")?,
        at: row.time("at")?,
    })
}

/// Records a verdict in the place of an earlier one. What an earlier scan has found out about the
/// media type stays, where this one says nothing of it.
pub(super) fn record(
    connection: &Connection,
    document_id: DocumentId,
    verdict: &ScanVerdict,
) -> Result<(), CatalogError> {
    let sql = "INSERT INTO verdicts (document_id, verdict, scanner, signatures, detail, \
               content_type, at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (document_id) DO UPDATE SET verdict = excluded.verdict, \
               scanner = excluded.scanner, signatures = excluded.signatures, \
               detail = excluded.detail, at = excluded.at, \
               content_type = coalesce(excluded.content_type, content_type)";
    connection.prepare_cached(sql)?.execute(params![
        document_id.to_i64(),
        verdict.outcome.as_str(),
        verdict.scanner,
        verdict.signatures,
        verdict.detail,
        verdict.content_type,
        verdict.at.to_i64(),
    ])?;
    Ok(())
}
