//! A verified upload gets a place, and no two documents the same.

use crate::fixture::{Fixture, MIB, at, block, checkpoint, hash, id, offset, path, refusal, user};
use std::iter::once;
use towline_state::catalog::{Bytes, Created, NewDocument, OnConflict, Refusal, Unless};
use towline_types::{DocumentId, DocumentPath};
use towline_upload::Phase;

#[test]
fn publishing_reserves_the_place_and_completing_confirms_it() {
    let f = Fixture::new();
    let a = f.create("docs/a.pdf", 2 * MIB);
    f.catalog.checkpoint(vec![checkpoint(a, MIB, vec![block(0, 1)])]).wait().unwrap();
    assert_eq!(f.begin(a).unwrap(), (path("docs/a.pdf"), 0));

    let publishing = f.document(a);
    assert_eq!(publishing.phase, Phase::Publishing);
    assert_eq!(publishing.blake3, Some(hash(1)));
    assert_eq!(publishing.durable_offset.get(), offset(MIB), "only a checkpoint promises");
    assert_eq!(publishing.file_path, Some(path("docs/a.pdf")));
    assert_eq!((publishing.created_at, publishing.finished_at), (None, None));
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), [block(0, 1)]);

    let completed = f.catalog.complete_publish(a, None, at(30)).wait().unwrap();
    assert_eq!(completed, f.document(a));
    assert_eq!(completed.phase, Phase::Completed);
    assert_eq!((completed.created_at, completed.finished_at), (Some(at(30)), Some(at(30))));
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), []);
}

#[test]
fn taken_names_get_numbers() {
    let f = Fixture::new();
    let place = |wanted: &str| f.complete(wanted, 1).1;
    assert_eq!(place("a/doc.pdf"), "a/doc.pdf");
    assert_eq!(place("a/doc.pdf"), "a/doc (1).pdf");
    assert_eq!(place("A/DOC.pdf"), "A/DOC (2).pdf");
    assert_eq!(place("b/doc.pdf"), "b/doc.pdf");
    assert_eq!(place("a/doc (3).pdf"), "a/doc (3).pdf");
    assert_eq!(place("a/doc.pdf"), "a/doc (4).pdf");
    for copy in 5..40 {
        assert_eq!(place("a/doc.pdf"), format!("a/doc ({copy}).pdf"));
    }
}

#[test]
fn the_places_of_another_user_do_not_matter() {
    let f = Fixture::new();
    f.complete("a", 1);
    let mut new = f.new_document("a", 1);
    new.user_id = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let b = f.create_new(new, 9).unwrap();
    assert_eq!(f.begin(b).unwrap(), (path("a"), 0));
}

#[test]
fn reject_takes_the_wanted_place_or_none() {
    let f = Fixture::new();
    let (a, b) = (f.create("a", 1), f.create("A", 1));
    let begin = |id, first_copy| f.begin_from(id, OnConflict::Reject, first_copy);
    assert_eq!(begin(a, 0).unwrap(), (path("a"), 0));
    assert_eq!(refusal(begin(b, 0)), Refusal::PathTaken);
    assert_eq!(f.document(b).phase, Phase::Uploading);
    assert_eq!(refusal(begin(a, 1)), Refusal::PathTaken);
    assert_eq!(f.document(a).file_path, Some(path("a")));
}

#[test]
fn a_publishing_document_may_choose_again() {
    let f = Fixture::new();
    let a = f.create("a", 1);
    let begin = |first_copy| f.begin_from(a, OnConflict::Rename, first_copy);
    assert_eq!(begin(0).unwrap(), (path("a"), 0));
    assert_eq!(begin(0).unwrap(), (path("a"), 0), "its own place is not in its way");
    assert_eq!(begin(1).unwrap(), (path("a (1)"), 1));
    assert_eq!(f.complete("a", 1).1, "a", "the place it left is free");
    assert_eq!(begin(5).unwrap(), (path("a (5)"), 5));
    assert_eq!(f.document(a).file_path, Some(path("a (5)")));
}

