//! Folders, links, moves, removals and restores: what is refused, and what comes of the rest.

use crate::fixture::{Fixture, at, path, refusal};
use crate::log_checker::{check, whole_log};
use towline_state::CatalogError;
use towline_state::catalog::{
    Changed, Depth, Kept, Located, Made, Move, NodeRef, Op, Refusal, RemovalGuard, Spot,
};
use towline_types::{
    ChangeId, LinkTarget, ModifiedTime, NodeId, NodeKind, NodePath, OnConflict, PermissionBits,
};

fn node_path(text: &str) -> NodePath {
    NodePath::typed(text).unwrap()
}

fn by_path(text: &str) -> NodeRef {
    NodeRef::Path(node_path(text))
}

const RECURSIVE: RemovalGuard =
    RemovalGuard { version: None, place_rev: None, seen: None, recursive: true };

impl Fixture {
    fn node(&self, text: &str) -> towline_state::catalog::Node {
        match self.catalog.locate(self.user, by_path(text)).wait().unwrap() {
            Located::Living { node, path } => {
                assert_eq!(path, node_path(text));
                node
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn is_there(&self, text: &str) -> bool {
        match self.catalog.locate(self.user, by_path(text)).wait() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(refusal(Err::<(), _>(error)), Refusal::NoSuchNode);
                false
            }
        }
    }

    fn folder(&self, text: &str) -> Result<Made, CatalogError> {
        self.catalog.make_folder(self.user, node_path(text), None, at(50)).wait()
    }

    fn begin_move(&self, from: &str, to: &str) -> Result<Move, CatalogError> {
        self.catalog.begin_move(self.user, by_path(from), node_path(to), None, at(60)).wait()
    }

    fn move_to(&self, from: &str, to: &str) {
        let begun = self.begin_move(from, to).unwrap();
        assert_eq!(begun.from, Spot::Living(path(from)));
        assert_eq!(begun.to, Spot::Living(path(to)));
        let node = self.catalog.finish_move(begun.node.node_id, at(61)).wait().unwrap();
        assert_eq!(node, self.node(to));
    }

    fn begin_removal(&self, text: &str, guard: RemovalGuard) -> Result<Move, CatalogError> {
        self.catalog.begin_removal(self.user, by_path(text), guard, at(70)).wait()
    }

    pub(crate) fn remove(&self, text: &str) -> NodeId {
        let begun = self.begin_removal(text, RECURSIVE).unwrap();
        assert_eq!(begun.to, Spot::Trash(begun.node.node_id));
        let node = self.catalog.finish_move(begun.node.node_id, at(71)).wait().unwrap();
        assert_eq!(node.deleted_at, Some(at(71)));
        node.node_id
    }

    fn restore(&self, node: NodeId) -> String {
        let begun = self.catalog.begin_restore(self.user, node, 0, at(80)).wait().unwrap().0;
        let Spot::Living(place) = begun.to else { panic!("{begun:?}") };
        self.catalog.finish_move(node, at(81)).wait().unwrap();
        place.to_string()
    }

    /// What was removed from that place last, and where the node is below it.
    fn removed_from(&self, text: &str) -> Option<(NodeId, String)> {
        match self.catalog.find_in_trash(self.user, node_path(text)).wait().unwrap()? {
            Located::InTrash { root, below, .. } => {
                let below: Vec<_> = below.iter().map(ToString::to_string).collect();
                Some((root, below.join("/")))
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn last_change(&self) -> (Op, Changed, String) {
        let log = whole_log(&self.catalog, self.user, 100);
        let change = log.into_iter().last().unwrap();
        (change.op, change.changed, change.node.name.to_string())
    }
}

#[test]
fn a_document_that_is_completed_is_a_file_in_a_folder() {
    let f = Fixture::new();
    let id = f.create("proj/src/main.rs", 7);
    f.begin(id).unwrap();
    assert!(!f.is_there("proj") && !f.is_there("proj/src/main.rs"), "a name is only kept");
    assert!(check(&f.catalog, f.user).is_empty());
    f.catalog.complete_publish(id, None, at(30)).wait().unwrap();
    let node = f.node("proj/src/main.rs");
    assert_eq!(node.version.unwrap().document_id, id);
    assert_eq!((node.kind, f.document(id).node_id), (NodeKind::File, Some(node.node_id)));
    assert_eq!(f.node("proj").kind, NodeKind::Folder);
    let log = whole_log(&f.catalog, f.user, 2);
    let told: Vec<_> = log.iter().map(|change| change.node.name.as_str()).collect();
    assert_eq!(told, ["proj", "src", "main.rs"], "each behind the folder that it lies in");
    // The second tells of no folder again.
    f.complete("proj/src/lib.rs", 8);
    assert_eq!(check(&f.catalog, f.user).len(), 4);
}

#[test]
fn a_name_that_is_not_needed_leaves_no_folders_behind() {
    let f = Fixture::new();
    let a = f.create("x/y/a", 7);
    f.begin(a).unwrap();
    f.catalog.return_to_uploading(a, at(50)).wait().unwrap();
    assert_eq!(f.complete("x", 7).1, "x", "nothing is in the way");
}

#[test]
fn folders_are_made_once_and_not_beside_a_twin() {
    let f = Fixture::new();
    let mode = Some(PermissionBits::of_mode(0o700));
    let made = f.catalog.make_folder(f.user, node_path("a/b"), mode, at(50)).wait().unwrap();
    assert!(!made.existing);
    assert_eq!((made.node.mode, made.node.clone()), (mode, f.node("a/b")));
    let again = f.folder("a/b").unwrap();
    assert!(again.existing && again.node == made.node);
    f.complete("a/file", 5);
    for (place, taken) in [("A", "a"), ("a/B", "a/b"), ("A/c", "a"), ("a/file", "a/file")] {
        let Refusal::Exists { current } = refusal(f.folder(place)) else { panic!("{place}") };
        assert_eq!(*current, f.node(taken), "{place}");
        let planned = f.catalog.plan_folder(f.user, node_path(place)).wait();
        assert!(matches!(refusal(planned), Refusal::Exists { .. }), "{place}");
    }
    assert_eq!(refusal(f.folder("a/file/x")), Refusal::FolderTaken);
    assert_eq!(f.catalog.plan_folder(f.user, node_path("a/b")).wait().unwrap(), Some(made.node));
    assert_eq!(f.catalog.plan_folder(f.user, node_path("new/er")).wait().unwrap(), None);
    // A name that is kept for a file.
    let kept = f.create("kept", 5);
    f.begin(kept).unwrap();
    assert_eq!(refusal(f.folder("kept")), Refusal::PathTaken);
    // A folder that is only on the way to such a file becomes one on purpose.
    let within = f.create("way/to/file", 5);
    f.begin(within).unwrap();
    assert!(!f.folder("way/to").unwrap().existing);
    f.catalog.complete_publish(within, None, at(31)).wait().unwrap();
    f.catalog.complete_publish(kept, None, at(32)).wait().unwrap();
    check(&f.catalog, f.user);
    // An upload gets the very folder that it asks for, and the names count in both.
    assert_eq!(f.complete("A/FILE", 5).1, "A/FILE (1)");
    assert_eq!(f.complete("A/B", 5).1, "A/B (1)");
    let tree = check(&f.catalog, f.user);
    assert!(tree.contains_key("A/FILE (1)") && tree.contains_key("a/file"));
}

#[test]
fn links_are_rows_alone() {
    let f = Fixture::new();
    let target = |text: &str| LinkTarget::new(text).unwrap();
    let mtime = Some(ModifiedTime::from_ms(-5));
    let link = |place: &str, text: &str, on_conflict| {
        f.catalog.make_link(f.user, path(place), target(text), mtime, on_conflict, at(50)).wait()
    };
    let made = link("a/l", "../x", OnConflict::Reject).unwrap();
    assert!(!made.existing);
    assert_eq!((made.node.kind, made.node.mtime), (NodeKind::Link, mtime));
    assert_eq!(made.node, f.node("a/l"));
    let again = link("a/l", "../x", OnConflict::Reject).unwrap();
    assert!(again.existing && again.node == made.node);
    let taken = refusal(link("a/l", "../y", OnConflict::Skip));
    assert_eq!(taken, Refusal::Exists { current: Box::new(made.node.clone()) });
    let other = link("a/l", "../y", OnConflict::Rename).unwrap();
    assert_eq!(other.node.name.as_str(), "l (1)");
    // The same words twice make one link.
    let again = link("a/l", "../y", OnConflict::Rename).unwrap();
    assert!(again.existing && again.node == other.node);
    assert_eq!(link("a/l", "../w", OnConflict::Rename).unwrap().node.name.as_str(), "l (2)");
    let replaced = link("a/l", "../z", OnConflict::Replace).unwrap().node;
    assert_eq!((replaced.node_id, replaced.target), (made.node.node_id, Some(target("../z"))));
    assert_eq!(f.last_change(), (Op::Update, Changed::Content, "l".to_owned()));
    // Its name is taken for files, and for folders on the way to them.
    assert_eq!(f.complete("a/l", 5).1, "a/l (3)");
    let below = f.create_new(f.new_document("a/l/x", 5), 9);
    assert_eq!(refusal(below), Refusal::FolderTaken);
    check(&f.catalog, f.user);
}

#[test]
fn a_move_is_one_change_whatever_lies_below() {
    let f = Fixture::new();
    let (inner, _) = f.complete("a/b/file", 5);
    f.folder("c").unwrap();
    let (before, last) = (f.node("a/b"), f.catalog.log_head(f.user).wait().unwrap().last);
    f.move_to("a/b", "c/new");
    assert_eq!(f.last_change(), (Op::Update, Changed::Place, "new".to_owned()));
    let now = f.catalog.log_head(f.user).wait().unwrap().last;
    assert_eq!(now.get(), last.get() + 1);
    let node = f.node("c/new");
    assert_eq!((node.node_id, node.place_rev), (before.node_id, now));
    assert_eq!(f.document(inner).file_path, Some(path("c/new/file")));
    // A document that goes there by the old names makes them anew.
    assert_eq!(f.complete("a/b/file", 5).1, "a/b/file");
    // Only the case is another.
    f.move_to("c/new", "c/NEW");
    check(&f.catalog, f.user);
}

#[test]
fn what_a_move_is_refused_for() {
    let f = Fixture::new();
    f.complete("a/b/file", 5);
    f.complete("other", 5);
    f.complete("Twin", 5);
    for (from, to) in [("other", "a/b/file"), ("a/b", "other"), ("other", "twin"), ("a", "TWIN")] {
        let refused = refusal(f.begin_move(from, to));
        assert!(matches!(refused, Refusal::Exists { .. }), "{from} to {to}: {refused:?}");
    }
    for to in ["a/x", "a/b/x", "a/b"] {
        let refused = refusal(f.begin_move("a", to));
        assert!(matches!(refused, Refusal::Cycle | Refusal::Exists { .. }), "{to}: {refused:?}");
    }
    assert_eq!(refusal(f.begin_move("a", "a/b/c")), Refusal::Cycle);
    assert_eq!(refusal(f.begin_move("other", "gone/x")), Refusal::NoSuchFolder);
    assert_eq!(refusal(f.begin_move("gone", "x")), Refusal::NoSuchNode);
    assert_eq!(refusal(f.begin_move("other", "Twin/x")), Refusal::FolderTaken);
    assert_eq!(refusal(f.begin_move("", "x")), Refusal::NoSuchNode);
    assert_eq!(refusal(f.begin_move("other", "")), Refusal::Cycle);
    let other = f.node("other");
    let stale = Some(ChangeId::try_from(99).unwrap());
    let begun = f.catalog.begin_move(f.user, by_path("other"), node_path("x"), stale, at(60));
    assert_eq!(refusal(begun.wait()), Refusal::Conflict { current: Some(Box::new(other)) });
    // Another user's.
    let bob = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let which = NodeRef::Id(f.node("other").node_id);
    let begun = f.catalog.begin_move(bob, which, node_path("x"), None, at(60)).wait();
    assert_eq!(refusal(begun), Refusal::NoSuchNode);
    // As deep as can be, and one deeper.
    let deepest = vec!["d"; 33].join("/");
    f.complete(&deepest, 5);
    f.folder("e").unwrap();
    assert_eq!(refusal(f.begin_move("d", "e/d")), Refusal::TooDeep);
    f.move_to("d", "dd");
    let dd = vec!["d"; 31].join("/");
    assert!(f.is_there(&format!("dd/{dd}/d")));
    check(&f.catalog, f.user);
}

#[test]
fn nothing_is_published_or_moved_where_something_is_being_moved() {
    let f = Fixture::new();
    f.complete("a/b/file", 5);
    f.complete("c/file", 5);
    f.complete("d/file", 5);
    let waits = f.create("a/b/new", 5);
    let there = f.create("c/moved/new", 5);
    let begun = f.begin_move("a", "c/moved").unwrap();
    assert_eq!(refusal(f.begin(waits)), Refusal::Busy, "below what moves");
    assert_eq!(refusal(f.begin(there)), Refusal::Busy, "at the name that it moves to");
    assert_eq!(f.complete("c/moved", 5).1, "c/moved (1)", "the name is kept");
    for (from, to) in [("a/b/file", "x"), ("d", "a/b/d"), ("a", "x"), ("c", "x"), ("d", "c/MOVED")]
    {
        assert_eq!(refusal(f.begin_move(from, to)), Refusal::Busy, "{from} to {to}");
    }
    for text in ["a", "a/b", "c"] {
        assert_eq!(refusal(f.begin_removal(text, RECURSIVE)), Refusal::Busy, "{text}");
    }
    let file = f.node("a/b/file").version.unwrap().document_id;
    assert_eq!(refusal(f.catalog.lose(file, "", at(62)).wait()), Refusal::Busy);
    // It is seen where it was, after a start too.
    assert!(f.is_there("a/b/file") && !f.is_there("c/moved"));
    let moves = f.catalog.moves(None, 9).wait().unwrap();
    assert_eq!(moves, std::slice::from_ref(&begun));
    assert_eq!(f.catalog.moves(Some(begun.node.node_id), 9).wait().unwrap(), []);
    f.catalog.drop_move(begun.node.node_id).wait().unwrap();
    assert_eq!(
        refusal(f.catalog.finish_move(begun.node.node_id, at(63)).wait()),
        Refusal::NoSuchNode
    );
    assert_eq!(f.begin(waits).unwrap().0, path("a/b/new"));
    // And the other way round.
    for (from, to) in [("a", "x"), ("a/b", "x")] {
        assert_eq!(refusal(f.begin_move(from, to)), Refusal::Busy, "{from} to {to}");
    }
    assert_eq!(refusal(f.begin_removal("a", RECURSIVE)), Refusal::Busy);
    f.move_to("d", "e");
    f.catalog.complete_publish(waits, None, at(64)).wait().unwrap();
    f.move_to("a", "x");
    check(&f.catalog, f.user);
}

#[test]
fn what_is_removed_goes_as_a_whole_and_comes_back_as_a_whole() {
    let f = Fixture::new();
    let (file, _) = f.complete("a/b/file", 5);
    f.complete("a/other", 5);
    assert_eq!(refusal(f.begin_removal("a", RemovalGuard::default())), Refusal::NotEmpty);
    let before = check(&f.catalog, f.user);
    let root = f.remove("a");
    assert_eq!(f.last_change(), (Op::Delete, Changed::Place, "a".to_owned()));
    assert!(check(&f.catalog, f.user).is_empty());
    let document = f.document(file);
    let below = ["b", "file"].map(|name| towline_types::Name::new(name).unwrap());
    assert_eq!(document.kept, Kept::InTrash { root, below: below.to_vec() });
    assert_eq!(document.file_path, None);
    let found = f.catalog.in_trash(f.user, root, &below).wait().unwrap().unwrap();
    assert_eq!(found.document_id, file);
    assert_eq!(f.catalog.in_trash(f.user, root, &below[..1]).wait().unwrap(), None);
    let trash = f.catalog.trash(f.user, None, 9).wait().unwrap();
    assert_eq!((trash.entries.len(), trash.next), (1, None));
    assert_eq!(trash.entries[0].folder, Some(NodePath::ROOT));
    let listed =
        f.catalog.list(f.user, NodeRef::Id(root), Depth::Recursive, None, 9).wait().unwrap();
    assert_eq!(listed.entries.len(), 3, "the trash can be looked into");
    // What is in the trash is no copy to be found, and its name is free.
    assert_eq!(
        f.catalog
            .same_bytes(f.user, towline_testkit::size(5), crate::fixture::hash(1))
            .wait()
            .unwrap(),
        []
    );
    assert_eq!(f.complete("a/b/file", 5).1, "a/b/file");
    let second = f.remove("a/b");
    assert_eq!(f.removed_from("a/b"), Some((second, String::new())));
    assert_eq!(f.removed_from("a"), Some((root, String::new())));
    assert_eq!(f.removed_from("x"), None);
    // Its name is taken by now.
    assert_eq!(f.restore(root), "a (1)");
    assert_eq!(f.last_change(), (Op::Create, Changed::Place, "a (1)".to_owned()));
    assert_eq!(f.document(file).file_path, Some(path("a (1)/b/file")));
    assert_eq!(f.restore(second), "a/b");
    let after = check(&f.catalog, f.user);
    assert_eq!(after.len(), before.len() + 3);
    // Where its folder is gone, it comes back to the user's own.
    let file = f.remove("a/b/file");
    f.remove("a");
    assert_eq!(f.restore(file), "file");
    let again = f.catalog.begin_restore(f.user, file, 0, at(90)).wait();
    assert_eq!(refusal(again), Refusal::NoSuchNode);
    check(&f.catalog, f.user);
}

#[test]
fn what_was_removed_is_found_by_the_path_that_it_had() {
    let f = Fixture::new();
    let is_at = |path: &str, root: NodeId, below: &str| {
        assert_eq!(f.removed_from(path), Some((root, below.to_owned())), "{path}");
    };
    for text in ["a/b/one", "a/b/two", "a/b/c/deep"] {
        f.complete(text, 5);
    }
    let one = f.remove("a/b/one");
    let b = f.remove("a/b");
    // With the folder that it lay in, and before it.
    is_at("a/b/two", b, "two");
    is_at("a/b/c/deep", b, "c/deep");
    is_at("A/B/C/Deep", b, "c/deep");
    is_at("a/b/one", one, "");
    assert_eq!(f.removed_from("a/b/two/x"), None);
    assert_eq!(f.removed_from("b/two"), None);
    // The folder around it as well.
    let a = f.remove("a");
    is_at("a/b/two", b, "two");
    is_at("a/b/one", one, "");
    is_at("a", a, "");
    let trash = f.catalog.trash(f.user, None, 9).wait().unwrap().entries;
    let mut told: Vec<_> = trash.iter().map(|entry| entry.path.to_string()).collect();
    told.sort();
    assert_eq!(told, ["a", "a/b", "a/b/one"]);
    assert_eq!(f.catalog.removed_from(f.user, one).wait().unwrap(), node_path("a/b/one"));
    // Of several the one that was removed last.
    f.complete("a/b/two", 5);
    let later = f.remove("a/b/two");
    is_at("a/b/two", later, "");
    is_at("a/b/c/deep", b, "c/deep");
    let bob = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    assert_eq!(f.catalog.find_in_trash(bob, node_path("a")).wait().unwrap(), None);
    // Where the folder is forgotten, it comes back to the user's own, and is found there.
    while !f.catalog.forget_trash(f.user, a, 9).wait().unwrap() {}
    is_at("b/c/deep", b, "c/deep");
    is_at("b", b, "");
    assert_eq!(f.restore(b), "b");
    is_at("b/one", one, "");
}

/// Older versions are kept for the day on which the current one is lost.
#[test]
fn a_file_whose_current_version_was_lost_comes_back_with_the_last_that_is_kept() {
    let f = Fixture::new();
    let versions = [1, 2, 3].map(|_| f.replace("a/doc"));
    let node = f.node("a/doc");
    f.catalog.lose(versions[2], "gone", at(60)).wait().unwrap();
    assert!(!f.is_there("a/doc"));
    assert_eq!(f.removed_from("a/doc"), Some((node.node_id, String::new())));
    let begun = f.catalog.begin_restore(f.user, node.node_id, 0, at(80)).wait().unwrap().0;
    assert_eq!(begun.from, Spot::Version(versions[1]));
    assert_eq!(begun.to, Spot::Living(path("a/doc")));
    // Until the change is true nothing of it is given up, and a start finds it.
    f.catalog.forget_versions(vec![versions[1]]).wait().unwrap();
    assert_eq!(f.catalog.moves(None, 9).wait().unwrap(), std::slice::from_ref(&begun));
    assert_eq!(f.document(versions[1]).kept, Kept::OldVersion);
    let back = f.catalog.finish_move(node.node_id, at(81)).wait().unwrap();
    assert_eq!(back, f.node("a/doc"));
    assert_eq!(back.version.map(|version| version.document_id), Some(versions[1]));
    assert!(back.content_rev > node.content_rev);
    assert_eq!(f.last_change(), (Op::Create, Changed::Both, "doc".to_owned()));
    assert_eq!(f.document(versions[1]).file_path, Some(path("a/doc")));
    let kept = f.catalog.versions(f.user, by_path("a/doc"), None, 9).wait().unwrap().versions;
    let kept: Vec<_> = kept.iter().map(|one| one.version.document_id).collect();
    assert_eq!(kept, [versions[1], versions[0]]);
    check(&f.catalog, f.user);
    // What is on its way to a folder keeps it, also where the last file in it is lost.
    f.complete("b/one", 5);
    let (two, _) = f.complete("b/two", 5);
    let one = f.remove("b/one");
    let (begun, _) = f.catalog.begin_restore(f.user, one, 0, at(82)).wait().unwrap();
    f.catalog.lose(two, "gone", at(83)).wait().unwrap();
    assert_eq!(f.catalog.moves(None, 9).wait().unwrap(), [begun]);
    f.catalog.finish_move(one, at(84)).wait().unwrap();
    assert!(f.is_there("b/one"));
    // And with the one before, until none is left.
    f.catalog.lose(versions[1], "gone", at(90)).wait().unwrap();
    assert_eq!(f.restore(node.node_id), "a/doc");
    f.catalog.lose(versions[0], "gone", at(92)).wait().unwrap();
    assert!(!f.is_there("a/doc"));
    assert_eq!(f.removed_from("a/doc"), None);
    check(&f.catalog, f.user);
}

#[test]
fn a_removal_is_guarded_by_what_was_seen() {
    let f = Fixture::new();
    let (first, _) = f.complete("a/b/file", 5);
    f.complete("a/other", 5);
    let seen = f.catalog.log_head(f.user).wait().unwrap().last;
    let guard = RemovalGuard { seen: Some(seen), ..RECURSIVE };
    f.complete("a/b/new", 5);
    f.complete("elsewhere", 5);
    assert_eq!(refusal(f.begin_removal("a", guard)), Refusal::Unseen { count: 1 });
    assert_eq!(refusal(f.begin_removal("a/b", guard)), Refusal::Unseen { count: 1 });
    let other = RemovalGuard { version: Some(first), ..RemovalGuard::default() };
    let current = Some(Box::new(f.node("a/other")));
    assert_eq!(refusal(f.begin_removal("a/other", other)), Refusal::Conflict { current });
    f.begin_removal("a/b/file", RemovalGuard { version: Some(first), ..guard }).unwrap();
    f.catalog.finish_move(f.node("a/b/file").node_id, at(71)).wait().unwrap();
    let seen = Some(f.catalog.log_head(f.user).wait().unwrap().last);
    f.begin_removal("a", RemovalGuard { seen, ..RECURSIVE }).unwrap();
}

#[test]
fn a_lost_file_takes_the_folders_along_that_were_made_for_it_alone() {
    let f = Fixture::new();
    f.folder("made").unwrap();
    let (first, _) = f.complete("made/a/b/file", 5);
    let (second, _) = f.complete("way/file", 5);
    for id in [first, second] {
        f.catalog.lose(id, "gone", at(50)).wait().unwrap();
    }
    let tree = check(&f.catalog, f.user);
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["made"]);
    assert_eq!(f.last_change(), (Op::Delete, Changed::Place, "way".to_owned()));
    assert_eq!(f.complete("way", 5).1, "way");
}

#[test]
fn metadata_is_a_change_where_it_is_another() {
    let f = Fixture::new();
    f.complete("a", 5);
    let node_id = f.node("a").node_id;
    let (mtime, mode) = (Some(ModifiedTime::from_ms(7)), Some(PermissionBits::of_mode(0o640)));
    let set =
        |mtime, mode| f.catalog.set_metadata(f.user, node_id, mtime, mode, at(50)).wait().unwrap();
    assert!(!set(None, None));
    assert!(set(mtime, None));
    assert!(set(mtime, mode));
    assert!(!set(mtime, mode) && !set(None, mode));
    assert_eq!(f.last_change(), (Op::Update, Changed::Neither, "a".to_owned()));
    let node = f.node("a");
    assert_eq!((node.mtime, node.mode), (mtime, mode));
    check(&f.catalog, f.user);
}

#[test]
fn a_listing_is_ordered_and_goes_on_where_it_stopped() {
    let f = Fixture::new();
    for place in ["b", "B2", "a-b/x", "a/x", "a/y/z", "a.txt", "a b", "A/other", "ä", "c/1"] {
        f.complete(place, 5);
    }
    let names = |which: NodeRef, depth, page| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let listed = f.catalog.list(f.user, which.clone(), depth, after, page).wait().unwrap();
            for entry in listed.entries {
                names.push(entry.folder.join(entry.node.name).unwrap().to_string());
            }
            let Some(next) = listed.next else { return names };
            let text = next.to_string();
            assert!(text.len() <= 8192 && !text.contains(char::is_control), "{text:?}");
            after = Some(text.parse().unwrap());
        }
    };
    let root = || NodeRef::Path(NodePath::ROOT);
    for page in [1, 2, 3, 100] {
        assert_eq!(
            names(root(), Depth::Children, page),
            ["a", "A", "a b", "a-b", "a.txt", "b", "B2", "c", "ä"]
        );
        assert_eq!(
            names(root(), Depth::Recursive, page),
            [
                "a", "a/x", "a/y", "a/y/z", "A", "A/other", "a b", "a-b", "a-b/x", "a.txt", "b",
                "B2", "c", "c/1", "ä"
            ]
        );
        assert_eq!(names(by_path("a"), Depth::Recursive, page), ["x", "y", "y/z"]);
    }
    let refused = f.catalog.list(f.user, by_path("b"), Depth::Children, None, 9).wait();
    assert_eq!(refusal(refused), Refusal::NotAFolder);
    // What was told last may be gone meanwhile, with its folder.
    let first = f.catalog.list(f.user, root(), Depth::Recursive, None, 4).wait().unwrap();
    assert_eq!(first.entries[3].node.name.as_str(), "z");
    f.remove("a/y");
    let rest = f.catalog.list(f.user, root(), Depth::Recursive, first.next, 99).wait().unwrap();
    assert_eq!(rest.entries[0].node.name.as_str(), "A");
    assert_eq!(rest.entries.len(), 11);
}

/// Each step goes by an index: with 20,000 folders, to read all nodes for each of them would take
/// minutes.
#[test]
fn what_is_asked_of_a_large_tree_takes_time_by_its_size_alone() {
    const FOLDERS: i64 = 20_000;
    let f = Fixture::new();
    f.folder("a").unwrap();
    f.folder("other").unwrap();
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < {FOLDERS}) \
         INSERT INTO nodes (node_id, user_id, parent_id, kind, name, name_key, place_rev, \
         content_rev) SELECT i, 1, CASE WHEN i < 200 THEN 1 ELSE i / 100 END, 'folder', \
         'f' || i, 'f' || i, i, i FROM n"
    );
    f.by_hand().execute(&sql, []).unwrap();
    let began = std::time::Instant::now();
    // From a name that is shorter, so that what lies below is measured.
    f.move_to("a", "other/longer");
    let seen = Some(ChangeId::try_from(u64::from(u16::MAX)).unwrap());
    let guard = RemovalGuard { seen, ..RECURSIVE };
    let begun = f.begin_removal("other/longer", guard).unwrap();
    let root = begun.node.node_id;
    f.catalog.finish_move(root, at(71)).wait().unwrap();
    assert_eq!(f.catalog.versions_in_trash(f.user, root, 9).wait().unwrap(), []);
    assert_eq!(f.restore(root), "other/longer");
    let names = [path("other"), path("x")];
    assert_eq!(f.catalog.below_places(f.user, &names).wait().unwrap(), []);
    println!("six questions about {FOLDERS} folders: {:?}", began.elapsed());
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}
