//! `towlined verify`: compares the disk with what was promised, and repairs what can be repaired
//! without losing anything.

mod kept;
mod repair;
mod rot;
mod uploads;

use serde_json::Value;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use tokio::process::Command;
use towline_tests::process::{Launch, output, towlined};
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::tamper::{contents, cut, edit, flip};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

/// The result of one run of `verify`.
pub(crate) struct Verified {
    code: Option<i32>,
    /// The findings, in the order of the output.
    findings: Vec<Value>,
    summary: Value,
}

fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = towlined();
    command.arg("verify").arg("--data-dir").arg(site.path()).args(arguments);
    command
}

pub(crate) async fn verify(site: &Site, arguments: &[&str]) -> Verified {
    let output = output(command(site, arguments).arg("--json")).await;
    let lines = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let mut events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = events.pop().unwrap_or_else(|| panic!("nothing was said but {said}"));
    assert_eq!(summary["event"], "summary", "{lines}{said}");
    assert_eq!(summary["findings"], events.len(), "{lines}");
    Verified { code: output.status.code(), findings: events, summary }
}

/// The output for a person, in place of JSON.
async fn told(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(&mut command(site, arguments)).await;
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

impl Verified {
    pub(crate) fn is_well(&self) -> bool {
        self.code == Some(0) && self.findings.is_empty()
    }

    /// The kind and the path of each finding, sorted.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("(none)").to_owned();
        let kind =
            |finding: &Value| format!("{} {}", text(&finding["kind"]), text(&finding["path"]));
        let mut kinds: Vec<_> = self.findings.iter().map(kind).collect();
        kinds.sort_unstable();
        kinds
    }
}

/// Uploads a whole document.
pub(crate) async fn completed(server: &TestServer, name: &str, test_file: &TestFile) -> DocumentId {
    let mut client = server.client().await;
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await.document_id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damage_is_named_and_nothing_is_changed() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK + 5, 310);
    let mut documents = Vec::new();
    for name in ["whole.bin", "flipped.bin", "longer.bin", "gone.bin", "link.bin", "row.bin"] {
        documents.push(completed(&server, name, &test_file).await);
    }
    let site = &server.site;
    assert!(verify(site, &[]).await.is_well());
    let at = |name| site.document(&server.user, name);
    flip(&at("flipped.bin"), BLOCK + 1);
    cut(&at("longer.bin"), 2 * BLOCK + 6);
    fs::remove_file(at("gone.bin")).unwrap();
    fs::rename(at("link.bin"), site.outside().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(site.outside().join("elsewhere"), at("link.bin")).unwrap();
    edit(site, &format!("UPDATE documents SET folder = '/' WHERE document_id = {}", documents[5]));
    let hostile = std::ffi::OsString::from_vec(b"\x1b[31m\xff.txt".to_vec());
    fs::write(site.documents(&server.user).join(hostile), "x").unwrap();
    fs::write(site.uploads().join("note"), "x").unwrap();
    fs::write(site.staging_folder().join("77.tmp"), "x").unwrap();
    // A file that was sent at once may have no row yet; the next start removes it.
    fs::write(site.staging_folder().join("78.new"), "x").unwrap();
    fs::write(site.staging_folder().join("note"), "x").unwrap();

    for running in [true, false] {
        if !running {
            server.stop().await;
        }
        // A running server may still write its state file. And to close a descriptor of the catalog
        // in the server's own process would drop the server's locks.
        let watched = if running { server.site.uploads() } else { server.site.path().to_owned() };
        let before = contents(&watched);
        let verified = verify(&server.site, &[]).await;
        assert_eq!(verified.code, Some(1));
        assert_eq!(
            verified.kinds(),
            [
                "damaged uploads/1/flipped.bin",
                "damaged uploads/1/longer.bin",
                "missing uploads/1/gone.bin",
                "missing uploads/1/link.bin",
                "no_document uploads/1/\u{1b}[31m\u{fffd}.txt",
                "no_document uploads/note",
                "no_upload uploads/.staging/77.tmp",
                "no_upload uploads/.staging/note",
                "unreadable_row (none)",
            ]
        );
        let flipped = &verified.findings[0];
        assert_eq!(flipped["document_id"], documents[1].get());
        assert_eq!((&flipped["user"], &flipped["user_id"]), (&"ada".into(), &1.into()));
        assert_eq!(flipped["expected_blake3"], test_file.hash().to_string());
        assert_eq!(flipped["done"], "nothing");
        assert_eq!(verified.summary["documents"], 5, "the last row does not read");
        assert_eq!(verified.summary["bytes"], 2 * test_file.size(), "those of the right size");
        let (code, text) = told(&server.site, &[]).await;
        assert_eq!(code, Some(1));
        assert!(text.contains("uploads/1/\\u{1b}[31m\\xFF.txt\n"), "{text}");
        assert!(text.contains("9 findings; no file was changed\n"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(contents(&watched), before, "running: {running}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_meanwhile_is_no_finding() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    // More rows than one page has.
    let small = TestFile::new(100, 311);
    let mut client = RawClient::login(server.address(), &user.token).await;
    for number in 0..260 {
        client.upload(upload(&format!("{number}"), &small)).await;
        client.chunks(ZERO, &small, 0..100).await;
        client.complete(ZERO).await;
    }
    let test_file = TestFile::new(2 * BLOCK, 312);
    let busy = tokio::spawn(async move {
        for number in 0.. {
            let id = client.upload(upload(&format!("big {number}"), &test_file)).await.document_id;
            client.chunks(ZERO, &test_file, 0..test_file.size()).await;
            if number % 3 == 0 {
                client.cancel(id).await;
            } else {
                client.complete(ZERO).await;
            }
        }
    });
    for _ in 0..5 {
        let verified = verify(&site, &[]).await;
        assert!(verified.is_well(), "{:?}", verified.findings);
        assert!(verified.summary["documents"].as_u64() >= Some(260));
    }
    busy.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_said_and_nothing_is_made() {
    let site = Site::new();
    let (code, text) = told(&site, &[]).await;
    assert_eq!((code, text.contains("there is no Towline store in")), (Some(1), true), "{text}");
    let (code, text) = told(&site, &["--repair"]).await;
    assert_eq!((code, text.contains("there is no Towline store in")), (Some(1), true), "{text}");
    assert!(!site.catalog_path().exists());
    fs::remove_dir_all(site.path()).unwrap();
    let (code, text) = told(&site, &[]).await;
    assert_eq!((code, text.contains("there is no Towline store in")), (Some(1), true), "{text}");
    assert!(!site.path().exists());
    assert_eq!(told(&site, &["--everything"]).await.0, Some(2));
}