#[test]
fn a_damaged_upload_returns_to_uploading_and_frees_its_place() {
    let f = Fixture::new();
    let a = f.create("a", MIB);
    f.catalog.checkpoint(vec![checkpoint(a, MIB, vec![block(0, 1)])]).wait().unwrap();
    f.begin(a).unwrap();
    f.catalog.return_to_uploading(a, at(50)).wait().unwrap();
    let document = f.document(a);
    assert_eq!(document.phase, Phase::Uploading);
    assert_eq!((document.file_path, document.blake3), (None, None));
    assert_eq!(f.catalog.blocks(a).wait().unwrap(), [block(0, 1)]);
    f.catalog.withdraw_blocks(a, once(0..1).collect(), offset(0)).wait().unwrap();
    assert_eq!(f.complete("a", 1).1, "a");
    assert_eq!(f.begin(a).unwrap(), (path("a (1)"), 1));
}

#[test]
fn where_the_bytes_are_is_said_while_it_is_publishing_and_no_longer() {
    let f = Fixture::new();
    let exits: [fn(&Fixture, DocumentId); 3] = [
        |f, id| drop(f.catalog.complete_publish(id, None, at(30)).wait().unwrap()),
        |f, id| f.catalog.return_to_uploading(id, at(50)).wait().unwrap(),
        |f, id| f.catalog.finish(id, Phase::Failed, "because", at(30)).wait().unwrap(),
    ];
    for exit in exits {
        let a = f.create("a", 1);
        // The largest does not fit into SQLite's integers as it is.
        for inode in [1, u64::MAX] {
            let bytes = Bytes::Cached { inode };
            let rename = OnConflict::Rename;
            f.catalog.begin_publish(a, hash(1), bytes, rename, 0, at(20)).wait().unwrap();
            assert_eq!(f.document(a).bytes, bytes);
        }
        exit(&f, a);
        assert_eq!(f.document(a).bytes, Bytes::Synced);
    }
}

#[test]
fn steps_out_of_order_are_refused() {
    let f = Fixture::new();
    let a = f.create("a", 1);
    let wrong = |phase| Refusal::WrongPhase(phase);
    assert_eq!(refusal(f.catalog.complete_publish(a, None, at(1)).wait()), wrong(Phase::Uploading));
    assert_eq!(refusal(f.catalog.return_to_uploading(a, at(50)).wait()), wrong(Phase::Uploading));
    f.begin(a).unwrap();
    f.catalog.complete_publish(a, None, at(30)).wait().unwrap();
    assert_eq!(
        refusal(f.catalog.complete_publish(a, None, at(31)).wait()),
        wrong(Phase::Completed)
    );
    assert_eq!(refusal(f.catalog.return_to_uploading(a, at(50)).wait()), wrong(Phase::Completed));
    assert_eq!(refusal(f.begin(a)), wrong(Phase::Completed));
    assert_eq!(f.document(a).created_at, Some(at(30)));
    assert_eq!(refusal(f.begin(id(99))), Refusal::NoSuchDocument);
}

#[test]
fn a_number_fits_into_the_longest_path_or_the_upload_is_refused_at_its_beginning() {
    let f = Fixture::new();
    let folders = format!("{}/", "d".repeat(255)).repeat(7) + &"e".repeat(245);
    let longest = format!("{folders}/{}", "x".repeat(10));
    assert_eq!(longest.len(), 2048);
    assert_eq!(f.complete(&longest, 1).1, longest);
    assert_eq!(f.complete(&longest, 1).1, format!("{folders}/xxxxxx (1)"));
    for n in 2..12 {
        f.complete(&longest, n);
    }
    let last = f.complete(&longest, 1).1;
    assert_eq!(last, format!("{folders}/xxxxx (12)"));

    let tight = format!("{folders}/a.23456789");
    assert!(DocumentPath::parse(&tight).unwrap().numbered(1).is_none());
    assert_eq!(f.complete(&tight, 1).1, tight);
    let again = f.create_new(f.new_document(&tight, 1), u32::MAX);
    assert_eq!(refusal(again), Refusal::PathTaken);
}

