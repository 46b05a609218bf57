//! A listing shows only what a client asks for: kinds, and names that a pattern matches.

use std::collections::BTreeMap;
use towline_protocol::request::{List, Request, Upload};
use towline_protocol::{Code, Node};
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_types::NodeKind;

async fn put(client: &mut RawClient, place: &str) {
    let test_file = TestFile::new(10, 1);
    let (folder, filename) = place.rsplit_once('/').unwrap_or(("", place));
    client.upload(Upload { folder: names(folder), ..upload(filename, &test_file) }).await;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

fn path(node: &Node) -> String {
    node.folder.iter().chain([&node.name]).cloned().collect::<Vec<_>>().join("/")
}

/// The paths of all that a listing shows, asked for as its `next` says.
async fn paths(client: &mut RawClient, list: List) -> Vec<String> {
    let (mut paths, mut after) = (Vec::new(), None);
    loop {
        let (_, entries, next) = client.list(List { after, ..list.clone() }).await;
        paths.extend(entries.iter().map(path));
        after = next;
        if after.is_none() {
            return paths;
        }
    }
}

fn of_kinds(kinds: &[NodeKind]) -> List {
    List { path: Some(Vec::new()), kinds: Some(kinds.to_vec()), ..List::default() }
}

fn named(pattern: &str) -> List {
    List { path: Some(Vec::new()), name: Some(pattern.to_owned()), ..List::default() }
}

fn below(list: List) -> List {
    List { recursive: true, ..list }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_shows_the_kinds_and_the_names_that_were_asked_for() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    for place in ["a/b/deep.pdf", "a/b/note.txt", "a/Report.PDF", "top.pdf", "top.txt"] {
        put(&mut client, place).await;
    }
    client.link("a/latest.pdf", "Report.PDF").await;
    let files = [NodeKind::File];
    let all_pdf = ["a/b/deep.pdf", "a/latest.pdf", "a/Report.PDF", "top.pdf"];
    for (list, shown) in [
        (of_kinds(&files), &["top.pdf", "top.txt"][..]),
        (of_kinds(&[NodeKind::Folder]), &["a"]),
        (below(of_kinds(&[NodeKind::Folder])), &["a", "a/b"]),
        (below(of_kinds(&[NodeKind::Link, NodeKind::Folder])), &["a", "a/b", "a/latest.pdf"]),
        // What lies in a folder that is left out is listed.
        (below(named("*.pdf")), &all_pdf),
        (below(named("*.PDF")), &all_pdf),
        (below(List { kinds: Some(files.to_vec()), ..named("?????.pdf") }), &[]),
        (
            below(List { kinds: Some(files.to_vec()), ..named("*p*.pdf") }),
            &["a/b/deep.pdf", "a/Report.PDF", "top.pdf"],
        ),
        (below(named("b")), &["a/b"]),
        (below(named("nothing")), &[]),
    ] {
        for limit in [None, Some(1)] {
            let list = List { limit, ..list.clone() };
            assert_eq!(paths(&mut client, list.clone()).await, shown, "{list:?}");
        }
    }
    client.remove("top.pdf").await;
    client.remove("a").await;
    let trash = List { trash: true, path: None, ..named("*.pdf") };
    assert_eq!(paths(&mut client, trash).await, ["top.pdf"]);
    let trash = List { trash: true, path: None, ..of_kinds(&[NodeKind::Folder]) };
    assert_eq!(paths(&mut client, trash).await, ["a"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_nothing_can_match_is_refused_by_its_field() {
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let long = "a".repeat(256);
    let mut refused = BTreeMap::new();
    for list in [of_kinds(&[]), named(""), named("a/b"), named("a\u{7}"), named(&long)] {
        client.send(&Request::List(list)).await;
        let error = client.error(Code::BadRequest).await;
        *refused.entry(error.field.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(refused, BTreeMap::from([("kinds".to_owned(), 1), ("name".to_owned(), 4)]));
    // A star alone is not expensive, however often it stands there.
    put(&mut client, &"a".repeat(255)).await;
    assert!(paths(&mut client, named(&format!("{}b", "*a".repeat(120)))).await.is_empty());
    server.stop().await;
}
