//! What an operator does beside the server: looks at what users have, deletes what is kept no
//! longer, and puts a backup back.

mod audit;
mod check_config;
mod clamd;
mod confinement;
mod expire;
mod join;
mod keys;
mod lists;
mod older_catalog;
mod quarantine;
mod quota;
mod restore;
mod status;
mod tokens;
mod uploads;

use super::json::schema::Schema;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use towline_protocol::request::Upload;
use towline_tests::process::{Launch, ServerProcess, output, towlined};
use towline_tests::raw_client::{RawClient, ZERO, names, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::TestFile;
use towline_types::OnConflict;

/// Runs a command of `towlined` over that data folder.
async fn run(site: &Site, arguments: &[&str]) -> Output {
    run_at(site.path(), arguments).await
}

async fn run_at(data_dir: &Path, arguments: &[&str]) -> Output {
    output(towlined().args(arguments).arg("--data-dir").arg(data_dir)).await
}

/// Standard output of a command that ends well.
async fn said(site: &Site, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(site, arguments).await;
    assert!(status.success(), "{arguments:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The lines of a command with `--json`, and the summary that ends them: without what every line
/// has besides.
async fn events(site: &Site, arguments: &[&str]) -> (Vec<Value>, Value) {
    let said = said(site, &[arguments, &["--json"]].concat()).await;
    split(held(&mut Schema::of_server(), arguments[0], &said))
}

fn split(mut events: Vec<Value>) -> (Vec<Value>, Value) {
    let summary = events.pop().unwrap();
    assert_eq!(summary["event"], "summary", "{events:?}");
    (events, summary)
}

/// The lines of a command, held to the page.
fn held(schema: &mut Schema, command: &str, said: &str) -> Vec<Value> {
    let lines = said.lines().enumerate().map(|(number, line)| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        schema.hold(command, number == 0, &line);
        let fields = line.as_object_mut().unwrap();
        fields.retain(|field, _| !["schema", "time"].contains(&field.as_str()));
        line
    });
    lines.collect()
}

/// The message of a command that fails.
async fn failed(site: &Site, arguments: &[&str]) -> String {
    failed_at(site.path(), arguments).await
}

async fn failed_at(data_dir: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = run_at(data_dir, arguments).await;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
    said
}

/// A file of that size, with bytes of its own.
fn file(size: usize) -> TestFile {
    TestFile::new(size, 9000 + size as u64)
}

/// Uploads a file, over the one that has its name. Returns the number of the document.
async fn put(client: &mut RawClient, place: &str, test_file: &TestFile) -> u64 {
    let (folder, filename) = place.rsplit_once('/').unwrap_or(("", place));
    let on_conflict = OnConflict::Replace;
    let begin = Upload { folder: names(folder), on_conflict, ..upload(filename, test_file) };
    client.upload(begin).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await.document_id.get()
}

/// A store with two users and something of everything, and its server.
struct Store {
    site: Site,
    ada: TestUser,
    bob: TestUser,
    server: ServerProcess,
}

impl Store {
    /// ada: `doc` (400 bytes, before 300), `proj/a` (100), in the trash `old/` with `x` (10, before
    /// 7) and `y` (20), and `gone` (30); an unfinished upload with 500 durable bytes. bob: `doc` (60).
    async fn filled() -> Self {
        let site = Site::new();
        let (ada, bob) = (site.add_user("ada").await, site.add_user("bob").await);
        let server = Launch::over(&site).start().await;
        let mut client = server.client(&ada).await;
        for (place, size) in [
            ("doc", 300),
            ("doc", 400),
            ("proj/a", 100),
            ("old/x", 7),
            ("old/x", 10),
            ("old/y", 20),
        ] {
            put(&mut client, place, &file(size)).await;
        }
        put(&mut client, "gone", &file(30)).await;
        client.remove("old").await;
        client.remove("gone").await;
        let left = TestFile::new(2000, 9999);
        client.upload(upload("left.bin", &left)).await;
        client.chunks(ZERO, &left, 0..500).await;
        client.pause().await;
        put(&mut server.client(&bob).await, "doc", &file(60)).await;
        Self { site, ada, bob, server }
    }
}
