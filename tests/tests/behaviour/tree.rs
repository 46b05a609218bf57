//! Folders, links, moves, removals and restorations, as a client sees them, and that the log of
//! changes leads to the same tree.

use towline_protocol::Code;
use towline_protocol::request::{List, Mkdir, Move, Remove, Request, Restore, Stat, Upload};
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_tests::tree_audit::assert_tree_is_one;
use towline_types::{NodeKind, PermissionBits};

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
