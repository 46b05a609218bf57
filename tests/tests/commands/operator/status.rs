//! `towlined status`: what the server that runs is doing, for people and for programs.

use super::{Store, events, failed, said};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;
use towline_protocol::request::Stat;
use towline_protocol::{Code, Request};
use towline_tests::PATIENCE;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, names, nobodys_document, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

/// The figures of that name.
fn figures<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == "metric" && event["name"] == name).collect()
}

/// The only figure of that name, or of that name and label.
fn figure(events: &[Value], name: &str, label: Option<&str>) -> Value {
    let mut found = figures(events, name);
    found.retain(|figure| figure.get("label_value").and_then(Value::as_str) == label);
    assert_eq!(found.len(), 1, "{name} {label:?}: {found:?}");
    found[0]["value"].clone()
}

/// The names in the table of figures.
fn named_on_the_page() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operator.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split_once("\n| figure | label | |\n").unwrap().1;
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let name = |row: &str| row.split('`').nth(1).unwrap().to_owned();
    rows.map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_figure_is_named_on_the_page_and_counts_what_it_says() {
    let Store { site, ada, server, .. } = Store::filled().await;
    let mut client = server.client(&ada).await;
    let large = TestFile::new(2 * BLOCK, 5601);
    let sending = client.upload(upload("large", &large)).await.document_id;
    client.chunks(ZERO, &large, 0..BLOCK + 5).await;
    client.has_received(sending, BLOCK + 5).await;
    let mut other = server.client(&ada).await;
    other.resume(resume(sending)).await;
    let nothing = Stat { path: Some(names("nothing")), ..Stat::default() };
    other.tree_refused(&Request::Stat(nothing), Code::NotFound).await;
    let mut stranger = RawClient::connect(server.address()).await;
    stranger.hello("no.good.token").await;
    stranger.error(Code::Unauthorized).await;
    drop(stranger);
    let _unknown = RawClient::connect(server.address()).await;

    // A connection that was closed a moment ago may be counted still.
    let began = Instant::now();
    let (events, summary) = loop {
        let (events, summary) = events(&site, &["status"]).await;
        let places = ["users", "strangers"];
        if places.map(|place| figure(&events, "towline_connections", Some(place))) == [2, 1] {
            break (events, summary);
        }
        assert!(began.elapsed() < PATIENCE, "{events:#?}");
    };
    assert_eq!(events[0]["event"], "server");
    assert_eq!(events[0]["version"], env!("CARGO_PKG_VERSION"));
    let one = |name: &str| figure(&events, name, None);
    assert_eq!(one("towline_uploads_completed_total"), 8);
    assert_eq!(one("towline_takeovers_total"), 1);
    assert!(one("towline_received_bytes_total").as_u64().unwrap() > BLOCK as u64);
    assert!(one("towline_lag_bytes").as_u64().unwrap() <= (BLOCK + 5) as u64);
    assert!(one("towline_disk_free_bytes").as_u64().unwrap() > 0);
    assert_eq!(figure(&events, "towline_uploads", Some("sending")), 1);
    assert_eq!(figure(&events, "towline_refusals_total", Some("not_found")), 1);
    assert_eq!(figure(&events, "towline_logins_refused_total", Some("unauthorized")), 1);
    assert_eq!(one("towline_logins_total"), 4);
    assert_eq!(one("towline_connected_users"), 1);
    let users: Vec<_> = events.iter().filter(|event| event["event"] == "user").collect();
    assert_eq!(users, [&json!({"event": "user", "user": "ada", "user_id": 1, "connections": 2})]);
    assert_eq!((&summary["files"], &summary["trash_files"]), (&json!(3), &json!(4)));
    assert_eq!(summary["unfinished"], 2);

    let mut on_page = named_on_the_page();
    assert!(on_page.remove("towline_audit_lines_lost_total"), "only with an audit log");
    assert!(on_page.remove("towline_scans_total"), "only with a scanner");
    let named = events.iter().filter_map(|event| event["name"].as_str().map(str::to_owned));
    assert_eq!(named.collect::<BTreeSet<_>>(), on_page);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_it_on_a_narrow_terminal() {
    let Store { site, ada, server, .. } = Store::filled().await;
    let mut client = server.client(&ada).await;
    client.resume_refused(resume(nobodys_document()), Code::NotFound).await;
    let text = said(&site, &["status"]).await;
    for line in text.lines() {
        assert!(line.chars().count() < 40, "{line}");
    }
    let row = |label: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(label));
        let found = found.unwrap_or_else(|| panic!("{label}: {text}"));
        found.trim_start().strip_prefix(label).unwrap().trim().to_owned()
    };
    assert!(text.starts_with(&format!("towlined {}, up ", env!("CARGO_PKG_VERSION"))), "{text}");
    assert_eq!(row("completed"), "8");
    assert_eq!(row("unfinished"), "1 (500 B)");
    assert_eq!(row("older versions"), "1 (300 B)");
    assert_eq!(row("not_found"), "1");
    assert!(row("of users").contains(" of "), "{text}");
    assert_eq!(row("ada"), "1");
    assert!(row("median").ends_with(" ms"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_server_runs_that_is_said() {
    let site = Site::in_memory();
    site.add_user("ada").await;
    let socket = site.path().join("state/status.sock");
    let is_told = async || {
        let message = failed(&site, &["status"]).await;
        let path = site.path().display().to_string();
        assert!(message.contains(&format!("no server runs over {path}")), "{message}");
    };
    is_told().await;
    let mut server = Launch::over(&site).start().await;
    said(&site, &["status"]).await;
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    // A server that was killed leaves its socket, and the next one takes its place.
    server.kill().await;
    assert!(socket.exists());
    is_told().await;
    server.start_again().await;
    said(&site, &["status"]).await;
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().await.success());
    assert!(!socket.exists());
    is_told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_with_a_long_path_has_a_status_too() {
    let temporary = tempfile::tempdir().unwrap();
    let long = temporary.path().join("d".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let site = Site::within(tempfile::tempdir_in(&long).unwrap());
    site.add_user("ada").await;
    let _server = Launch::over(&site).start().await;
    assert!(said(&site, &["status"]).await.contains("connections"));
}

/// The threads of a process.
fn threads(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_disk_hangs_is_said_and_holds_one_thread_however_often_one_asks() {
    let site = Site::in_memory();
    let ada = site.add_user("ada").await;
    let server = Launch::over(&site).failpoints("write.written=wait:15000@1").start().await;
    let mut client = RawClient::login(server.address(), &ada.token).await;
    let test_file = TestFile::new(2 * BLOCK, 5602);
    let document = client.upload(upload("a", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK).await;
    server.says("a failpoint waits").await;

    let mut before = 0;
    for number in 0..4 {
        let said = failed(&site, &["status"]).await;
        assert!(said.contains("a disk does not answer"), "{said}");
        match number {
            0 => before = threads(server.id()),
            _ => assert!(threads(server.id()) < before + 3, "each question takes a thread"),
        }
    }
    // The disk answers again, and the answer is a new one.
    client.has_received(document, BLOCK).await;
    let (events, _) = events(&site, &["status"]).await;
    assert!(figure(&events, "towline_received_bytes_total", None).as_u64() >= Some(BLOCK as u64));
    server.gone().await;
}
