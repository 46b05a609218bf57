//! `towline get` from a server that lies: a clear error for each lie, nothing outside of the chosen
//! folder, and memory that does not grow with what it lists.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use towline_protocol::Channel;
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::server::TestServer;
use towline_types::block::hash_block;
use towline_types::{BlockIndex, FileSize, Offset};

const BYTES: &[u8] = b"hello";

/// A server that answers each request with the frames that `answer` returns.
pub(super) fn rogue(answer: impl Fn(&Value) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Value) -> Vec<u8>) {
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    loop {
        match decoder.next_part().unwrap() {
            Some(Part::Control(json)) => {
                let request: Value = serde_json::from_slice(json).unwrap();
                let said = match request["action"].as_str() {
                    Some("hello") => frame::control(&welcome()),
                    Some("ping") => frame::control(&json!({"action": "ping"})),
                    _ => answer(&request),
                };
                if stream.write_all(&said).is_err() {
                    return;
                }
            }
            Some(other) => panic!("{other:?}"),
            None => match stream.read(decoder.space()) {
                Ok(0) | Err(_) => return,
                Ok(count) => decoder.filled(count),
            },
        }
    }
}

fn welcome() -> Value {
    json!({"action": "welcome", "version": 1, "server": "x", "user_id": 1, "user": "u",
        "max_filesize": 1_000_000, "chunk_size": 64, "max_chunk_size": 1024,
        "block_size": 1_048_576, "max_channels": 64,
        "features": ["blocks", "read", "tree", "changes", "download_url"]})
}

pub(super) fn hash() -> String {
    blake3::hash(BYTES).to_hex().to_string()
}

/// An entry of a listing; the last name of the path is its own.
pub(super) fn entry(kind: &str, path: &[&str]) -> Value {
    let (name, folder) = path.split_last().unwrap();
    let mut node = json!({"node_id": 9, "kind": kind, "name": name, "place_rev": 1,
        "content_rev": 1});
    if !folder.is_empty() {
        node["folder"] = json!(folder);
    }
    if kind == "file" {
        node["version"] = json!(7);
        node["size"] = json!(BYTES.len());
        node["blake3"] = json!(hash());
    }
    node
}

fn link(name: &str, target: &str) -> Value {
    let mut link = entry("link", &[name]);
    link["target"] = json!(target);
    link
}

fn listing(request: &Value, entries: &[Value], next: Option<&str>) -> Vec<u8> {
    let mut reply = json!({"action": "list", "channel": request["channel"], "end": true,
        "node": entry("folder", &["evil"]), "entries": entries});
    if let Some(next) = next {
        reply["next"] = json!(next);
    }
    frame::control(&reply)
}

/// The right answer to `read`, unless `lie` changes the beginning or the bytes.
fn reading(request: &Value, lie: impl Fn(&mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let channel = u32::try_from(request["channel"].as_u64().unwrap()).unwrap();
    let mut begin = json!({"action": "read", "channel": channel, "document_id": 7,
        "filesize": BYTES.len(), "blake3": hash(), "offset": 0, "length": BYTES.len()});
    let mut bytes = BYTES.to_vec();
    lie(&mut begin, &mut bytes);
    let channel = Channel(channel);
    let mut frames = frame::control(&begin);
    if request["blocks"] == true {
        let filesize = FileSize::try_from(BYTES.len() as u64).unwrap();
        let value = hash_block(BlockIndex::FIRST, filesize, BYTES);
        frames.extend(frame::block(channel, BlockIndex::FIRST, value));
    }
    let length = u32::try_from(bytes.len()).unwrap();
    frames.extend(frame::chunk_head(channel, Offset::ZERO, length));
    frames.extend(bytes);
    let end = json!({"action": "read", "channel": channel, "document_id": 7, "end": true});
    frames.extend(frame::control(&end));
    frames
}

/// A server that lists these entries, and gives out every file as it should.
fn lists(entries: Vec<Value>) -> SocketAddr {
    rogue(move |request| match request["action"].as_str() {
        Some("list") => listing(request, &entries, None),
        _ => reading(request, |_, _| {}),
    })
}

struct Desk {
    _server: TestServer,
    cli: CliFixture,
}

impl Desk {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let cli = CliFixture::new(&server.site, &server.user, server.address());
        std::fs::create_dir(cli.path("back")).unwrap();
        Self { _server: server, cli }
    }

    /// `towline get evil` into the folder `back`; what is in that folder then. Outside of it nothing
    /// has changed.
    async fn gets(&mut self, from: SocketAddr, more: &[&str]) -> (Outcome, BTreeSet<String>) {
        self.fetches(from, &[&["evil"], more].concat()).await
    }

    /// The same with all arguments.
    async fn fetches(&mut self, from: SocketAddr, all: &[&str]) -> (Outcome, BTreeSet<String>) {
        let back = self.cli.path("back");
        std::fs::remove_dir_all(&back).unwrap();
        std::fs::create_dir(&back).unwrap();
        let before = below(&self.cli.path("."), &back);
        self.cli.to = from;
        let mut get = self.cli.at_home("get", &self.cli.path("state"));
        self.cli.reach(&mut get);
        get.args(["--no-sync", "--retries", "2"]).args(all).current_dir(&back);
        let outcome = run(get).await;
        assert_eq!(below(&self.cli.path("."), &back), before, "{outcome:?}");
        let shown = format!("{}{}", outcome.out, outcome.err);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{outcome:?}");
        let names = below(&back, Path::new("none"));
        let name = |path: PathBuf| path.strip_prefix(&back).unwrap().display().to_string();
        (outcome, names.into_iter().map(name).collect())
    }
}

