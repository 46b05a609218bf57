//! What ought to lie on disk, gone through in pages and asked for by place.

use crate::fixture::{Fixture, at, id, path, user};
use towline_state::{Catalog, CatalogError};
use towline_types::DocumentId;
use towline_upload::Phase;

/// The numbers of all rows, and whether each could be read.
fn all(catalog: &Catalog, limit: u32) -> Vec<(u64, bool)> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.documents_after(after, limit).wait().unwrap();
        assert!(page.len() <= limit as usize);
        for row in &page {
            let (number, reads) = match row {
                Ok(document) => (document.document_id, true),
                Err(CatalogError::BadRow { id: number, .. }) => {
                    (DocumentId::from_i64(*number).unwrap(), false)
                }
                Err(other) => panic!("{other:?}"),
            };
            after = Some(number);
            seen.push((number.get(), reads));
        }
        if page.is_empty() {
            return seen;
        }
    }
}

#[test]
fn pages_hold_every_document_that_has_or_awaits_bytes_once() {
    let f = Fixture::new();
    assert!(!f.catalog.has_documents().wait().unwrap());
    let mut expected = Vec::new();
    for number in 0..4 {
        expected.push((f.complete(&format!("doc {number}"), 1).0.get(), true));
        let ended = f.create("ended", 1);
        f.catalog.finish(ended, Phase::Cancelled, "", at(40)).wait().unwrap();
        let publishing = f.create("publishing", 1);
        f.begin(publishing).unwrap();
        expected.push((publishing.get(), true));
        expected.push((f.create("uploading", 1).get(), true));
    }
    assert!(f.catalog.has_documents().wait().unwrap());
    assert_eq!(all(&f.catalog, 3), expected);
    assert_eq!(all(&f.catalog, 100), expected);
    // One that does not read is told in its turn.
    let bad = expected[4].0;
    f.edit(&format!("UPDATE documents SET status = 'sleeping' WHERE document_id = {bad}"));
    expected[4].1 = false;
    assert_eq!(all(&f.catalog, 2), expected);
}

#[test]
fn a_place_is_known_by_its_exact_name() {
    let f = Fixture::new();
    let (done, _) = f.complete("docs/Café.txt", 1);
    let promised = f.create("other", 1);
    f.begin(promised).unwrap();
    f.create("wanted", 1);
    let at = |owner, place: &str| f.catalog.document_at(owner, &path(place)).wait().unwrap();
    assert_eq!(at(f.user, "docs/Café.txt"), Some(done));
    assert_eq!(at(f.user, "other"), Some(promised));
    assert_eq!(at(f.user, "docs/café.txt"), None, "a twin is another file");
    assert_eq!(at(f.user, "wanted"), None, "nothing is promised before publishing");
    assert_eq!(at(user(9), "other"), None);
    f.edit(&format!("UPDATE documents SET last_chunk_at = -1 WHERE document_id = {done}"));
    assert_eq!(at(f.user, "docs/Café.txt"), Some(done), "it is somebody's all the same");
    assert_eq!(at(f.user, "docs"), None);
    assert_ne!(done, id(99));
}
