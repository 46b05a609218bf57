//! Whether a document is in the place that was asked for.

use crate::text::printable;
use towline_protocol::reply::Success;
use towline_types::{DocumentPath, Name, OnConflict};

/// Whether a `SUCCESS` for a file that was asked to be at `asked` may name the place that it names.
/// The folder must be the same. The name must be the same, or a name that the server treats as the
/// same, or the name with a number added where it was taken and the client allows that.
pub(crate) fn is_allowed(success: &Success, asked: &DocumentPath, on_conflict: OnConflict) -> bool {
    path(success).is_some_and(|got| is_place_allowed(&got, asked, on_conflict))
}

/// The same for the names of a path.
pub(crate) fn is_path_allowed(
    names: &[String],
    asked: &DocumentPath,
    on_conflict: OnConflict,
) -> bool {
    let Some((filename, folder)) = names.split_last() else { return false };
    path_of(folder, filename).is_some_and(|got| is_place_allowed(&got, asked, on_conflict))
}

fn is_place_allowed(got: &DocumentPath, asked: &DocumentPath, on_conflict: OnConflict) -> bool {
    if got.folder() != asked.folder() {
        return false;
    }
    got.key() == asked.key() || (on_conflict == OnConflict::Rename && got.is_numbered(asked))
}

/// The place that `SUCCESS` names, in words for people.
pub(crate) fn words(success: &Success) -> String {
    let names = success.folder.iter().chain([&success.filename]);
    names.map(|name| printable(name)).collect::<Vec<_>>().join("/")
}

fn path(success: &Success) -> Option<DocumentPath> {
    path_of(&success.folder, &success.filename)
}

fn path_of(folder: &[String], filename: &str) -> Option<DocumentPath> {
    let folder = folder.iter().map(|name| Name::new(name.as_str()).ok()).collect::<Option<_>>()?;
    DocumentPath::new(folder, Name::new(filename).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_protocol::Channel;
    use towline_types::{DocumentId, FileHash, FileSize, Timestamp};

    fn success(place: &str) -> Success {
        let mut folder: Vec<_> = place.split('/').map(str::to_owned).collect();
        let filename = folder.pop().unwrap();
        Success {
            channel: Channel(1),
            document_id: DocumentId::MIN,
            node_id: None,
            filename,
            folder,
            filesize: FileSize::MIN,
            blake3: FileHash::from_bytes([0; 32]),
            created_at: Timestamp::from_i64(1).unwrap(),
            durable: true,
            existing: true,
            copied: false,
            held: None,
            receipt: None,
        }
    }

    #[test]
    fn another_place_is_not_the_one_that_was_asked_for() {
        let asked = DocumentPath::parse("in/doc.pdf").unwrap();
        let allowed = |place: &str, on_conflict| is_allowed(&success(place), &asked, on_conflict);
        for place in ["in/doc.pdf", "in/DOC.pdf"] {
            assert!(allowed(place, OnConflict::Reject), "{place}");
        }
        assert!(allowed("in/doc (12).pdf", OnConflict::Rename));
        assert!(!allowed("in/doc (12).pdf", OnConflict::Reject));
        for place in [
            "doc.pdf",
            "in/in/doc.pdf",
            "out/doc.pdf",
            "IN/doc.pdf",
            "in/dog.pdf",
            "in/dog (1).pdf",
            "in/doc (1).txt",
            "in/../in/doc.pdf",
            "in/\u{1b}[31m",
            "in/",
        ] {
            assert!(!allowed(place, OnConflict::Rename), "{place}");
        }
    }
}
