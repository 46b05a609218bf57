//! The audit log: who did what and what came of it, as `docs/operator.md` describes its lines.

use super::{Schema, file, said};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use towline_protocol::request::{Complete, Hello, Read, Reauth, Resume};
use towline_protocol::{Code, JoinLine, Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{
    RawClient, ZERO, names, nobodys_document, read_of, resume, upload,
};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::Volume;
use towline_types::{FileHash, UserId};

/// Events that this test does not bring about, and why.
const NOT_SEEN: [(&str, &str); 6] = [
    ("expire", "a server trusts its clock only after hours; the fields are those of `fail`"),
    ("hold", "see `quarantine`"),
    ("release", "see `quarantine`"),
    ("delete", "see `quarantine`"),
    ("quarantine", "see `quarantine`"),
    ("lost", "see `what_a_full_disk_has_lost_is_counted`"),
];

/// The audit log of a server over a site.
struct Log(PathBuf);

impl Log {
    fn of(site: &Site) -> Self {
        Self(site.outside().join("audit.log"))
    }

    fn launch(&self, site: &Site) -> Launch {
        Launch::over(site).arguments(&["--audit-log", self.0.to_str().unwrap()])
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the log has a line with that event and these fields, and returns it: lines are
    /// written behind the answers.
    async fn has(&self, event: &str, fields: Value) -> Value {
        let began = Instant::now();
        loop {
            let is_it = |line: &Value| {
                let has = |(key, value): (&String, &Value)| line[key] == *value;
                line["event"] == event && fields.as_object().unwrap().iter().all(has)
            };
            if let Some(line) = self.lines().into_iter().find(is_it) {
                return line;
            }
            assert!(began.elapsed() < PATIENCE, "no {event} {fields} in {}", self.text());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// Uploads in two steps: no small file that comes whole.
async fn send(client: &mut RawClient, name: &str, test_file: &TestFile) {
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

async fn stops(mut server: ServerProcess) {
    server.signal(Signal::TERM);
    assert!(server.ended().await.success(), "{:#?}", server.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_as_the_page_says_and_none_holds_a_secret() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let log = Log::of(&site);
    let server = log.launch(&site).start().await;
    let mut client = server.client(&user).await;
    let mode = std::fs::metadata(&log.0).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o640, "{mode:o}");
    let address = client.local_address().to_string();

    // Uploads.
    let (large, small) = (TestFile::new(2 * BLOCK, 5501), file(1000));
    send(&mut client, "large", &large).await;
    let begun = log.has("upload", json!({ "path": "large", "result": "ok" })).await;
    assert_eq!((&begun["user"], &begun["user_id"]), (&json!("ada"), &json!(1)));
    assert_eq!((&begun["address"], &begun["by"]), (&json!(address), &json!("client")));
    assert_eq!(begun["bytes"], large.size());
    let id = &begun["document_id"];
    log.has("complete", json!({ "path": "large", "document_id": id, "bytes": large.size() })).await;
    send(&mut client, "small", &small).await;
    log.has("complete", json!({ "path": "small", "result": "ok" })).await;
    let same = upload("large", &large);
    client
        .send(&Request::Upload(towline_protocol::request::Upload {
            blake3: Some(large.hash()),
            ..same
        }))
        .await;
    client.success_on(ZERO).await;
    log.has("exists", json!({ "document_id": id })).await;
    let paused = client.upload(upload("given up", &large)).await.document_id;
    client.chunks(ZERO, &large, 0..1000).await;
    client.resume(resume(paused)).await;
    log.has("resume", json!({ "document_id": paused, "path": "given up" })).await;
    client.resume_refused(resume(nobodys_document()), Code::NotFound).await;
    log.has("resume", json!({ "result": "not_found" })).await;
    client.cancel(paused).await;
    log.has("cancel", json!({ "document_id": paused, "result": "ok" })).await;
    client.upload(upload("damaged", &large)).await;
    client.complete_refused(Complete::default(), Code::Incomplete).await;
    log.has("complete", json!({ "result": "incomplete", "path": "damaged" })).await;
    client.chunks(ZERO, &large, 0..large.size()).await;
    let wrong = Complete { blake3: Some(FileHash::from_bytes([7; 32])), ..Complete::default() };
    client.complete_refused(wrong, Code::HashMismatch).await;
    log.has("fail", json!({ "path": "damaged", "by": "server", "result": "ended" })).await;

    let cancelled = client.upload(upload("not wanted", &large)).await.document_id;
    said(&site, &["uploads", "cancel", &cancelled.to_string()]).await;
    log.has("cancel", json!({ "by": "server", "path": "not wanted" })).await;
    client.error(Code::Cancelled).await;

    // The tree.
    client.mkdir("folder").await;
    client.link("to large", "large").await;
    client.move_node("large", "folder/large").await;
    log.has("move", json!({ "path": "large", "to": "folder/large", "result": "ok" })).await;
    let moved = Request::Move(towline_protocol::request::Move {
        path: Some(names("nothing")),
        to: names("there"),
        ..Default::default()
    });
    client.tree_refused(&moved, Code::NotFound).await;
    // What a request says is wrong: it is refused before anything is looked at.
    let moved = Request::Move(towline_protocol::request::Move {
        path: Some(names("large")),
        to: vec!["a/b".to_owned()],
        ..Default::default()
    });
    client.tree_refused(&moved, Code::BadName).await;
    log.has("move", json!({ "result": "bad_name", "user": "ada", "to": null })).await;
    let of_another = UserId::try_from(2).ok();
    let not_hers = towline_protocol::request::Upload { user_id: of_another, ..upload("x", &large) };
    client.upload_refused(not_hers, Code::WrongUser).await;
    log.has("upload", json!({ "result": "wrong_user", "path": null })).await;
    let not_hers = Resume { user_id: of_another, ..resume(paused) };
    client.resume_refused(not_hers, Code::WrongUser).await;
    log.has("resume", json!({ "result": "wrong_user", "document_id": paused })).await;
    log.has("move", json!({ "path": "nothing", "result": "not_found" })).await;
    let node = client.remove("small").await.node.node_id;
    log.has("remove", json!({ "path": "small", "node_id": node })).await;
    client.restore(node).await;
    log.has("restore", json!({ "node_id": node, "path": "small" })).await;
    let read = read_of(serde_json::from_value(id.clone()).unwrap());
    for offset in [0, 1000] {
        let offset = Some(towline_tests::raw_client::offset(offset));
        client.read(Read { offset, length: Some(1000), ..read.clone() }).await.unwrap();
    }
    client.read(read_of(nobodys_document())).await.unwrap_err();
    log.has("read", json!({ "document_id": id, "path": "folder/large", "result": "ok" })).await;
    log.has("read", json!({ "result": "not_found" })).await;
    let reads = log.lines().iter().filter(|line| line["event"] == "read").count();
    assert_eq!(reads, 2, "one line for a file that is read in parts");

    // Tokens and invitations.
    let next = said(&site, &["token", "--user", "ada"]).await.trim().to_owned();
    let said_next = RawClient::connect(server.address()).await.welcomed(&next).await;
    let login = log.has("login", json!({ "result": "ok" })).await;
    assert_eq!(login["user"], "ada");
    drop(said_next);
    for token in ["no.good.token", &next] {
        let reauth = Reauth { channel: ZERO, token: token.to_owned() };
        client.send(&Request::Reauth(reauth)).await;
        client.reply().await;
    }
    log.has("reauth", json!({ "result": "unauthorized" })).await;
    let renewed = log.has("reauth", json!({ "result": "ok" })).await;
    let tokens = said(&site, &["tokens"]).await;
    let shown = renewed["token"].as_str().unwrap().to_owned();
    assert!(tokens.contains(&shown), "{tokens}");
    assert!(said(&site, &["key", "list"]).await.contains(renewed["key"].as_str().unwrap()));
    let join: JoinLine = said(&site, &["join", "--user", "ada"]).await.parse().unwrap();
    let secret = join.secret.reveal().to_string();
    let hello = Hello { token: None, join: Some(secret.clone()), ..Hello::with_token("") };
    let mut joining = RawClient::connect(server.address()).await;
    joining.send(&Request::Hello(hello)).await;
    let Reply::Welcome(welcome) = joining.reply().await else { panic!("it joins") };
    log.has("join", json!({ "user": "ada", "result": "ok" })).await;
    for _ in 0..50 {
        let mut stranger = RawClient::connect(server.address()).await;
        stranger.hello("no.good.token").await;
        stranger.error(Code::Unauthorized).await;
    }
    said(&site, &["token", "revoke", &shown]).await;
    client.error(Code::Unauthorized).await;
    log.has("access_end", json!({ "token": shown, "result": "unauthorized" })).await;

    // Killed before it can answer, the server finishes the upload at its next start.
    stops(server).await;
    let mut server = log.launch(&site).failpoints("publish.renamed=kill").start().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    client.upload(upload("finished", &large)).await;
    client.chunks(ZERO, &large, 0..large.size()).await;
    client.send(&Request::Complete(Complete::default())).await;
    server.ended().await;
    let server = log.launch(&site).start().await;
    log.has("complete", json!({ "path": "finished", "by": "server" })).await;
    stops(server).await;

    // What the operator does, also where no server runs.
    said(&site, &["user", "add", "bob"]).await;
    said(&site, &["user", "quota", "bob", "--bytes", "5GB"]).await;
    said(&site, &["user", "quota", "bob"]).await;
    said(&site, &["user", "remove", "bob"]).await;
    said(&site, &["key", "add"]).await;
    said(&site, &["key", "retire", renewed["key"].as_str().unwrap(), "--now"]).await;
    let quota = json!({ "user": "bob", "quota_bytes": "5000000000", "quota_files": "default" });
    assert_eq!(log.has("user_quota", quota).await["by"], "operator");
    let quotas = log.lines().iter().filter(|line| line["event"] == "user_quota").count();
    assert_eq!(quotas, 1, "a look changes nothing");
    log.has("token_issue", json!({ "token": shown, "user": "ada" })).await;
    log.has("token_revoke", json!({ "token": shown, "user": "ada" })).await;
    log.has("key_retire", json!({ "key": renewed["key"] })).await;

    let text = log.text();
    let told = welcome.token.unwrap();
    let parts = [&user.token, &next, &told].map(|token| token.split('.')).into_iter().flatten();
    for secret in parts.chain([&*secret, "no.good.token"]) {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let mut schema = Schema::of_audit_log();
    let lines = log.lines();
    for line in &lines {
        schema.hold(line["by"].as_str().unwrap(), true, line);
    }
    assert_eq!(schema.unseen(), NOT_SEEN.map(|(event, _)| event).into());
    let starts: Vec<_> = lines.iter().filter(|line| line["by"] == "server").collect();
    assert_eq!(starts.first().unwrap()["event"], "start");
    assert_eq!(starts.last().unwrap()["event"], "stop");
    // All logins that were refused are counted.
    let refused = lines.iter().filter(|line| line["event"] == "login" && line["result"] != "ok");
    let counted = |line: &Value| {
        line["others"].as_u64().unwrap_or(0) + u64::from(line.get("address").is_some())
    };
    assert_eq!(refused.map(counted).sum::<u64>(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_opened_again_at_a_signal_and_rotated_by_its_length() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let log = Log::of(&site);
    let settings = format!("audit_log = {:?}\naudit_log_max = '64KiB'", log.0);
    let server = Launch::over(&site).settings(&site.settings(&settings)).start().await;
    let mut client = server.client(&user).await;
    client.mkdir("before").await;
    log.has("mkdir", json!({ "path": "before" })).await;
    let old = Log(site.outside().join("old.log"));
    std::fs::rename(&log.0, &old.0).unwrap();
    server.signal(Signal::HUP);
    server.says("the audit log was opened again").await;
    client.mkdir("after").await;
    log.has("mkdir", json!({ "path": "after" })).await;
    assert!(!old.text().contains("after") && !log.text().contains("before"));

    // A file that others may read is refused, and the one of before is written on.
    std::fs::rename(&log.0, &old.0).unwrap();
    std::fs::write(&log.0, "").unwrap();
    std::fs::set_permissions(&log.0, std::fs::Permissions::from_mode(0o644)).unwrap();
    server.signal(Signal::HUP);
    server.says("the audit log was not opened again").await;
    client.mkdir("still").await;
    old.has("mkdir", json!({ "path": "still" })).await;
    assert_eq!(log.text(), "");
    std::fs::remove_file(&log.0).unwrap();
    server.signal(Signal::HUP);
    let began = Instant::now();
    while !log.0.exists() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    let name = "n".repeat(200);
    for number in 0..300 {
        client.mkdir(&format!("{number}/{name}")).await;
    }
    stops(server).await;
    let file_of = |number: u32| Log(PathBuf::from(format!("{}.{number}", log.0.display())));
    let files = [file_of(2), file_of(1), Log(log.0.clone())];
    let mut numbers = BTreeSet::new();
    for file in &files {
        assert!(file.text().len() <= 64 << 10);
        let paths =
            file.lines().into_iter().filter_map(|line| Some(line["path"].as_str()?.to_owned()));
        numbers.extend(paths.filter_map(|path| path.split('/').next()?.parse::<u32>().ok()));
    }
    assert_eq!(numbers, (0..300).collect(), "no line is lost between two files");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_has_lost_is_counted() {
    let Some(volume) = Volume::memory(1 << 20) else { return };
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let log = Log(volume.path().join("audit.log"));
    let server = log.launch(&site).start().await;
    let mut client = server.client(&user).await;
    client.mkdir("first").await;
    log.has("mkdir", json!({ "path": "first" })).await;
    let ballast = volume.fill_up_to(0);
    let before = log.text().len();
    // More than the rest of the page that the file has already.
    let name = "n".repeat(200);
    for number in 0..40 {
        client.mkdir(&format!("{number}/{name}")).await;
    }
    server.says("the audit log cannot be written").await;
    send(&mut client, "a file", &file(1000)).await;
    assert!(log.text().len() < before + 4096);
    std::fs::remove_file(ballast).unwrap();
    client.mkdir("last").await;
    log.has("mkdir", json!({ "path": "last" })).await;
    stops(server).await;
    let lines = log.lines();
    let mut schema = Schema::of_audit_log();
    for line in &lines {
        schema.hold(line["by"].as_str().unwrap(), true, line);
    }
    // A start, a login, "first", 40 folders, an upload and its end (one line where it came in one
    // go), "last", and a stop: what is there and what is said to be missing is all there was.
    let lost: u64 = lines.iter().filter_map(|line| line["lines"].as_u64()).sum();
    let there = lines.iter().filter(|line| line["event"] != "lost").count() as u64;
    assert!(lost > 0, "{}", log.text());
    let folders = lines.iter().filter(|line| line["event"] == "mkdir").count();
    assert!((46..=48).contains(&(lost + there)), "{lost} + {there}, {folders}: {}", log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_refuses_the_start_and_check_config_says_so() {
    let site = Site::in_memory();
    let refused = async |path: &Path, why: &str| {
        let arguments = ["--audit-log", path.to_str().unwrap()];
        let ended = Launch::over(&site).arguments(&arguments).try_start().await.unwrap_err();
        assert!(ended.said.iter().any(|line| line.contains(why)), "{why}: {:#?}", ended.said);
        let arguments = [&["check-config", "--listen", "127.0.0.1:0"], &arguments[..]].concat();
        let output = super::run(&site, &arguments).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(why), "{why}: {said}");
    };
    refused(&site.path().join("audit.log"), "outside of it").await;
    refused(&site.outside().join("none/audit.log"), "has to be there").await;
    refused(site.outside(), "audit log").await;
    let open = site.outside().join("open.log");
    std::fs::write(&open, "").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o666)).unwrap();
    refused(&open, "chmod go-w").await;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o604)).unwrap();
    refused(&open, "chmod o-r").await;
    let alone = site.settings("audit_log_max = '1MB'");
    let ended = Launch::over(&site).settings(&alone).try_start().await.unwrap_err();
    assert_eq!(ended.status.and_then(|status| status.code()), Some(2));
    assert!(ended.said.iter().any(|line| line.contains("belongs to audit_log")));
}
