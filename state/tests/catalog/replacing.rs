//! A document replaces the version of a file; the earlier version is kept for a while.

use crate::fixture::{Fixture, at, hash, path, refusal, size};
use crate::log_checker::{check, whole_log};
use std::time::Duration;
use towline_state::CatalogError;
use towline_state::catalog::{
    Bytes, Changed, Created, Document, Kept, NodeRef, NodeWish, Op, Refusal, RemovalGuard,
    Retention, Unless,
};
use towline_types::{DocumentId, NodePath, OnConflict};
use towline_upload::Phase;

impl Fixture {
    fn begin_replacing(
        &self,
        place: &str,
        wish: NodeWish,
    ) -> Result<(DocumentId, Document), CatalogError> {
        let mut new = self.new_document(place, 9);
        (new.on_conflict, new.wish) = (OnConflict::Replace, wish);
        let id = self.catalog.reserve_document_id(self.user)?;
        let unless = Unless::default();
        let row = self.catalog.publish_new(id, new, unless, hash(2), Bytes::Synced).wait()?;
        let Created::New((document, copy)) = row else { panic!("{row:?}") };
        assert_eq!((copy, &document), (0, &self.document(id)));
        Ok((id, document))
    }

    pub(crate) fn replace(&self, place: &str) -> DocumentId {
        let (id, _) = self.begin_replacing(place, NodeWish::default()).unwrap();
        self.catalog.complete_publish(id, None, at(40)).wait().unwrap();
        id
    }

    fn versions_of(&self, place: &str) -> Vec<DocumentId> {
        let which = NodeRef::Path(NodePath::typed(place).unwrap());
        let (mut versions, mut after) = (Vec::new(), None);
        loop {
            let page = self.catalog.versions(self.user, which.clone(), after, 2).wait().unwrap();
            versions.extend(page.versions.iter().map(|one| one.version.document_id));
            let Some(next) = page.next else { return versions };
            after = Some(next);
        }
    }
}

#[test]
fn a_file_keeps_its_number_and_its_earlier_version() {
    let f = Fixture::new();
    let (old, _) = f.complete("docs/report", 7);
    let (id, publishing) = f.begin_replacing("docs/report", NodeWish::default()).unwrap();
    assert_eq!(publishing.replaces, Some(old));
    assert_eq!(publishing.file_path, Some(path("docs/report")));
    assert_eq!(publishing.node_id, f.document(old).node_id);
    assert_eq!(f.document(old).file_path, Some(path("docs/report")), "until it is replaced");
    let completed = f.catalog.complete_publish(id, None, at(40)).wait().unwrap();
    assert_eq!(completed, f.document(id));
    assert_eq!((completed.replaces, completed.kept), (None, Kept::InPlace));
    let earlier = f.document(old);
    assert_eq!((earlier.phase, earlier.kept), (Phase::Completed, Kept::OldVersion));
    assert_eq!(earlier.file_path, None);
    let last = whole_log(&f.catalog, f.user, 9).pop().unwrap();
    assert_eq!((last.op, last.changed), (Op::Update, Changed::Content));
    assert_eq!(last.node.version.unwrap().document_id, id);
    assert!(last.node.place_rev < last.node.content_rev);
    let third = f.replace("docs/report");
    assert_eq!(f.versions_of("docs/report"), [third, id, old]);
    // It is found by its bytes no more: those lie elsewhere.
    assert_eq!(f.catalog.same_bytes(f.user, size(7), hash(1)).wait().unwrap(), []);
    check(&f.catalog, f.user);
    // It may be moved, and is the same file.
    let to = NodePath::typed("docs/moved").unwrap();
    let which = NodeRef::Id(f.document(third).node_id.unwrap());
    let begun = f.catalog.begin_move(f.user, which, to, None, at(60)).wait().unwrap();
    f.catalog.finish_move(begun.node.node_id, at(61)).wait().unwrap();
    assert_eq!(f.versions_of("docs/moved"), [third, id, old]);
}

#[test]
fn without_a_file_there_it_is_published_as_any_other() {
    let f = Fixture::new();
    let (id, document) = f.begin_replacing("a", NodeWish::default()).unwrap();
    assert_eq!(document.replaces, None);
    // Its name is only kept; another one waits.
    assert_eq!(refusal(f.begin_replacing("a", NodeWish::default()).map(drop)), Refusal::Busy);
    f.catalog.complete_publish(id, None, at(40)).wait().unwrap();
    assert_eq!(f.begin_replacing("a", NodeWish::default()).unwrap().1.replaces, Some(id));
    // A twin or a folder is not replaced.
    for place in ["A", "folder"] {
        f.complete("folder/x", 5);
        let refused = f.begin_replacing(place, NodeWish::default());
        assert_eq!(refusal(refused.map(drop)), Refusal::PathTaken, "{place}");
    }
}

