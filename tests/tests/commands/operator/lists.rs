//! `towlined documents`, `usage` and `trash`, beside a server and without one.

use super::{Store, events, failed, file, held, put, run, said, split};
use crate::json::schema::Schema;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::process::Command;
use towline_tests::process::{Launch, output, program};
use towline_tests::raw_client::RawClient;
use towline_tests::site::Site;

/// Some fields of an event.
fn fields(event: &Value, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| event[name].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_listed_with_size_hash_and_date_of_all_users_or_of_one() {
    let Store { site, server, .. } = Store::filled().await;
    let (listed, summary) = events(&site, &["documents"]).await;
    let names = ["event", "user", "user_id", "path", "filesize", "blake3"];
    let expected = [("ada", 1, "doc", 400), ("ada", 1, "proj/a", 100), ("bob", 2, "doc", 60)];
    let expected: [Vec<Value>; 3] = expected.map(|(user, id, path, size)| {
        let hash = file(size).hash().to_string();
        vec!["document".into(), user.into(), id.into(), path.into(), size.into(), hash.into()]
    });
    let found: Vec<Vec<Value>> = listed.iter().map(|event| fields(event, &names)).collect();
    assert_eq!(found, expected);
    assert_eq!(summary, json!({"event": "summary", "documents": 3, "bytes": 560}));
    let date = listed[0]["completed_at"].as_str().unwrap();
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z");
    drop(server.gone().await);
    let (listed, _) = events(&site, &["documents", "--user", "bob"]).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(events(&site, &["documents", "--user", "2"]).await.0, listed);
    let text = said(&site, &["documents", "--user", "ada"]).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("ada (user 1)", 4), "{text}");
    assert!(lines[1].contains("400  2") && lines[1].ends_with("  doc"), "{text}");
    assert!(lines[1].contains(&file(400).hash().to_string()), "{text}");
    assert_eq!(lines[3], "  2 documents, 500 B", "{text}");
    // The documents of a removed user stay, and so does the list.
    said(&site, &["user", "remove", "bob"]).await;
    let text = said(&site, &["documents", "--user", "bob"]).await;
    assert!(text.starts_with("bob (user 2, removed)\n"), "{text}");
    let said = failed(&site, &["documents", "--user", "eve"]).await;
    assert!(said.contains("there is no user eve; `towlined user list` shows them"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_counts_files_versions_trash_and_unfinished_uploads_of_each_user() {
    let Store { site, server, .. } = Store::filled().await;
    let (users, all) = events(&site, &["usage"]).await;
    let expected = json!({
        "event": "usage", "user": "ada", "user_id": 1, "removed": false,
        "files": 2, "file_bytes": 500,
        "versions": 1, "version_bytes": 300,
        "trash_files": 4, "trash_bytes": 67,
        "unfinished": 1, "unfinished_bytes": 500,
    });
    assert_eq!(users[0], expected);
    assert_eq!(
        fields(&users[1], &["user", "files", "file_bytes", "trash_files"]),
        [json!("bob"), json!(1), json!(60), json!(0)]
    );
    assert_eq!(fields(&all, &["users", "files", "file_bytes"]), [json!(2), json!(3), json!(560)]);
    drop(server.gone().await);
    let text = said(&site, &["usage"]).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("USER") && lines[3].starts_with("all users"), "{text}");
    for cell in ["2 (500 B)", "1 (300 B)", "4 (67 B)", "1 (500 B)"] {
        assert!(lines[1].contains(cell), "{cell}: {text}");
    }
    assert_eq!(said(&site, &["usage", "--user", "bob"]).await.lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_is_listed_with_the_days_of_removal_and_of_deletion() {
    let Store { site, server, ada, .. } = Store::filled().await;
    let (listed, summary) = events(&site, &["trash"]).await;
    let names = ["user", "kind", "folder", "name", "files", "bytes"];
    assert_eq!(
        listed.iter().map(|event| fields(event, &names)).collect::<Vec<_>>(),
        [
            ["ada".into(), "folder".into(), "".into(), "old".into(), json!(3), json!(37)].to_vec(),
            ["ada".into(), "file".into(), "".into(), "gone".into(), json!(1), json!(30)].to_vec(),
        ]
    );
    assert_eq!(summary, json!({"event": "summary", "things": 2, "files": 4, "bytes": 67}));
    for (option, goes) in [("1d", true), ("forever", false)] {
        let (listed, _) = events(&site, &["trash", "--keep-trash", option]).await;
        assert_eq!(listed[0]["kept_until"].is_string(), goes, "{listed:?}");
    }
    assert_ne!(listed[0]["kept_until"], listed[0]["removed_at"]);
    // Something that lay in a folder which was removed later.
    let mut client = server.client(&ada).await;
    client.remove("proj/a").await;
    client.remove("proj").await;
    let text = said(&site, &["trash"]).await;
    for line in
        ["  old/  (3 files, 37 B)", "  gone  (30 B)", "  …/a  (100 B)", "  proj/  (0 files, 0 B)"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.ends_with("4 things in the trash, 167 B; kept for 30 days\n"), "{text}");
    let text = said(&site, &["trash", "--keep-trash", "none"]).await;
    assert!(text.contains("  kept no longer  old/"), "{text}");
    // What the configuration file says counts too.
    let config = site.settings("keep_trash = \"forever\"");
    let text = said(&site, &["trash", "--config", config.to_str().unwrap()]).await;
    assert!(text.contains("  kept for ever  old/"), "{text}");
    assert_eq!(said(&site, &["trash", "--user", "bob"]).await, "nothing is in the trash\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_cannot_command_a_terminal_and_nothing_is_made_where_no_store_is() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    let mut client: RawClient = server.client(&user).await;
    put(&mut client, "a \"quoted\" na\u{301}me", &file(1)).await;
    drop(server.gone().await);
    let text = said(&site, &["documents"]).await;
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let nowhere = Site::new();
    for command in ["documents", "usage", "trash", "expire"] {
        let said = failed(&nowhere, &[command]).await;
        assert!(said.contains("there is no Towline store in"), "{command}: {said}");
        assert!(!nowhere.catalog_path().exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_for_a_program_is_as_the_page_says() {
    let Store { site, ada, server, .. } = Store::filled().await;
    let mut schema = Schema::of_server();
    let mut client = server.client(&ada).await;
    client.ping().await;
    split(held(&mut schema, "status", &said(&site, &["status", "--json"]).await));
    for command in [&["tokens"][..], &["key", "list"]] {
        let said = said(&site, &[command, &["--json"]].concat()).await;
        split(held(&mut schema, command[0], &said));
    }
    drop(server.gone().await);
    for command in ["documents", "uploads", "quarantine", "usage", "trash", "verify"] {
        for all in [true, false] {
            // A user who has nothing has a summary all the same.
            let of: &[&str] = if all || command == "verify" { &[] } else { &["--user", "bob"] };
            let said = said(&site, &[&[command, "--json"], of].concat()).await;
            assert!(!said.contains("null"), "{said}");
            split(held(&mut schema, command, &said));
        }
    }
    // A damaged document and version, one that is missing, and files that nobody knows.
    let uploads = site.path().join("uploads");
    std::fs::write(uploads.join("1/doc"), b"other").unwrap();
    std::fs::remove_file(uploads.join("1/proj/a")).unwrap();
    std::fs::write(uploads.join("1/stranger"), b"?").unwrap();
    std::fs::write(uploads.join(".staging/99.tmp"), b"?").unwrap();
    for entry in std::fs::read_dir(uploads.join(".staging")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "tmp") && !path.ends_with("99.tmp") {
            std::fs::write(path, b"short").unwrap();
        }
    }
    for mode in [&[][..], &["--repair"]] {
        let output = run(&site, &[&["verify", "--json"], mode].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains("null"), "{said}");
        let (findings, _) = split(held(&mut schema, "verify", &said));
        let kinds: Vec<_> =
            findings.iter().filter_map(|finding| finding["kind"].as_str()).collect();
        for kind in ["damaged", "missing", "no_document", "no_upload"] {
            assert!(kinds.contains(&kind), "{kind}: {said}");
        }
        // What the output says of a damaged file is there.
        let damaged = findings.iter().find(|finding| finding["kind"] == "damaged").unwrap();
        assert_eq!(
            (&damaged["expected_filesize"], &damaged["found_filesize"]),
            (&json!(400), &json!(5))
        );
        assert!(damaged.get("found_blake3").is_none(), "{damaged}");
    }
    // What is not given out is in `quarantine`.
    assert_eq!(schema.unseen(), ["held"].into(), "documented, and not seen");
}

/// So many documents in a catalog; the command may have this much address space, of which the
/// program itself and its threads need the most.
const MANY: u32 = 100_000;
const SPACE_KIB: u32 = 220_000;

#[tokio::test(flavor = "multi_thread")]
async fn very_many_documents_are_listed_in_bounded_memory() {
    let site = Site::in_memory();
    site.add_user("ada").await;
    Launch::over(&site).start().await.gone().await;
    let connection = rusqlite::Connection::open(site.catalog_path()).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
    );
    for rest in [
        "INSERT INTO documents (document_id, user_id, folder, filename, filesize, status, \
         on_conflict, durable_offset, started_at, last_chunk_at, blake3, file_path, node_id, \
         created_at, finished_at) SELECT i, 1, '', 'x', 7, 'completed', 'rename', 7, 10, 10, \
         randomblob(32), 'x', i, 20, 20 FROM n",
        "INSERT INTO nodes (node_id, user_id, kind, name, name_key, version_id, place_rev, \
         content_rev) SELECT i, 1, 'file', printf('a document with a long name, number %07d', i), \
         printf('a document with a long name, number %07d', i), i, i, i FROM n",
    ] {
        connection.execute(&format!("{numbers} {rest}"), []).unwrap();
    }
    drop(connection);
    let towlined = program("towlined-under-test");
    let shell = format!("ulimit -v {SPACE_KIB} && exec {} documents --json", towlined.display());
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).env("TOWLINE_DATA_DIR", site.path()).stdin(Stdio::null());
    let listed = output(&mut command).await;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(text.lines().count(), MANY as usize + 1);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["documents"]), (&json!("summary"), &json!(MANY)), "{last}");
}
