//! Folders, links, moves, removals and restorations, as a client sees them, and that the log of
//! changes leads to the same tree.

use towline_protocol::request::{Link, List, Mkdir, Move, Remove, Request, Restore, Stat, Upload};
use towline_protocol::{Code, Reply};
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_tests::tree_audit::assert_tree_is_one;
use towline_types::{ChangeId, LinkTarget, ModifiedTime, NodeKind, OnConflict, PermissionBits};

/// Uploads a file to that place.
async fn put(client: &mut RawClient, place: &str, test_file: &TestFile) {
    let (folder, filename) = place.rsplit_once('/').unwrap_or(("", place));
    client.upload(Upload { folder: names(folder), ..upload(filename, test_file) }).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

/// The paths of all that is there; and the log of changes and the disk say the same.
async fn places(server: &TestServer, client: &mut RawClient) -> Vec<String> {
    assert_tree_is_one(&server.site, &server.user, client).await.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_made_moved_removed_and_restored() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(3000, 1);
    put(&mut client, "proj/src/a.rs", &test_file).await;
    put(&mut client, "readme", &TestFile::new(10, 2)).await;
    assert!(!client.mkdir("proj/empty/deep").await.existing);
    assert!(client.mkdir("proj/empty").await.existing);
    let link = client.link("proj/latest", "src/a.rs").await;
    assert_eq!((link.node.kind, link.path), (NodeKind::Link, names("proj/latest")));
    assert_eq!(
        places(&server, &mut client).await,
        [
            "proj",
            "proj/empty",
            "proj/empty/deep",
            "proj/latest",
            "proj/src",
            "proj/src/a.rs",
            "readme"
        ]
    );
    assert!(server.site.document(&server.user, "proj/empty/deep").is_dir());

    // A folder goes with all that is in it.
    let moved = client.move_node("proj", "work").await;
    assert_eq!((moved.path, moved.existing), (names("work"), false));
    server.site.assert_published(&server.user, "work/src/a.rs", &test_file);
    assert!(!server.site.document(&server.user, "proj").exists());
    assert!(client.move_node("work", "work").await.existing);
    let renamed = client.move_node("work/src/a.rs", "b.rs").await;
    server.site.assert_published(&server.user, "b.rs", &test_file);
    assert_eq!(client.stat_node(renamed.node.node_id).await.path, names("b.rs"));
    client.move_node("b.rs", "work/src/A.rs").await;
    client.move_node("work/src/A.rs", "work/src/a.rs").await;
    assert_eq!(
        places(&server, &mut client).await,
        [
            "readme",
            "work",
            "work/empty",
            "work/empty/deep",
            "work/latest",
            "work/src",
            "work/src/a.rs"
        ]
    );

    // And into the trash, and back.
    let removed = client.remove("work").await;
    assert!(removed.node.deleted_at.is_some() && removed.path.is_empty());
    assert_eq!(places(&server, &mut client).await, ["readme"]);
    assert!(!server.site.document(&server.user, "work").exists());
    let trash = client.trash().await;
    assert_eq!(trash.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["work"]);
    put(&mut client, "work", &TestFile::new(20, 3)).await;
    let restored = client.restore(removed.node.node_id).await;
    assert_eq!(restored.path, names("work (1)"), "its name is taken");
    server.site.assert_published(&server.user, "work (1)/src/a.rs", &test_file);
    assert!(client.restore(removed.node.node_id).await.existing);
    let gone = client.remove("work (1)/src/a.rs").await;
    client.remove("work (1)").await;
    let back = client.restore(gone.node.node_id).await;
    assert_eq!(back.path, names("a.rs"), "its folder is in the trash");
    server.site.assert_published(&server.user, "a.rs", &test_file);
    assert_eq!(places(&server, &mut client).await, ["a.rs", "readme", "work"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_possible_is_refused_and_changes_nothing() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "proj/a", &TestFile::new(100, 1)).await;
    put(&mut client, "b", &TestFile::new(100, 2)).await;
    client.mkdir("proj/sub").await;
    client.link("ln", "proj").await;
    let before = (places(&server, &mut client).await, server.site.on_disk());
    let path = |path: &str| Some(names(path));
    let moving = |from: &str, to: &str| {
        Request::Move(Move { path: path(from), to: names(to), ..Move::default() })
    };
    let removing = |from: &str| Remove { path: path(from), ..Remove::default() };
    let node = client.stat("proj/a").await.node;
    let proj = client.stat("proj").await.node;
    let refused: Vec<(Request, Code)> = vec![
        (moving("proj", "proj/sub/proj"), Code::Cycle),
        (moving("proj", "proj/proj"), Code::Cycle),
        (moving("b", "proj/a"), Code::Exists),
        (moving("b", "proj/A"), Code::Exists),
        (moving("nothing", "c"), Code::NotFound),
        (moving("b", "nowhere/b"), Code::NotFound),
        (moving("b", ""), Code::BadRequest),
        (moving("", "c"), Code::BadRequest),
        (moving("b", ".."), Code::BadName),
        (
            Request::Move(Move { place_rev: Some(proj.place_rev), ..moved("proj/a", "c") }),
            Code::Conflict,
        ),
        (Request::Remove(removing("proj")), Code::NotEmpty),
        (Request::Remove(removing("")), Code::BadRequest),
        (Request::Remove(removing("proj/nothing")), Code::NotFound),
        (Request::Remove(Remove { version: Some(id(99)), ..removing("b") }), Code::Conflict),
        (
            Request::Remove(Remove {
                seen: Some(proj.place_rev),
                recursive: true,
                ..removing("proj")
            }),
            Code::Unseen,
        ),
        (Request::Mkdir(Mkdir { path: names("b"), mode: None, ..Mkdir::default() }), Code::Exists),
        (
            Request::Mkdir(Mkdir { path: names("b/c"), mode: None, ..Mkdir::default() }),
            Code::Exists,
        ),
        (Request::Mkdir(Mkdir { path: names("PROJ"), ..Mkdir::default() }), Code::Exists),
        (Request::Mkdir(Mkdir { path: names("ln/new/x"), ..Mkdir::default() }), Code::Exists),
        (linking("ln/new/x", OnConflict::Rename), Code::Exists),
        (linking("proj/a/new/x", OnConflict::Replace), Code::Exists),
        (linking("PROJ/a", OnConflict::Reject), Code::Exists),
        (linking("PROJ/a", OnConflict::Skip), Code::Exists),
        (Request::Mkdir(Mkdir { path: names(""), ..Mkdir::default() }), Code::BadRequest),
        (Request::Stat(Stat { path: path(""), ..Stat::default() }), Code::BadRequest),
        (Request::Stat(Stat::default()), Code::BadRequest),
        (
            Request::Stat(Stat { path: path("b"), node_id: Some(node.node_id), ..Stat::default() }),
            Code::BadRequest,
        ),
        (Request::Stat(Stat { path: path("B"), ..Stat::default() }), Code::NotFound),
        (Request::List(List { path: path("nothing"), ..List::default() }), Code::NotFound),
        (
            Request::List(List { path: path(""), limit: Some(10_001), ..List::default() }),
            Code::BadRequest,
        ),
        (
            Request::List(List {
                path: path(""),
                after: Some("\u{7}".to_owned()),
                ..List::default()
            }),
            Code::BadCursor,
        ),
        (Request::Restore(Restore { path: path("nothing"), ..Restore::default() }), Code::NotFound),
    ];
    for (request, code) in refused {
        println!("{request:?}");
        client.tree_refused(&request, code).await;
    }
    let conflict = Request::Remove(Remove { version: Some(id(99)), ..removing("b") });
    let current = client.tree_refused(&conflict, Code::Conflict).await.node;
    assert_eq!(current.map(|node| node.name), Some("b".to_owned()), "what is there is told");
    assert_eq!((places(&server, &mut client).await, server.site.on_disk()), before);

    // A user does not see another one's.
    let bob = server.site.add_user("bob").await;
    let mut theirs = RawClient::login(server.address(), &bob.token).await;
    let stat = Request::Stat(Stat { node_id: Some(node.node_id), ..Stat::default() });
    theirs.tree_refused(&stat, Code::NotFound).await;
    assert!(theirs.tree(10).await.is_empty());
    server.stop().await;
}

fn linking(path: &str, on_conflict: OnConflict) -> Request {
    let target = LinkTarget::new("target").expect("a legal target");
    Request::Link(Link { channel: ZERO, path: names(path), target, mtime_ms: None, on_conflict })
}

fn moved(from: &str, to: &str) -> Move {
    Move { path: Some(names(from)), to: names(to), ..Move::default() }
}

fn id(number: u64) -> towline_types::DocumentId {
    towline_types::DocumentId::try_from(number).expect("a legal number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_is_kept_with_a_folder_and_set_again() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let mode = |bits| Some(PermissionBits::of_mode(bits));
    let request = |bits| Mkdir { path: names("a"), mode: mode(bits), ..Mkdir::default() };
    client.send(&Request::Mkdir(request(0o750))).await;
    client.reply_on(ZERO).await;
    assert_eq!(client.stat("a").await.node.mode, mode(0o750));
    client.send(&Request::Mkdir(request(0o700))).await;
    client.reply_on(ZERO).await;
    assert_eq!(client.stat("a").await.node.mode, mode(0o700));
    assert_eq!(places(&server, &mut client).await, ["a"]);
    server.stop().await;
}

/// What is said again, since its answer was lost, is answered as the first time.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_made_is_there_whatever_the_request_goes_by() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "proj/a", &TestFile::new(100, 1)).await;
    let node = client.stat("proj/a").await.node;
    let by_number =
        |to: &str| Move { node_id: Some(node.node_id), to: names(to), ..Move::default() };
    for existing in [false, true] {
        let place_rev = Some(node.place_rev);
        client.send(&Request::Move(Move { place_rev, ..by_number("b") })).await;
        match client.reply_on(ZERO).await {
            Reply::Move(answer) => {
                assert_eq!((answer.existing, answer.path), (existing, names("b")))
            }
            other => panic!("not moved but {other:?}"),
        }
    }
    let elsewhere = Move { place_rev: Some(node.place_rev), ..by_number("c") };
    client.tree_refused(&Request::Move(elsewhere), Code::Conflict).await;
    let place_rev = Some(client.stat("b").await.node.place_rev);
    for existing in [false, true] {
        let node_id = Some(node.node_id);
        let remove = Remove { node_id, place_rev, seen: place_rev, ..Remove::default() };
        client.send(&Request::Remove(remove)).await;
        match client.reply_on(ZERO).await {
            Reply::Remove(answer) => assert_eq!(answer.existing, existing),
            other => panic!("not removed but {other:?}"),
        }
    }
    // The trash is one list, with or without the word for what lies below.
    let trash = List { trash: true, recursive: true, ..List::default() };
    client.remove("proj").await;
    assert_eq!(client.list(trash).await.1, client.trash().await);
    assert_eq!(client.trash().await.len(), 2);
    server.stop().await;
}

/// A client that has not seen what another one has changed removes nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_whatever_kind_that_was_not_seen_stops_a_removal() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let mut other = server.client().await;
    let test_file = TestFile::new(3000, 1);
    put(&mut client, "proj/sub/a", &test_file).await;
    put(&mut client, "away", &test_file).await;
    let mut seen = client.changes(None, 100).await.1;
    let described = |bits, mtime| {
        Request::Upload(Upload {
            folder: names("proj/sub"),
            blake3: Some(test_file.hash()),
            mode: Some(PermissionBits::of_mode(bits)),
            mtime_ms: Some(ModifiedTime::from_ms(mtime)),
            ..upload("a", &test_file)
        })
    };
    let mode = Some(PermissionBits::of_mode(0o711));
    let mkdir = Request::Mkdir(Mkdir { path: names("proj/sub"), mode, ..Mkdir::default() });
    for change in 0..5 {
        match change {
            0 | 1 => {
                other.send(&described(0o600, change)).await;
                assert!(other.success_on(ZERO).await.existing);
            }
            2 => {
                other.send(&mkdir).await;
                assert!(matches!(other.reply_on(ZERO).await, Reply::Mkdir(_)));
            }
            3 => drop(other.move_node("away", "proj/sub/b").await),
            _ => put(&mut other, "proj/c", &test_file).await,
        }
        let (changes, next) = client.changes(Some(&seen), 100).await;
        let last = changes.last().expect("a change").change_id;
        let remove = |seen: u64| Remove {
            path: Some(names("proj")),
            seen: Some(ChangeId::try_from(seen).expect("a legal number")),
            recursive: true,
            ..Remove::default()
        };
        let before = Request::Remove(remove(last.get() - 1));
        let count = client.tree_refused(&before, Code::Unseen).await.count;
        assert_eq!(count, Some(1), "{change}");
        if change == 4 {
            client.send(&Request::Remove(remove(last.get()))).await;
            assert!(matches!(client.reply_on(ZERO).await, Reply::Remove(_)));
        }
        seen = next;
    }
    assert!(places(&server, &mut client).await.is_empty());
    server.stop().await;
}

/// An upload into a folder that is moved on its way arrives where it was to go: the folder is made
/// anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_move_of_its_folder_do_not_disturb_each_other() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "proj/a", &TestFile::new(100, 1)).await;
    let late = TestFile::new(5000, 2);
    client.upload(Upload { folder: names("proj"), ..upload("late", &late) }).await;
    client.chunks(ZERO, &late, 0..late.size()).await;
    let mut other = server.client().await;
    other.move_node("proj", "moved").await;
    client.complete(ZERO).await;
    assert_eq!(places(&server, &mut client).await, ["moved", "moved/a", "proj", "proj/late"]);
    server.site.assert_published(&server.user, "proj/late", &late);
    server.stop().await;
}