#[test]
fn one_document_at_a_time_is_published_into_a_file() {
    let f = Fixture::new();
    let (old, _) = f.complete("a", 7);
    let (first, _) = f.begin_replacing("a", NodeWish::default()).unwrap();
    let busy = |f: &Fixture| refusal(f.begin_replacing("a", NodeWish::default()).map(drop));
    assert_eq!(busy(&f), Refusal::Busy);
    let removal = f.catalog.begin_removal(
        f.user,
        NodeRef::Path(NodePath::typed("a").unwrap()),
        RemovalGuard::default(),
        at(50),
    );
    assert_eq!(refusal(removal.wait()), Refusal::Busy);
    // It is given up: the file is as it was.
    f.catalog.return_to_uploading(first, at(50)).wait().unwrap();
    assert_eq!(f.document(old).file_path, Some(path("a")));
    let (second, _) = f.begin_replacing("a", NodeWish::default()).unwrap();
    f.catalog.finish(second, Phase::Failed, "", at(51)).wait().unwrap();
    let third = f.replace("a");
    assert_eq!(f.versions_of("a"), [third, old]);
    check(&f.catalog, f.user);
}

#[test]
fn another_version_than_the_one_that_was_known_is_not_replaced() {
    let f = Fixture::new();
    let (first, _) = f.complete("a", 7);
    let based_on = |base| NodeWish { base_version: Some(base), ..NodeWish::default() };
    let second = f.replace("a");
    let Refusal::Conflict { current: Some(current) } =
        refusal(f.begin_replacing("a", based_on(first)).map(drop))
    else {
        panic!("it is another version")
    };
    assert_eq!(current.version.unwrap().document_id, second);
    assert_eq!(
        refusal(f.begin_replacing("b", based_on(first)).map(drop)),
        Refusal::Conflict { current: None }
    );
    // At the beginning of an upload as well.
    let mut new = f.new_document("a", 9);
    (new.on_conflict, new.wish) = (OnConflict::Replace, based_on(first));
    let refused = refusal(f.create_new(new.clone(), 9));
    assert!(matches!(refused, Refusal::Conflict { .. }), "{refused:?}");
    new.wish = based_on(second);
    f.create_new(new, 9).unwrap();
    let (third, _) = f.begin_replacing("a", based_on(second)).unwrap();
    f.catalog.complete_publish(third, None, at(40)).wait().unwrap();
}

#[test]
fn a_document_goes_to_its_node_and_folder_wherever_these_lie() {
    let f = Fixture::new();
    let (old, _) = f.complete("a/file", 7);
    let (file, folder) = (f.document(old).node_id.unwrap(), "a");
    let which = NodeRef::Path(NodePath::typed(folder).unwrap());
    let to = NodePath::typed("b").unwrap();
    let begun = f.catalog.begin_move(f.user, which, to, None, at(60)).wait().unwrap();
    let folder = begun.node.node_id;
    f.catalog.finish_move(folder, at(61)).wait().unwrap();
    let onto = NodeWish { onto_node: Some(file), ..NodeWish::default() };
    let (id, document) = f.begin_replacing("a/file", onto).unwrap();
    assert_eq!((document.file_path, document.replaces), (Some(path("b/file")), Some(old)));
    f.catalog.complete_publish(id, None, at(62)).wait().unwrap();
    let into = NodeWish { into_folder: Some(folder), ..NodeWish::default() };
    let (_, document) = f.begin_replacing("a/new", into).unwrap();
    assert_eq!(document.file_path, Some(path("b/new")));
    // At the beginning of an upload they have to be there; at its end the bytes need a place.
    let onto = NodeWish { onto_node: Some(folder), ..NodeWish::default() };
    let into = NodeWish { into_folder: Some(file), ..NodeWish::default() };
    for wish in [onto, into] {
        let mut new = f.new_document("x", 9);
        (new.on_conflict, new.wish) = (OnConflict::Replace, wish);
        assert_eq!(refusal(f.create_new(new, 9)), Refusal::NoSuchNode);
    }
    let refused = refusal(f.begin_replacing("x", onto).map(drop));
    assert_eq!(refused, Refusal::Conflict { current: None });
    let (_, document) = f.begin_replacing("x", into).unwrap();
    assert_eq!(document.file_path, Some(path("x")));
}

#[test]
fn a_file_whose_version_is_lost_can_be_found_by_its_earlier_ones() {
    let f = Fixture::new();
    let (old, _) = f.complete("a", 7);
    let new = f.replace("a");
    let node_id = f.document(new).node_id.unwrap();
    f.catalog.lose(new, "gone", at(50)).wait().unwrap();
    assert!(check(&f.catalog, f.user).is_empty());
    assert_eq!(f.document(old).kept, Kept::OldVersion);
    let page = f.catalog.versions(f.user, NodeRef::Id(node_id), None, 9).wait().unwrap();
    assert_eq!(page.versions.len(), 1);
    assert_eq!(f.complete("a", 7).1, "a", "its name is free");
    f.catalog.lose(old, "gone too", at(51)).wait().unwrap();
    check(&f.catalog, f.user);
}

