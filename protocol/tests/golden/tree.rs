//! What is asked and said of files, folders and links.

use crate::values::*;
use towline_protocol::error::{Code, ErrorReply};
use towline_protocol::frame::Channel;
use towline_protocol::reply::{Listing, NodeAnswer, Reply, Version, Versions as VersionsReply};
use towline_protocol::request::{
    Link, List, Mkdir, Move, Remove, Request, Restore, Stat, Versions,
};
use towline_protocol::{Node, request};
use towline_types::{LinkTarget, ModifiedTime, NodeKind, OnConflict, PermissionBits};

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let report = || Some(names(&["proj", "report.csv"]));
    let latest = Link {
        channel: Channel(0),
        path: names(&["proj", "latest"]),
        target: target("report.csv"),
        mtime_ms: None,
        on_conflict: OnConflict::Rename,
    };
    let latest_full = Link {
        channel: Channel(7),
        target: target("../ü"),
        mtime_ms: Some(ModifiedTime::from_ms(-1)),
        on_conflict: OnConflict::Replace,
        ..latest.clone()
    };
    let list_full = List {
        channel: Channel(7),
        path: Some(Vec::new()),
        recursive: true,
        kinds: Some(vec![NodeKind::File, NodeKind::Link]),
        name: Some("*.csv".into()),
        limit: Some(2),
        after: Some("proj/a".into()),
        ..List::default()
    };
    let move_full = Move {
        channel: Channel(7),
        node_id: Some(node(3)),
        to: names(&["proj", "a", "proj"]),
        place_rev: Some(change(12)),
        ..Move::default()
    };
    let remove_full = Remove {
        channel: Channel(7),
        node_id: Some(node(7)),
        version: Some(document(123)),
        place_rev: Some(change(12)),
        seen: Some(change(15)),
        recursive: true,
        ..Remove::default()
    };
    let versions_full = Versions {
        channel: Channel(7),
        node_id: Some(node(7)),
        limit: Some(10_000),
        after: Some("119".into()),
        ..Versions::default()
    };
    let a = Mkdir { path: names(&["proj", "a"]), ..Mkdir::default() };
    let a_full = Mkdir { channel: Channel(7), mode: Some(mode(0o755)), ..a.clone() };
    let (channel, proj) = (Channel(7), Some(names(&["proj"])));
    vec![
        ("list", Request::List(List { path: proj.clone(), ..List::default() })),
        ("list-full", Request::List(list_full)),
        ("list-node", Request::List(List { node_id: Some(node(3)), ..List::default() })),
        ("list-trash", Request::List(List { trash: true, ..List::default() })),
        ("stat", Request::Stat(Stat { path: report(), ..Stat::default() })),
        ("stat-node", Request::Stat(Stat { channel, node_id: Some(node(7)), path: None })),
        ("mkdir", Request::Mkdir(a)),
        ("mkdir-full", Request::Mkdir(a_full)),
        ("link", Request::Link(latest)),
        ("link-full", Request::Link(latest_full)),
        (
            "move",
            Request::Move(Move { path: report(), to: names(&["report.csv"]), ..Move::default() }),
        ),
        ("move-full", Request::Move(move_full)),
        ("remove", Request::Remove(Remove { path: proj, ..Remove::default() })),
        ("remove-full", Request::Remove(remove_full)),
        (
            "restore",
            Request::Restore(Restore {
                path: report(),
                version: Some(document(119)),
                ..Restore::default()
            }),
        ),
        (
            "restore-node",
            Request::Restore(Restore { channel, node_id: Some(node(3)), ..Restore::default() }),
        ),
        ("versions", Request::Versions(Versions { path: report(), ..Versions::default() })),
        ("versions-full", Request::Versions(versions_full)),
    ]
}

/// The folder that the golden answers speak of.
pub(crate) fn proj() -> Node {
    Node {
        node_id: node(3),
        parent_id: None,
        kind: NodeKind::Folder,
        name: "proj".into(),
        folder: Vec::new(),
        version: None,
        size: None,
        blake3: None,
        held: None,
        mtime_ms: None,
        mode: Some(mode(0o755)),
        target: None,
        place_rev: change(11),
        content_rev: change(11),
        deleted_at: None,
    }
}

/// The same in the trash.
pub(crate) fn removed_proj() -> Node {
    let deleted_at = Some(moment(1_705_417_700_000));
    Node { place_rev: change(16), deleted_at, ..proj() }
}

/// The file in that folder.
pub(crate) fn report() -> Node {
    Node {
        node_id: node(7),
        parent_id: Some(node(3)),
        kind: NodeKind::File,
        name: "report.csv".into(),
        version: Some(document(123)),
        size: Some(size(1_048_576)),
        blake3: Some(hash(HASH_OF_1_BLOCK)),
        held: None,
        mtime_ms: Some(ModifiedTime::from_ms(1_705_331_200_123)),
        mode: Some(mode(0o644)),
        place_rev: change(12),
        content_rev: change(12),
        ..proj()
    }
}

/// The link in that folder.
fn latest() -> Node {
    Node {
        node_id: node(8),
        parent_id: Some(node(3)),
        kind: NodeKind::Link,
        name: "latest".into(),
        mode: None,
        target: Some(target("report.csv")),
        place_rev: change(13),
        content_rev: change(13),
        ..proj()
    }
}

pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let list = Listing {
        channel: Channel(0),
        node: Some(Box::new(proj())),
        entries: vec![latest(), report()],
        end: false,
        next: None,
    };
    let recursive = Listing {
        channel: Channel(7),
        node: None,
        entries: vec![proj(), Node { folder: names(&["proj"]), ..report() }],
        end: true,
        next: Some("proj/report.csv".into()),
    };
    let empty =
        Listing { channel: Channel(0), node: None, entries: Vec::new(), end: true, next: None };
    let current = Version {
        version: document(123),
        size: size(1_048_576),
        blake3: hash(HASH_OF_1_BLOCK),
        created_at: moment(1_705_331_256_000),
        held: None,
        mtime_ms: Some(ModifiedTime::from_ms(1_705_331_200_123)),
        current: true,
        keep_until: None,
    };
    let older = Version {
        version: document(119),
        size: size(2048),
        blake3: hash(HASH_OF_4_BLOCKS),
        created_at: moment(1_705_244_856_000),
        held: None,
        mtime_ms: None,
        current: false,
        keep_until: Some(moment(1_705_849_656_000)),
    };
    let versions = VersionsReply {
        channel: Channel(0),
        node: Some(Box::new(report())),
        versions: vec![current, older],
        end: false,
        next: None,
    };
    let versions_end = VersionsReply {
        channel: Channel(7),
        node: None,
        versions: Vec::new(),
        end: true,
        next: Some("119".into()),
    };
    let answer = |node, path: &[&str]| NodeAnswer {
        channel: Channel(0),
        node: Box::new(node),
        path: names(path),
        existing: false,
    };
    let in_proj = ["proj", "report.csv"];
    vec![
        ("list", Reply::List(list)),
        ("list-recursive", Reply::List(recursive)),
        ("list-empty", Reply::List(empty)),
        ("stat", Reply::Stat(answer(report(), &in_proj))),
        ("mkdir", Reply::Mkdir(NodeAnswer { existing: true, ..answer(proj(), &["proj"]) })),
        ("link", Reply::Link(answer(latest(), &["proj", "latest"]))),
        ("move", Reply::Move(answer(report(), &in_proj))),
        ("remove", Reply::Remove(answer(removed_proj(), &[]))),
        ("restore", Reply::Restore(answer(proj(), &["proj"]))),
        ("versions", Reply::Versions(versions)),
        ("versions-end", Reply::Versions(versions_end)),
    ]
}

pub(crate) fn errors() -> Vec<(&'static str, ErrorReply)> {
    vec![
        (
            "error-conflict",
            ErrorReply {
                node: Some(Box::new(report())),
                ..ErrorReply::new(Code::Conflict, "the file has another version by now")
            },
        ),
        (
            "error-exists-in-folder",
            ErrorReply {
                field: Some("folder".into()),
                node: Some(Box::new(latest())),
                ..ErrorReply::new(Code::Exists, "a link has the name of the folder \"latest\"")
            },
        ),
        (
            "error-unseen",
            ErrorReply {
                count: Some(2),
                ..ErrorReply::new(
                    Code::Unseen,
                    "2 files in \"notes\" are newer than what you have seen; nothing was removed",
                )
            },
        ),
    ]
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn mode(bits: u32) -> PermissionBits {
    PermissionBits::try_from(bits).unwrap()
}

fn target(text: &str) -> LinkTarget {
    LinkTarget::new(text).unwrap()
}

#[test]
fn a_request_names_one_thing() {
    use towline_protocol::request::{BadTarget, Listed, ReadTarget, Target};
    let parse = |text: &str| Request::parse(text.as_bytes()).unwrap();
    let of_stat = |text: &str| match parse(text) {
        Request::Stat(stat) => stat.target(),
        other => panic!("{other:?}"),
    };
    let path = towline_types::NodePath::typed("proj/a").unwrap();
    assert_eq!(of_stat(r#"{"action":"stat","path":["proj","a"]}"#), Ok(Target::Path(path)),);
    assert_eq!(of_stat(r#"{"action":"stat","node_id":7}"#), Ok(Target::Node(node(7))));
    for text in [r#"{"action":"stat"}"#, r#"{"action":"stat","path":[],"node_id":7}"#] {
        assert_eq!(of_stat(text), Err(BadTarget::NotOne), "{text}");
    }
    for name in ["..", "a/b", "", "a\\u0000b"] {
        let text = format!(r#"{{"action":"stat","path":["{name}"]}}"#);
        assert!(matches!(of_stat(&text), Err(BadTarget::Name(_))), "{text}");
    }

    let of_list = |list: request::List| list.listed();
    assert_eq!(of_list(List { trash: true, ..List::default() }), Ok(Listed::Trash));
    let both = List { trash: true, node_id: Some(node(3)), ..List::default() };
    assert_eq!(of_list(both), Err(BadTarget::NotOne));
    assert_eq!(of_list(List::default()), Err(BadTarget::NotOne));

    let of_read = |read: request::Read| read.target();
    let version = request::Read { document_id: Some(document(5)), ..Default::default() };
    assert_eq!(of_read(version.clone()), Ok(ReadTarget::Version(document(5))));
    let both = request::Read { path: Some(Vec::new()), ..version };
    assert_eq!(of_read(both), Err(BadTarget::NotOne));
}