/// Everything below a folder, links not followed.
fn below(folder: &Path, without: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.path() == without {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_out_are_refused_and_the_rest_comes() {
    let mut desk = Desk::new().await;
    let outside = desk.cli.path("outside").display().to_string();
    for bad in ["../x", "..", ".", "/x", &outside, "a/b", "a\\b", "", "\u{1b}[2Ja", "x\n"] {
        // The good one comes first in the order of a server.
        let from = lists(vec![entry("file", &["!good"]), entry("file", &[bad])]);
        for rules in [&[][..], &["--exclude", "*.tmp", "--include", "*"]] {
            let (outcome, names) = desk.gets(from, rules).await;
            outcome.assert_code(1);
            assert!(outcome.err.contains("its name cannot be used"), "{bad:?}: {outcome:?}");
            assert_eq!(names, set(&["evil", "evil/!good"]), "{bad:?}");
        }
    }
    for folder in ["..", "/", "a/../..", "."] {
        let from = lists(vec![entry("file", &["!good"]), entry("file", &[folder, "x"])]);
        let (outcome, names) = desk.gets(from, &[]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("its name cannot be used"), "{folder:?}: {outcome:?}");
        assert_eq!(names, set(&["evil", "evil/!good"]), "{folder:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_only_earlier_rules_allowed_are_left_out_with_all_below_them() {
    let mut desk = Desk::new().await;
    let from = lists(vec![
        entry("file", &["!good"]),
        entry("file", &["a."]),
        entry("folder", &["b "]),
        entry("file", &["b ", "x"]),
        entry("folder", &["b ", "y"]),
        entry("file", &["b ", "y", "con"]),
        entry("folder", &["c"]),
        entry("file", &["c", "con.txt"]),
        entry("file", &["c", "d"]),
        link("e\u{200b}", "!good"),
        entry("file", &["\u{202e}gpj.exe"]),
    ]);
    let (outcome, names) = desk.gets(from, &["--json"]).await;
    outcome.assert_code(1);
    assert_eq!(names, set(&["evil", "evil/!good", "evil/c", "evil/c/d"]), "{outcome:?}");
    let summary = outcome.event("summary");
    assert_eq!((&summary["fetched"], &summary["failed"]), (&2.into(), &5.into()), "{summary}");
    let lines: Vec<_> = outcome.err.lines().collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in &lines {
        assert!(line.contains("its name cannot be used") && line.contains("-o NAME"), "{line}");
    }
    assert!(lines[1].contains("all that lies in this folder is left out"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_name_cannot_be_used_comes_under_another_name() {
    let mut desk = Desk::new().await;
    for (name, has_own_place) in [("con", true), ("a.", true), ("../x", false)] {
        let from = rogue(move |request| match request["action"].as_str() {
            Some("status") => frame::control(&json!({"action": "status", "document_id": 7,
                "channel": request["channel"], "status": "completed", "filename": name,
                "filesize": BYTES.len(), "received": BYTES.len(), "durable": BYTES.len(),
                "active": false, "blake3": hash()})),
            Some("read") => reading(request, |_, _| {}),
            _ => frame::control(&json!({"action": "error", "channel": request["channel"],
                "code": "not_found", "number": 404, "message": "no", "retry": false})),
        });
        let (outcome, names) = desk.fetches(from, &["7"]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("its name cannot be used"), "{name}: {outcome:?}");
        assert_eq!(names, set(&[]), "{name}: {outcome:?}");
        assert_eq!(outcome.err.contains("-o NAME"), has_own_place, "{name}: {outcome:?}");
        let (outcome, names) = desk.fetches(from, &["7", "-o", "other"]).await;
        outcome.assert_code(i32::from(!has_own_place));
        let expected = if has_own_place { &["other"][..] } else { &[] };
        assert_eq!(names, set(expected), "{name}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_into_a_file_or_a_link_of_the_server() {
    let mut desk = Desk::new().await;
    std::fs::create_dir(desk.cli.path("outside")).unwrap();
    let outside = desk.cli.path("outside").display().to_string();
    let links = [(outside.as_str(), false), ("../../outside", false), (".", true)];
    let links = links.map(|(target, is_made)| (link("way", target), is_made));
    for (way, is_made) in [(entry("file", &["way"]), true)].into_iter().chain(links) {
        for below in ["file", "folder", "link"] {
            let mut below = entry(below, &["way", "x"]);
            below["target"] = json!("y");
            let from = lists(vec![way.clone(), below, entry("file", &["way", "x", "z"])]);
            let (outcome, names) = desk.gets(from, &[]).await;
            outcome.assert_code(1);
            let kind = way["kind"].as_str().unwrap();
            assert!(outcome.err.contains("broke the rules of the protocol"), "{outcome:?}");
            assert!(outcome.err.contains(&format!("way/x in a {kind}")), "{outcome:?}");
            let expected = if is_made { &["evil", "evil/way"][..] } else { &["evil"] };
            assert_eq!(names, set(expected), "{outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_none_ends_with_what_is_wrong() {
    let mut desk = Desk::new().await;
    let twice = vec![entry("file", &["a"]), entry("file", &["a"])];
    let backwards = vec![entry("file", &["b"]), entry("file", &["a"])];
    let unlisted = vec![entry("folder", &["Sub"]), entry("file", &["sub", "x"])];
    let itself = (1..=40).map(|depth| entry("folder", &vec!["a"; depth])).collect();
    let other_folder = vec![entry("folder", &["a"]), entry("file", &["b", "x"])];
    let mut bare = entry("file", &["a"]);
    bare.as_object_mut().unwrap().remove("blake3");
    for (what, entries) in [
        ("twice", twice),
        ("backwards", backwards),
        ("a folder under another name", unlisted),
        ("a folder that contains itself", itself),
        ("another folder", other_folder),
        ("a file without its hash", vec![bare]),
    ] {
        let (outcome, names) = desk.gets(lists(entries), &[]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("broke the rules of the protocol"), "{what}: {outcome:?}");
        assert!(names.iter().all(|name| name.starts_with("evil")), "{what}: {names:?}");
    }
    // Pages that never end: without an entry, or from the same place on.
    for entries in [Vec::new(), vec![entry("file", &["a"])]] {
        let from = rogue(move |request| match request["action"].as_str() {
            Some("list") => listing(request, &entries, Some("again")),
            _ => reading(request, |_, _| {}),
        });
        let (outcome, _) = desk.gets(from, &[]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("without an end"), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_end_never_comes_is_an_error() {
    let mut desk = Desk::new().await;
    // As many frames as are too many, and then nothing.
    for (entries, frames) in [(100, 11), (0, 20)] {
        let from = rogue(move |request| {
            let entries: Vec<_> =
                (0..entries).map(|number| entry("folder", &[&format!("{number:05}")])).collect();
            let part = json!({"action": "list", "channel": request["channel"],
                "node": entry("folder", &["evil"]), "entries": entries});
            frame::control(&part).repeat(frames)
        });
        let (outcome, names) = desk.gets(from, &[]).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("an answer without an end"), "{entries}: {outcome:?}");
        assert_eq!(names, set(&[]), "{entries}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_an_end_is_given_up() {
    let mut desk = Desk::new().await;
    // Each page goes on behind the one before.
    let from = rogue(|request| {
        let page: u64 = request["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let entry = |number: u64| {
            let mut link = link(&format!("{page:08} {number}"), "/etc/passwd");
            if request["trash"] == true {
                let order = 10 * page + number + 1;
                (link["node_id"], link["deleted_at"]) = (json!(order), json!(order));
            }
            link
        };
        let entries: Vec<_> = (0..10).map(entry).collect();
        listing(request, &entries, Some(&(page + 1).to_string()))
    });
    let (outcome, names) = desk.gets(from, &["--max-entries", "95", "--json"]).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("more than 95 files, folders and links"), "{outcome:?}");
    assert!(outcome.err.contains("--max-entries"), "{outcome:?}");
    assert_eq!(outcome.event("summary")["skipped"], 95, "{outcome:?}");
    assert_eq!(names, set(&["evil"]));
    for (command, place) in [("ls", "evil"), ("ls", "--trash"), ("verify", ".")] {
        let mut command = desk.cli.at_home(command, &desk.cli.path("state"));
        desk.cli.reach(&mut command);
        command.arg(place).args(["--max-entries", "95"]).current_dir(desk.cli.path("back"));
        let outcome = run(command).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("more than 95 files, folders and links"), "{outcome:?}");
        assert!(outcome.out.lines().count() <= 95, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_bytes_that_lie_leave_no_file() {
    type Lie = fn(&mut Value, &mut Vec<u8>);
    let mut desk = Desk::new().await;
    let lies: [(&str, i32, Lie); 6] = [
        ("other bytes", 4, |_, bytes| bytes[0] = b'j'),
        ("fewer bytes", 1, |_, bytes| bytes.truncate(2)),
        ("more bytes", 3, |_, bytes| bytes.push(b'!')),
        ("another length", 1, |begin, _| begin["filesize"] = json!(6)),
        ("another hash", 1, |begin, _| begin["blake3"] = json!("0".repeat(64))),
        ("another document", 1, |begin, _| begin["document_id"] = json!(8)),
    ];
    for (what, code, lie) in lies {
        let from = rogue(move |request| match request["action"].as_str() {
            Some("list") => listing(request, &[entry("file", &["a"])], None),
            _ => reading(request, lie),
        });
        let (outcome, names) = desk.gets(from, &[]).await;
        outcome.assert_code(code);
        assert!(!outcome.err.is_empty() && !names.contains("evil/a"), "{what}: {outcome:?}");
    }
    // A length that no disk has, and one that only a sparse file has: no memory is taken for it.
    for size in [i64::MAX as u64, 1 << 43] {
        let mut huge = entry("file", &["a"]);
        huge["size"] = json!(size);
        let from = rogue(move |request| match request["action"].as_str() {
            Some("list") => listing(request, std::slice::from_ref(&huge), None),
            _ => frame::control(&json!({"action": "error", "channel": request["channel"],
                "code": "not_found", "number": 404, "message": "no", "retry": false})),
        });
        let (outcome, names) = desk.gets(from, &[]).await;
        outcome.assert_code(1);
        assert_eq!(names, set(&["evil"]), "{size}: {outcome:?}");
    }
}

/// The memory of a process in KiB.
pub(super) fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The memory of `towline get` in KiB, at the tenth page of a listing and at its last one.
async fn memory_while(pages: u64, named: fn(&str) -> Value) -> [u64; 2] {
    const PAGE: u64 = 1000;
    let desk = Desk::new().await;
    let process = Arc::new(AtomicU32::new(0));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (of, into) = (Arc::clone(&process), Arc::clone(&seen));
    let from = rogue(move |request| {
        let after = request["after"].as_str().map_or(0, |after| after.parse().unwrap());
        if after == 10 || after + 1 == pages {
            into.lock().unwrap().push(memory(of.load(Ordering::SeqCst)));
        }
        let entries: Vec<_> = (after * PAGE..(after + 1) * PAGE)
            .map(|number| named(&format!("{number:08}")))
            .collect();
        let next = (after + 1).to_string();
        let next = Some(&*next).filter(|_| after + 1 < pages);
        let mut frames = Vec::new();
        for (place, part) in entries.chunks(100).enumerate() {
            let mut reply = json!({"action": "list", "channel": request["channel"],
                "entries": part});
            if place == 0 {
                reply["node"] = entry("folder", &["evil"]);
            }
            if place == 9 {
                reply["end"] = json!(true);
                next.iter().for_each(|next| reply["next"] = json!(next));
            }
            frames.extend(frame::control(&reply));
        }
        frames
    });
    let mut cli = desk.cli;
    cli.to = from;
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.args(["evil", "--quiet", "--no-sync"]).current_dir(cli.path("back"));
    let mut child = get.spawn().unwrap();
    process.store(child.id().unwrap(), Ordering::SeqCst);
    let ended = tokio::time::timeout(PATIENCE * 10, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    let seen = seen.lock().unwrap().clone();
    println!("{pages} pages of {PAGE}: {seen:?} KiB");
    [seen[0], seen[1]]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_a_million_entries_takes_no_more_memory_than_a_short_one() {
    let pages = if std::env::var_os("TOWLINE_LONG").is_some() { 1000 } else { 150 };
    let [short, long] = memory_while(pages, |name| link(name, "/etc/passwd")).await;
    assert!(long < short + 8 * 1024, "{short} KiB, then {long} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_many_folders_takes_no_more_memory_than_one_of_a_few() {
    let folder = |name: &str| {
        let mut folder = entry("folder", &[name]);
        folder["mode"] = json!(0o750);
        folder
    };
    let [short, long] = memory_while(40, folder).await;
    assert!(long < short + 4 * 1024, "{short} KiB, then {long} KiB");
}