#[test]
fn no_document_has_the_name_of_a_folder() {
    let f = Fixture::new();
    let (doc, _) = f.complete("in/Twin É", 1);
    for below in ["in/Twin É/a", "IN/twin é/deep/a", "in/Twin E\u{301}/b"] {
        let refused = f.create_new(f.new_document(below, 1), u32::MAX);
        assert_eq!(refusal(refused), Refusal::FolderTaken, "{below}");
        let id = f.catalog.reserve_document_id(f.user).unwrap();
        let new = f.new_document(below, 1);
        let row = f.catalog.publish_new(id, new, Unless::default(), hash(1), Bytes::Synced).wait();
        assert_eq!(refusal(row), Refusal::FolderTaken, "{below}");
    }
    f.complete("in/Twin Éa/b", 1);
    // The other way round: a folder has the name, so the document gets a number.
    f.complete("Folder/a", 1);
    assert_eq!(f.complete("FOLDER", 1).1, "FOLDER (1)");
    assert_eq!(f.complete("Folder0", 1).1, "Folder0");
    let reject = NewDocument { on_conflict: OnConflict::Reject, ..f.new_document("folder", 1) };
    assert_eq!(refusal(f.create_new(reject, u32::MAX)), Refusal::PathTaken);
    // One that came in between is met at the end.
    let late = f.create("late/a", 1);
    f.complete("LATE", 1);
    assert_eq!(refusal(f.begin(late)), Refusal::FolderTaken);
    assert_eq!(f.document(late).phase, Phase::Uploading);
    // A document that is lost is in nobody's way.
    f.catalog.lose(doc, "gone", at(40)).wait().unwrap();
    assert_eq!(f.complete("in/Twin É/a", 1).1, "in/Twin É/a");
}

#[test]
fn what_came_whole_is_publishing_from_the_beginning() {
    let f = Fixture::new();
    let new = |place: &str| f.new_document(place, 5);
    let publish = |new: NewDocument, unless: Unless, bytes| {
        let id = f.catalog.reserve_document_id(f.user).unwrap();
        (id, f.catalog.publish_new(id, new, unless, hash(1), bytes).wait())
    };
    let cached = Bytes::Cached { inode: u64::MAX };
    for (place, bytes, copy) in [("a/doc", Bytes::Synced, 0), ("a/DOC", cached, 1)] {
        let (id, row) = publish(new(place), Unless::default(), bytes);
        let Ok(Created::New((document, found))) = row else { panic!("{row:?}") };
        assert_eq!((document.clone(), found), (f.document(id), copy));
        assert_eq!((document.phase, document.bytes), (Phase::Publishing, bytes));
        f.catalog.complete_publish(id, None, at(30)).wait().unwrap();
    }

    // Nothing is left of what is needless, or refused.
    let known = Unless { same_place: Some(hash(1)), ..Unless::default() };
    let (id, row) = publish(new("a/DOC"), known, Bytes::Synced);
    assert!(matches!(row, Ok(Created::SamePlace(documents)) if documents.len() == 2));
    assert_eq!(f.catalog.document(id).wait().unwrap(), None);
    f.create("other", 5);
    let unfinished = Unless { unfinished: true, ..Unless::default() };
    let (id, row) = publish(new("other"), unfinished, Bytes::Synced);
    assert!(matches!(row, Ok(Created::Found(_))), "{row:?}");
    assert_eq!(f.catalog.document(id).wait().unwrap(), None);
    let reject = NewDocument { on_conflict: OnConflict::Reject, ..new("a/doc") };
    let (id, row) = publish(reject, Unless::default(), Bytes::Synced);
    assert_eq!(refusal(row), Refusal::PathTaken);
    assert_eq!(f.catalog.document(id).wait().unwrap(), None);
    let stranger = NewDocument { user_id: user(9), ..new("b") };
    let (_, row) = publish(stranger, Unless::default(), Bytes::Synced);
    assert_eq!(refusal(row), Refusal::NoSuchUser);
}
