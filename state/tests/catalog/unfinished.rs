//! What recovery, resuming and expiry find.

use crate::fixture::{Fixture, MIB, at, block, checkpoint, hash, offset, path, size, user};
use towline_state::CatalogError;
use towline_state::catalog::Checkpoint;
use towline_types::DocumentId;
use towline_upload::Phase;

#[test]
fn the_durable_end_is_behind_the_highest_block() {
    let f = Fixture::new();
    let filesize = 10 * MIB + 5;
    let untouched = f.create("untouched", filesize);
    let in_order = f.create("in order", filesize);
    let with_holes = f.create("with holes", filesize);
    let with_last = f.create("with last", filesize);
    f.catalog
        .checkpoint(vec![
            checkpoint(in_order, MIB + 7, vec![block(0, 1)]),
            checkpoint(with_holes, MIB + 7, vec![block(0, 1), block(3, 1)]),
            checkpoint(with_last, 0, vec![block(10, 1)]),
        ])
        .wait()
        .unwrap();
    f.complete("completed", 1);
    let publishing = f.create("publishing", 3);
    f.begin(publishing).unwrap();
    let ends: Vec<_> = f
        .catalog
        .unfinished(None, 100)
        .wait()
        .unwrap()
        .rows
        .into_iter()
        .map(|found| found.unwrap())
        .map(|found| (found.document.document_id, found.durable_end))
        .collect();
    assert_eq!(
        ends,
        [
            (untouched, offset(0)),
            (in_order, offset(MIB + 7)),
            (with_holes, offset(4 * MIB)),
            (with_last, offset(filesize)),
            (publishing, offset(0)),
        ]
    );
}

#[test]
fn a_row_that_does_not_read_hides_no_other() {
    let f = Fixture::new();
    let (a, bad, c) = (f.create("a", 7), f.create("b", 7), f.create("c", 7));
    let newer = f.create("a", 7);
    f.edit(&format!("UPDATE documents SET chunk_size = -1 WHERE document_id IN ({bad})"));
    f.edit(&format!("UPDATE documents SET chunk_size = -1 WHERE document_id IN ({newer})"));
    let found = f.catalog.unfinished(None, 100).wait().unwrap().rows;
    let ids: Vec<_> =
        found.iter().map(|row| row.as_ref().ok().map(|row| row.document.document_id)).collect();
    assert_eq!(ids, [Some(a), None, Some(c), None]);
    let owner = f.user;
    let named = matches!(&found[1], Err(CatalogError::BadRow { id, owner: Some(found), .. })
        if *id == bad.to_i64() && *found == owner);
    assert!(named, "{found:?}");
    let found = f.catalog.find(f.user, &path("a"), size(7), None).wait().unwrap().unfinished;
    assert_eq!(found.unwrap().document_id, a, "the newest that can be gone on with");
    let (done, damaged) = (f.complete("d", 9).0, f.complete("e", 9).0);
    f.edit(&format!("UPDATE documents SET started_at = -1 WHERE document_id = {damaged}"));
    let found = f.catalog.same_bytes(f.user, size(9), hash(1)).wait().unwrap();
    assert_eq!(found.iter().map(|document| document.document_id).collect::<Vec<_>>(), [done]);
}

#[test]
fn each_user_sees_their_own() {
    let f = Fixture::new();
    let a = f.create("a", 1);
    f.complete("b", 1);
    let of = |user| -> Vec<DocumentId> {
        let documents = f.catalog.unfinished_of(user).wait().unwrap();
        documents.iter().map(|document| document.document_id).collect()
    };
    assert_eq!(of(f.user), [a]);
    assert_eq!(of(user(9)), []);
}

#[test]
fn a_forgotten_upload_is_found_by_place_and_size() {
    let f = Fixture::new();
    let find = |place: &str, filesize| {
        let found = f.catalog.find(f.user, &path(place), size(filesize), None).wait().unwrap();
        found.unfinished.map(|document| document.document_id)
    };
    f.create("docs/a", 7);
    let newest = f.create("docs/a", 7);
    assert_eq!(find("docs/a", 7), Some(newest));
    assert_eq!(find("docs/a", 8), None);
    assert_eq!(find("a", 7), None);
    assert_eq!(find("docs/A", 7), None, "another name is another document");
    f.catalog.finish(newest, Phase::Cancelled, "", at(40)).wait().unwrap();
    assert!(find("docs/a", 7).is_some_and(|older| older < newest));
    let other = f.catalog.find(user(9), &path("docs/a"), size(7), None).wait().unwrap();
    assert_eq!(other.unfinished, None);
}

#[test]
fn quiet_uploads_are_those_without_a_byte_since() {
    let f = Fixture::new();
    let (quiet, lively, publishing) = (f.create("a", 1), f.create("b", 1), f.create("c", 1));
    f.begin(publishing).unwrap();
    let checkpoint = Checkpoint {
        document_id: lively,
        durable_offset: offset(0),
        new_blocks: vec![],
        last_chunk_at: at(100),
    };
    f.catalog.checkpoint(vec![checkpoint]).wait().unwrap();
    let since = |moment| f.catalog.quiet_since(at(moment), None, 10).wait().unwrap();
    assert_eq!(since(10), []);
    assert_eq!(since(11), [quiet]);
    assert_eq!(since(101), [quiet, lively]);
    let page = |after, limit| f.catalog.quiet_since(at(101), after, limit).wait().unwrap();
    assert_eq!(page(None, 1), [quiet]);
    assert_eq!(page(Some(quiet), 1), [lively]);
    assert_eq!(page(Some(lively), 1), []);
}
