//! `ls`, `verify`, `log` and `versions` of a server that lies: a clear error for each lie, and an
//! end.

use super::get_hostile::{entry, hash, memory, rogue};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use towline_protocol::frame;
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

struct Desk {
    _server: TestServer,
    cli: CliFixture,
}

impl Desk {
    /// `evil` is a folder here, with a file in it.
    async fn new() -> Self {
        let server = TestServer::start().await;
        let cli = CliFixture::new(&server.site, &server.user, server.address());
        cli.write("evil/a", &TestFile::new(5, 990));
        Self { _server: server, cli }
    }

    async fn asks(&mut self, from: SocketAddr, command: &str, arguments: &[&str]) -> Outcome {
        self.cli.to = from;
        let mut asked = self.cli.at_home(command, &self.cli.path("state"));
        self.cli.reach(&mut asked);
        asked.args(arguments).current_dir(self.cli.path("."));
        let outcome = run(asked).await;
        let shown = format!("{}{}", outcome.out, outcome.err);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{outcome:?}");
        outcome
    }

    /// Each of these commands ends with exit code 1 and these words.
    async fn refuse(
        &mut self,
        what: &str,
        from: impl Fn() -> SocketAddr,
        commands: &[&[&str]],
        words: &str,
    ) {
        for command in commands {
            let outcome = self.asks(from(), command[0], &command[1..]).await;
            outcome.assert_code(1);
            assert!(outcome.err.contains("broke the rules of the protocol"), "{what}: {outcome:?}");
            assert!(outcome.err.contains(words), "{what}, {command:?}: {outcome:?}");
        }
    }
}

const LISTINGS: [&[&str]; 2] = [&["ls", "-R", "evil"], &["verify", "evil"]];

/// A part of an answer, with a cursor that was never given before.
fn part(request: &Value, field: &str, entries: &[Value], has_next: bool) -> Vec<u8> {
    static CURSOR: AtomicU64 = AtomicU64::new(0);
    let mut reply = json!({"action": request["action"], "channel": request["channel"], "end": true,
        "node": entry("folder", &["evil"]), field: entries});
    if request["trash"] == true {
        reply.as_object_mut().unwrap().remove("node");
    }
    if has_next {
        reply["next"] = json!(format!("c{}", CURSOR.fetch_add(1, Ordering::Relaxed)));
    }
    frame::control(&reply)
}

