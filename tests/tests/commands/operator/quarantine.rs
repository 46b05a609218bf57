//! `towlined quarantine`: what is not given out is listed, released, deleted and scanned again.

use super::{events, failed, said};
use crate::json::schema::Schema;
use serde_json::{Value, json};
use towline_protocol::{Code, Held};
use towline_tests::PATIENCE;
use towline_tests::process::Launch;
use towline_tests::raw_client::upload;
use towline_tests::scanned::EICAR_COMMAND;
use towline_tests::site::Site;
use towline_tests::stub_scanner::eicar;
use towline_tests::test_file::TestFile;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_given_out_is_listed_released_and_deleted() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let audit = site.outside().join("audit.log");
    let options = ["--scan-command", EICAR_COMMAND, "--audit-log", audit.to_str().unwrap()];
    let server = Launch::over(&site).arguments(&options).start().await;
    assert_eq!(said(&site, &["quarantine"]).await, "every document is given out\n");
    let mut client = server.client(&ada).await;
    let infected = TestFile { bytes: eicar() };
    let mut ids = Vec::new();
    for name in ["a.com", "b.com", "c.com"] {
        client.put(upload(name, &infected), &infected).await;
        ids.push(client.until_held(name, Some(Held::Quarantined)).await);
    }
    let (listed, summary) = events(&site, &["quarantine"]).await;
    assert_eq!(summary, json!({ "event": "summary", "documents": 3 }));
    let first = &listed[0];
    for (field, value) in [
        ("event", json!("held")),
        ("user", json!("ada")),
        ("document_id", json!(ids[0])),
        ("path", json!("a.com")),
        ("status", json!("quarantined")),
        ("verdict", json!("infected")),
        ("scanner", json!(EICAR_COMMAND)),
        ("detail", json!("Eicar-Signature")),
        ("content_type", json!("text/plain")),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    let text = said(&site, &["quarantine", "--user", "ada"]).await;
    assert!(text.contains("quarantined") && text.contains("ada (user 1): a.com"), "{text}");
    assert!(text.ends_with("3 documents not given out\n"), "{text}");
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let told = said(&site, &["quarantine", "release", &ids[0]]).await;
    assert!(told.starts_with("1 document will be given out: a server that runs begins"), "{told}");
    client.until_held("a.com", None).await;
    site.assert_published(&ada, "a.com", &infected);
    said(&site, &["quarantine", "delete", &ids[1]]).await;
    server.says("a document was deleted from the quarantine").await;
    assert!(!client.tree(10).await.contains_key("b.com"));
    assert!(!site.uploads().join(format!(".quarantine/1/{}", ids[1])).exists());
    // What is scanned again stays in the quarantine until then, and after that.
    said(&site, &["quarantine", "rescan", &ids[2]]).await;
    client.assert_held(ids[2].parse().unwrap(), Code::Quarantined).await;
    let wrong = failed(&site, &["quarantine", "delete", &ids[0], "999"]).await;
    let expected = format!("{} is not in the quarantine; there is no document 999", ids[0]);
    assert!(wrong.contains(&expected), "{wrong}");
    let text = said(&site, &["documents"]).await;
    assert!(text.contains("  c.com  (quarantined)\n"), "{text}");
    let (listed, _) = events(&site, &["documents"]).await;
    assert_eq!(
        (&listed[0]["status"], &listed[1]["status"]),
        (&json!("available"), &json!("quarantined"))
    );
    // The lines of the audit log are those of the page.
    let began = std::time::Instant::now();
    let lines = loop {
        let text = std::fs::read_to_string(&audit).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.iter().any(|line| line["event"] == "delete") {
            break lines;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        tokio::task::yield_now().await;
    };
    let mut schema = Schema::of_audit_log();
    for (event, by) in [
        ("hold", "server"),
        ("release", "server"),
        ("delete", "server"),
        ("quarantine", "operator"),
    ] {
        let line = lines.iter().find(|line| line["event"] == event).unwrap();
        schema.hold(by, true, line);
    }
    server.assert_calm();
    server.gone().await;
    assert!(said(&site, &["verify"]).await.contains("documents"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_scanned_again_once_the_scanner_is_there() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let away = site.outside().join("away");
    std::fs::write(&away, "").unwrap();
    let command = format!("test ! -e '{}' || exit 9; {EICAR_COMMAND}", away.display());
    let scanner = ["--scan-command", command.as_str()];
    let server = Launch::over(&site).arguments(&scanner).start().await;
    let mut client = server.client(&ada).await;
    let file = TestFile::new(500, 9400);
    let id = client.put(upload("a.bin", &file), &file).await;
    server.says("a document could not be scanned").await;
    client.assert_held(id, Code::Scanning).await;
    let text = said(&site, &["quarantine"]).await;
    assert!(text.contains("scanning") && text.contains("exit status: 9"), "{text}");
    server.gone().await;
    // Without a scanner nothing waits for one.
    let server = Launch::over(&site).start().await;
    let mut client = server.client(&ada).await;
    client.until_held("a.bin", Some(Held::Failed)).await;
    client.assert_held(id, Code::Unscanned).await;
    server.gone().await;
    std::fs::remove_file(&away).unwrap();
    said(&site, &["quarantine", "rescan", "--failed"]).await;
    let server = Launch::over(&site).arguments(&scanner).start().await;
    let mut client = server.client(&ada).await;
    client.until_held("a.bin", None).await;
    server.assert_calm();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_hangs_is_ended_and_asked_again() {
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let settings = site.settings("scan_command = 'sleep 600'\nscan_timeout = '200ms'");
    let server = Launch::over(&site).settings(&settings).start().await;
    let mut client = server.client(&ada).await;
    let file = TestFile::new(500, 9401);
    let id = client.put(upload("a.bin", &file), &file).await;
    server.says("took too long").await;
    client.assert_held(id, Code::Scanning).await;
    server.assert_calm();
    server.gone().await;
}