/// A person knows a path, and not what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_is_asked_for_by_the_path_that_it_had() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let (a, b) = (TestFile::new(3000, 1), TestFile::new(3000, 2));
    put(&mut client, "docs/proj/a.txt", &a).await;
    put(&mut client, "docs/proj/b.txt", &b).await;
    let restore = |path: &str| Restore { path: Some(names(path)), ..Restore::default() };
    let there = client.restore_by(restore("docs/proj/a.txt")).await;
    assert!(there.existing, "it was never removed");
    assert_eq!(there.path, names("docs/proj/a.txt"));
    client.remove("docs/proj/b.txt").await;
    let proj = client.remove("docs/proj").await.node;
    let with = Request::Restore(restore("docs/proj/a.txt"));
    let refused = client.tree_refused(&with, Code::BadState).await;
    assert_eq!(refused.node.map(|node| node.node_id), Some(proj.node_id));
    assert!(refused.message.contains("\"docs/proj\""), "{}", refused.message);
    let trash = client.trash().await;
    let paths: Vec<_> = trash.iter().map(|node| (node.folder.join("/"), &*node.name)).collect();
    assert_eq!(paths, [("docs/proj".to_owned(), "b.txt"), ("docs".to_owned(), "proj")]);
    // It was removed before its folder was, and comes back alone.
    let alone = client.restore_by(restore("docs/proj/b.txt")).await;
    assert_eq!(alone.path, names("b.txt"));
    client.restore_by(restore("docs/proj")).await;
    server.site.assert_published(&server.user, "docs/proj/a.txt", &a);
    server.site.assert_published(&server.user, "b.txt", &b);
    for path in ["docs/proj/nothing", "nothing"] {
        client.tree_refused(&Request::Restore(restore(path)), Code::NotFound).await;
    }
    server.stop().await;
}