/// Another document is being published into the file when its version is lost, and is given up.
#[test]
fn earlier_versions_stay_in_reach_where_the_next_one_does_not_come() {
    for ends in [false, true] {
        let f = Fixture::new();
        let (first, _) = f.complete("doc", 7);
        let second = f.replace("doc");
        let node_id = f.document(first).node_id.unwrap();
        let (third, _) = f.begin_replacing("doc", NodeWish::default()).unwrap();
        f.catalog.lose(second, "gone", at(50)).wait().unwrap();
        assert!(check(&f.catalog, f.user).is_empty());
        if ends {
            f.catalog.finish(third, Phase::Cancelled, "", at(51)).wait().unwrap();
        } else {
            f.catalog.return_to_uploading(third, at(51)).wait().unwrap();
        }
        assert_eq!(f.document(first).kept, Kept::OldVersion);
        let page = f.catalog.versions(f.user, NodeRef::Id(node_id), None, 9).wait().unwrap();
        assert_eq!(page.versions[0].version.document_id, first);
        let trash = f.catalog.trash(f.user, None, 9).wait().unwrap().entries;
        assert_eq!(trash.len(), 1);
        assert_eq!((trash[0].node.node_id, trash[0].node.deleted_at), (node_id, Some(at(51))));
        check(&f.catalog, f.user);
        assert_eq!(f.complete("doc", 7).1, "doc", "its name is free");
        check(&f.catalog, f.user);
    }
}

#[test]
fn what_is_removed_is_forgotten_with_its_earlier_versions_in_steps() {
    let f = Fixture::new();
    let mut earlier = Vec::new();
    for n in 0..6 {
        let mut last = f.complete(&format!("top/{}/{n}", n % 2), 7).0;
        for _ in 0..n {
            earlier.push(last);
            last = f.replace(&format!("top/{}/{n}", n % 2));
        }
    }
    let which = NodeRef::Path(NodePath::typed("top").unwrap());
    let guard = RemovalGuard { recursive: true, ..RemovalGuard::default() };
    let root = f.catalog.begin_removal(f.user, which, guard, at(50)).wait().unwrap().node.node_id;
    f.catalog.finish_move(root, at(51)).wait().unwrap();
    let (mut met, mut steps) = (Vec::new(), 0);
    while !f.catalog.forget_trash(f.user, root, 2).wait().unwrap() {
        let page = f.catalog.versions_in_trash(f.user, root, 2).wait().unwrap();
        assert!(page.len() <= 2);
        // Their rows stay until their files are deleted.
        assert!(page.iter().all(|id| f.catalog.document(*id).wait().unwrap().is_some()));
        met.extend(page.iter().copied());
        f.catalog.forget_versions(page).wait().unwrap();
        steps += 1;
        assert!(steps < 50, "it ends");
    }
    met.sort();
    earlier.sort();
    assert_eq!(met, earlier, "each once");
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        f.by_hand().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(["nodes", "versions", "documents"].map(rows), [0, 0, 0]);
    assert_eq!(f.catalog.versions_in_trash(f.user, root, 2).wait().unwrap(), []);
}

#[test]
fn versions_expire_by_the_rule_and_are_forgotten_with_their_documents() {
    let f = Fixture::new();
    let (first, _) = f.complete("a", 7);
    let second = f.replace("a");
    let third = f.replace("a");
    let (kept, _) = f.complete("b", 7);
    let other = f.replace("b");
    let rule = Retention::default();
    let expired =
        |after, now, limit| f.catalog.expired_versions(after, rule, now, limit).wait().unwrap();
    assert_eq!(expired(None, at(1000), 99).versions, []);
    let day = Duration::from_secs(24 * 3600);
    let later = at(40).plus(day + day);
    assert_eq!(expired(None, later, 99).versions, [(f.user, first)], "the last of an hour stays");
    let page = expired(None, later, 1);
    assert_eq!(page.versions, [(f.user, first)], "all versions of a file are looked at");
    assert_eq!(expired(page.next, later, 1).versions, []);
    let month = at(40).plus(31 * day);
    let all = expired(None, month, 99).versions;
    assert_eq!(all, [(f.user, first), (f.user, second), (f.user, kept)]);
    // One that is a version of today is not forgotten.
    f.catalog.forget_versions(vec![first, second, third, other]).wait().unwrap();
    assert_eq!(f.catalog.document(first).wait().unwrap(), None);
    assert_eq!(f.versions_of("a"), [third]);
    assert_eq!(f.versions_of("b"), [other, kept]);
    check(&f.catalog, f.user);
}