/// A server that lists these, once or for ever.
fn lists(entries: &[Value], for_ever: bool) -> SocketAddr {
    let entries = entries.to_vec();
    rogue(move |request| part(request, "entries", &entries, for_ever))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_out_of_order_or_with_a_name_twice_ends_with_what_is_wrong() {
    let mut desk = Desk::new().await;
    let file = |path: &[&str]| entry("file", path);
    let folder = |path: &[&str]| entry("folder", path);
    let itself: Vec<_> = (1..=40).map(|depth| folder(&vec!["a"; depth])).collect();
    for (what, entries) in [
        ("twice", vec![file(&["a"]), file(&["a"])]),
        ("backwards", vec![file(&["b"]), file(&["a"])]),
        ("backwards below", vec![folder(&["a"]), file(&["a", "y"]), file(&["a", "x"])]),
        ("a folder under another name", vec![folder(&["Sub"]), file(&["sub", "x"])]),
        ("a folder that comes later", vec![file(&["b", "x"]), folder(&["b"])]),
        ("a folder that contains itself", itself),
    ] {
        let words = "twice, out of order or too deep";
        desk.refuse(what, || lists(&entries, false), &LISTINGS, words).await;
    }
    // A filter leaves folders out, and nothing else is different.
    let twice = [file(&["a", "x"]), file(&["a", "x"])];
    let filtered: [&[&str]; 1] = [&["ls", "-R", "--name", "x", "evil"]];
    let words = "twice, out of order or too deep";
    desk.refuse("a filter", || lists(&twice, false), &filtered, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_an_end_is_left() {
    let mut desk = Desk::new().await;
    let words = "a listing without an end";
    desk.refuse("no entry", || lists(&[], true), &LISTINGS, words).await;
    let same = [entry("file", &["a"])];
    desk.refuse("the same entry", || lists(&same, true), &LISTINGS, "twice").await;
    // One part of many frames, of which none is the last.
    let endless = || {
        rogue(|request| {
            let part = |first: u32| {
                let names = (first..first + 100).map(|n| entry("file", &[&format!("{n:08}")]));
                frame::control(&json!({"action": "list", "channel": request["channel"],
                    "entries": names.collect::<Vec<_>>()}))
            };
            (0..15).flat_map(|number| part(number * 100)).collect()
        })
    };
    desk.refuse("one part", endless, &LISTINGS, "an answer without an end").await;
    // Names that are none have no order.
    let bad: Vec<_> = (0..150).map(|_| entry("file", &["a\nb"])).collect();
    desk.refuse("bad names", || lists(&bad, true), &[&["ls", "evil"]], words).await;
    let outcome = desk.asks(lists(&bad, true), "verify", &["evil"]).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("its name cannot be used"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trash_that_repeats_itself_is_left() {
    let mut desk = Desk::new().await;
    let trash: [&[&str]; 1] = [&["ls", "--trash"]];
    let removed = |node: u64, at: u64| {
        let mut removed = entry("file", &["a"]);
        (removed["node_id"], removed["deleted_at"]) = (json!(node), json!(at));
        removed
    };
    let words = "twice or out of order";
    for (what, entries) in [
        ("twice", [removed(7, 1000), removed(7, 1000)]),
        ("an earlier removal", [removed(7, 1000), removed(8, 999)]),
        ("an earlier node", [removed(7, 1000), removed(6, 1000)]),
    ] {
        desk.refuse(what, || lists(&entries, false), &trash, words).await;
    }
    desk.refuse("the same", || lists(&[removed(7, 1000)], true), &trash, words).await;
    desk.refuse("nothing", || lists(&[], true), &trash, "a listing without an end").await;
    let good = [removed(9, 1000), removed(7, 2000), removed(8, 2000)];
    let outcome = desk.asks(lists(&good, false), "ls", &["--trash"]).await;
    assert_eq!(outcome.assert_done().out, "a\na\na\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_repeat_themselves_are_left() {
    let mut desk = Desk::new().await;
    let version =
        |number: u64| json!({"version": number, "size": 5, "blake3": hash(), "created_at": 1000});
    let versions: [&[&str]; 1] = [&["versions", "evil"]];
    let lists = |numbers: &[u64], for_ever: bool| {
        let entries: Vec<_> = numbers.iter().map(|number| version(*number)).collect();
        rogue(move |request| part(request, "versions", &entries, for_ever))
    };
    let words = "twice or out of order";
    for (what, numbers) in [("twice", [7, 7]), ("the oldest first", [7, 8])] {
        desk.refuse(what, || lists(&numbers, false), &versions, words).await;
    }
    desk.refuse("the same", || lists(&[7, 6], true), &versions, words).await;
    desk.refuse("nothing", || lists(&[], true), &versions, "a listing without an end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_repeats_itself_is_left() {
    let mut desk = Desk::new().await;
    let log: [&[&str]; 1] = [&["log", "-n", "50"]];
    // The end of the log is asked for first.
    let lists = |changes: &[u64], cursor: &'static str, for_ever: bool| {
        let change = |number: &u64| {
            json!({"change_id": number, "op": "create", "changed": ["place"],
                "node": entry("file", &["a"])})
        };
        let items: Vec<_> = changes.iter().map(change).collect();
        rogue(move |request| {
            let items = if request["since"] == "latest" { &[][..] } else { &items };
            frame::control(&json!({"action": "delta", "channel": request["channel"],
                "items": items, "end": true, "cursor": cursor, "latest": 1000,
                "more": for_ever && request["since"] != "latest"}))
        })
    };
    let words = "twice or out of order";
    for (what, changes) in [("twice", [7, 7]), ("the newest first", [8, 7])] {
        desk.refuse(what, || lists(&changes, "c1.1.1.1000", false), &log, words).await;
    }
    desk.refuse("the same", || lists(&[7, 8], "c1.1.1.1000", true), &log, words).await;
    let words = "a log without an end";
    desk.refuse("nothing", || lists(&[], "c1.1.1.1000", true), &log, words).await;
    for cursor in ["", "x", "c1.1.1.a"] {
        let words = "a cursor of another form";
        desk.refuse("a cursor", || lists(&[7], cursor, false), &log, words).await;
    }
    // What was lost of the log is looked for by halves, and not for ever.
    let lost = rogue(|request| {
        let (action, channel) = (&request["action"], &request["channel"]);
        frame::control(&match request["since"] == "latest" {
            true => json!({"action": action, "channel": channel, "items": [], "end": true,
                "cursor": "c1.1.1.1000", "latest": 1000}),
            false => json!({"action": "error", "channel": channel, "code": "cursor_reset",
                "number": 410, "message": "gone", "retry": false}),
        })
    });
    let outcome = desk.asks(lost, "log", &["-n", "4000000000"]).await;
    assert_eq!(outcome.assert_done().out, "");
    assert!(outcome.err.contains("is in the log of the server no longer"), "{outcome:?}");
    // More changes than were asked for are not shown.
    let many: Vec<_> = (1..=100).collect();
    let outcome = desk.asks(lists(&many, "c1.1.1.1000", true), "log", &["-n", "50"]).await;
    assert_eq!(outcome.assert_done().out.lines().count(), 50, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_is_compared_in_the_memory_of_a_short_one() {
    const PARTS: u64 = 1500;
    let mut desk = Desk::new().await;
    let process = Arc::new(AtomicU32::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (of, into) = (Arc::clone(&process), Arc::clone(&seen));
    desk.cli.to = rogue(move |request| {
        let after = request["after"].as_str().map_or(0, |after| after.parse().unwrap());
        if after == 100 || after + 1 == PARTS {
            into.lock().unwrap().push(memory(of.load(Ordering::SeqCst)));
        }
        let entries = (after * 100..(after + 1) * 100)
            .map(|number| entry("file", &[&format!("{number:08}")]))
            .collect::<Vec<_>>();
        let mut reply = json!({"action": "list", "channel": request["channel"], "end": true,
            "node": entry("folder", &["evil"]), "entries": entries});
        if after + 1 < PARTS {
            reply["next"] = json!((after + 1).to_string());
        }
        frame::control(&reply)
    });
    let mut verify = desk.cli.at_home("verify", &desk.cli.path("state"));
    desk.cli.reach(&mut verify);
    verify.args(["evil", "--quiet"]).current_dir(desk.cli.path("."));
    let mut child = verify.spawn().unwrap();
    process.store(child.id().unwrap(), Ordering::SeqCst);
    let ended = tokio::time::timeout(PATIENCE * 10, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(1));
    let seen = seen.lock().unwrap().clone();
    println!("{seen:?} KiB");
    assert!(seen[1] < seen[0] + 4 * 1024, "{seen:?} KiB");
}