/// A version that was replaced is kept for 30 days, also where the one that replaced it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_lost_comes_back_with_a_version_that_is_kept() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let nights: Vec<_> = (1..=4).map(|seed| TestFile::new(3000, seed)).collect();
    let replace = |night| Upload { on_conflict: OnConflict::Replace, ..upload("doc", night) };
    for night in &nights[..3] {
        client.upload(replace(night)).await;
        client.chunks(ZERO, night, 0..night.size()).await;
        client.complete(ZERO).await;
    }
    let versions = client.versions("doc").await;
    // Somebody removes the file by hand, and the server finds that out.
    std::fs::remove_file(server.site.document(&server.user, "doc")).unwrap();
    put(&mut client, "doc", &nights[3]).await;
    let trash = client.trash().await;
    assert_eq!(
        trash.iter().map(|node| (&*node.name, node.version)).collect::<Vec<_>>(),
        [("doc", None)]
    );
    let path = Some(names("doc"));
    let back = client.restore_by(Restore { path: path.clone(), ..Restore::default() }).await;
    assert_eq!(back.path, names("doc (1)"), "its name is taken");
    server.site.assert_published(&server.user, "doc (1)", &nights[1]);
    let kept: Vec<_> = client.versions("doc (1)").await.iter().map(|one| one.version).collect();
    assert_eq!(kept, [versions[1].version, versions[2].version]);
    assert_eq!(places(&server, &mut client).await, ["doc", "doc (1)"]);

    // Where the file of that version is gone as well, with the one before.
    client.move_node("doc (1)", "old").await;
    std::fs::remove_file(server.site.document(&server.user, "old")).unwrap();
    put(&mut client, "old", &nights[3]).await;
    let oldest = Restore { version: Some(versions[2].version), ..Restore::default() };
    let back = client.restore_by(Restore { node_id: Some(back.node.node_id), ..oldest }).await;
    assert_eq!(back.path, names("old (1)"));
    server.site.assert_published(&server.user, "old (1)", &nights[0]);
    server.stop().await;
}

