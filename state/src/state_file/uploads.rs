//! The whole content of a state file.

use super::{JobEntry, KnownServer, Relation, UploadEntry};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use towline_types::DocumentId;

/// The version of the schema that is written here.
pub const STATE_VERSION: u64 = 1;

/// What a state file says: the uploads that are on their way.
///
/// Keys are document numbers as text. Two servers may hand out the same number,
/// so a client asks [`key_for`](Self::key_for) under which key to write and
/// [`find`](Self::find) where to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadsState {
    #[serde(default = "current_version")]
    version: u64,
    /// The uploads by their key.
    #[serde(serialize_with = "in_order_of_number")]
    pub uploads: BTreeMap<String, UploadEntry>,
    /// Commands that have not come to their end. The client's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobEntry>,
    /// Fields that this Towline does not know; they are kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for UploadsState {
    fn default() -> Self {
        Self {
            version: STATE_VERSION,
            uploads: BTreeMap::new(),
            jobs: Vec::new(),
            other: Map::new(),
        }
    }
}

impl UploadsState {
    /// The key under which to write the document of that server: the key it has,
    /// else its plain number where that is free, else the number with the server behind
    /// an `@`: the identity of its store, or its address where that is not known.
    /// Without a server (on the server itself) always the plain number.
    #[must_use]
    pub fn key_for(&self, document_id: DocumentId, server: Option<&KnownServer>) -> String {
        let plain = document_id.to_string();
        let Some(server) = server else { return plain };
        match self.best(document_id, server) {
            Some((relation, key, _)) if relation.is_same() => key.to_owned(),
            _ if self.uploads.contains_key(&plain) => format!("{plain}@{}", server.suffix()),
            _ => plain,
        }
    }

    /// The entry of that document of that server, with its key. An entry that
    /// names no server, as in a file written by hand, is taken for any server's
    /// unless a better one is there.
    #[must_use]
    pub fn find(
        &self,
        document_id: DocumentId,
        server: Option<&KnownServer>,
    ) -> Option<(&str, &UploadEntry)> {
        let Some(server) = server else {
            let found = self.uploads.get_key_value(&document_id.to_string());
            return found.map(|(key, entry)| (key.as_str(), entry));
        };
        let (relation, key, entry) = self.best(document_id, server)?;
        relation.may_be_used().then_some((key, entry))
    }

    /// All entries of that number, whichever server they are about.
    pub fn numbered(&self, document_id: DocumentId) -> impl Iterator<Item = (&str, &UploadEntry)> {
        let is_it = move |key: &str| Self::document_id_of(key) == Some(document_id);
        let entries = self.uploads.iter().map(|(key, entry)| (key.as_str(), entry));
        entries.filter(move |(key, _)| is_it(key))
    }

    fn best(
        &self,
        document_id: DocumentId,
        server: &KnownServer,
    ) -> Option<(Relation, &str, &UploadEntry)> {
        let found = self.numbered(document_id);
        let related = found.map(|(key, entry)| (server.relation(entry), key, entry));
        related.min_by_key(|(relation, ..)| *relation)
    }

    /// The document that a key stands for; nothing where it is no key of ours.
    #[must_use]
    pub fn document_id_of(key: &str) -> Option<DocumentId> {
        let number = key.split_once('@').map_or(key, |(number, _)| number);
        number.parse().ok()
    }

    /// Takes over what only `before` knows: fields of the file, and fields of
    /// entries that both have.
    pub(super) fn carry_over_unknown(&mut self, before: &Self) {
        add_missing(&mut self.other, &before.other);
        for (key, entry) in &mut self.uploads {
            if let Some(before) = before.uploads.get(key) {
                add_missing(&mut entry.other, &before.other);
            }
        }
    }
}

fn add_missing(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        if !fields.contains_key(name) {
            fields.insert(name.clone(), value.clone());
        }
    }
}

fn current_version() -> u64 {
    STATE_VERSION
}

/// 9 comes before 10; keys that are no number come last.
fn in_order_of_number<S: Serializer>(
    uploads: &BTreeMap<String, UploadEntry>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut ordered: Vec<_> = uploads.iter().collect();
    ordered.sort_by_key(|(key, _)| {
        let number = UploadsState::document_id_of(key);
        (number.is_none(), number)
    });
    serializer.collect_map(ordered)
}