/// An operator, another program or a crash may leave something where a user sees nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_row_knows_is_in_nobodys_way_and_is_not_written_over() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(3000, 1);
    for place in ["doc", "photos/1.jpg", "other"] {
        put(&mut client, place, &test_file).await;
    }
    let strange = |place: &str| server.site.document(&server.user, place);
    for place in ["doc", "photos"] {
        client.remove(place).await;
    }
    std::fs::write(strange("doc"), "of another program").unwrap();
    std::fs::write(strange("doc (1)"), "as well").unwrap();
    std::fs::create_dir(strange("photos")).unwrap();
    std::fs::write(strange("photos/note"), "as well").unwrap();
    let restore = |path: &str| Restore { path: Some(names(path)), ..Restore::default() };
    assert_eq!(client.restore_by(restore("doc")).await.path, names("doc (2)"));
    assert_eq!(client.restore_by(restore("photos")).await.path, names("photos (1)"));
    server.site.assert_published(&server.user, "doc (2)", &test_file);
    server.site.assert_published(&server.user, "photos (1)/1.jpg", &test_file);
    assert_eq!(std::fs::read(strange("doc")).unwrap(), b"of another program");
    assert_eq!(std::fs::read(strange("photos/note")).unwrap(), b"as well");

    // An empty folder has nothing to lose.
    for place in ["a", "b", "c", "other (1)"] {
        std::fs::create_dir(strange(place)).unwrap();
    }
    client.move_node("photos (1)", "a").await;
    client.move_node("doc (2)", "b").await;
    put(&mut client, "c", &test_file).await;
    put(&mut client, "other", &TestFile::new(3000, 2)).await;
    for place in ["b", "c"] {
        server.site.assert_published(&server.user, place, &test_file);
    }
    server.site.assert_published(&server.user, "other (1)", &TestFile::new(3000, 2));
    client.tree_refused(&Request::Move(moved("b", "doc")), Code::Exists).await;

    // Nor have empty folders inside each other; a folder that is made is the one that lies there.
    std::fs::create_dir_all(strange("e/f/g")).unwrap();
    put(&mut client, "e", &test_file).await;
    server.site.assert_published(&server.user, "e", &test_file);
    std::fs::create_dir_all(strange("own/deep")).unwrap();
    std::fs::write(strange("own/note"), "of the operator").unwrap();
    assert!(!client.mkdir("own").await.existing);
    put(&mut client, "own/deep/doc", &test_file).await;
    let tree = client.tree(10).await;
    assert!(["own", "own/deep", "own/deep/doc"].iter().all(|place| tree.contains_key(*place)));
    assert_eq!(std::fs::read(strange("own/note")).unwrap(), b"of the operator");
    server.stop().await;
}
