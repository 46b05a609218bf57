//! Whose request it is.

use super::kit::{server, server_with};
use std::time::Duration;
use towline_tests::http_client::HttpClient;
use towline_tests::raw_client::RawClient;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_needs_a_token_that_is_good() {
    let (server, client) = server().await;
    let said = serde_json::json!({ "filename": "a", "size": 5 });
    for (token, code) in
        [("", "auth_required"), ("nonsense", "unauthorized"), ("a.b.c", "unauthorized")]
    {
        let answer = client.with_token(token).post("/uploads", &said).await.is(401);
        assert_eq!(answer.problem(), code);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{answer:?}");
    }
    let expired = server.site.token(server.user.id, Duration::ZERO);
    let answer = client.with_token(&expired).post("/uploads", &said).await.is(401);
    assert_eq!(answer.problem(), "auth_expired");
    assert!(server.site.staged_names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_upload_is_good_for_that_one_alone() {
    let (server, client) = server().await;
    let (one, other) = (client.begin("a", 5000).await, client.begin("b", 5000).await);
    let of_one = client.with_token(&one.token);
    of_one.patch(&one, 0, &[1; 100]).await.is(204);
    of_one.get(&one.path).await.is(200);
    for (method, path) in [
        ("GET", other.path.clone()),
        ("HEAD", other.path.clone()),
        ("DELETE", other.path.clone()),
        ("POST", format!("{}/complete", other.path)),
        ("POST", format!("{}/token", other.path)),
        ("GET", format!("/documents/{}/content", one.id)),
    ] {
        of_one.send(method, &path, &[], "").await.is(403);
    }
    assert_eq!(of_one.patch(&other, 0, &[1; 100]).await.is(403).problem(), "forbidden");
    let said = serde_json::json!({ "filename": "c", "size": 5 });
    assert_eq!(of_one.post("/uploads", &said).await.is(403).problem(), "forbidden");
    // The TCP door does not take it for the token of a person.
    let mut tcp = RawClient::connect(server.address()).await;
    tcp.hello(&one.token).await;
    tcp.error(towline_protocol::Code::Unauthorized).await;
    assert_eq!(client.get(&other.path).await.json()["nextOffset"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_upload_ends_and_is_renewed() {
    let (server, client) = server().await;
    let upload = client.begin("a", 5000).await;
    let of_upload = client.with_token(&upload.token);
    server.clock.advance(Duration::from_secs(3000));
    let renewed = of_upload.send("POST", &format!("{}/token", upload.path), &[], "").await.is(201);
    server.clock.advance(Duration::from_secs(700));
    let late = of_upload.patch(&upload, 0, &[1; 100]).await.is(401);
    assert_eq!(late.problem(), "auth_expired");
    let renewed = renewed.json()["token"].as_str().unwrap().to_owned();
    client.with_token(&renewed).patch(&upload, 0, &[1; 100]).await.is(204);
    assert_eq!(client.get(&upload.path).await.json()["nextOffset"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_user_looks_like_what_does_not_exist() {
    let (server, client) = server().await;
    let upload = client.begin("a", 5000).await;
    client.patch(&upload, 0, &[1; 100]).await.is(204);
    let eve = server.site.add_user("eve").await;
    let eve = HttpClient::new(server.address(), &eve.token);
    let none = upload.id.get() + 1000;
    for (method, path) in [
        ("GET", "/uploads/N"),
        ("HEAD", "/uploads/N"),
        ("DELETE", "/uploads/N"),
        ("POST", "/uploads/N/complete"),
        ("POST", "/uploads/N/token"),
        ("GET", "/documents/N/content"),
    ] {
        let of = |number: u64| path.replace('N', &number.to_string());
        let theirs = eve.send(method, &of(upload.id.get()), &[], "").await.is(404);
        let nobodys = eve.send(method, &of(none), &[], "").await.is(404);
        assert_eq!(theirs.body, nobodys.body, "{method} {path}");
    }
    eve.patch(&upload, 100, &[1; 100]).await.is(404);
    assert_eq!(client.get(&upload.path).await.json()["nextOffset"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_is_refused_with_every_token() {
    use towline_tests::process::{ServerProcess, output, towlined};
    use towline_tests::site::Site;
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let client = HttpClient::new(server.address(), &user.token);
    let upload = client.begin("a", 5000).await;
    let of_upload = client.with_token(&upload.token);
    of_upload.patch(&upload, 0, &[1; 100]).await.is(204);
    let mut remove = towlined();
    remove.args(["user", "remove", "ada", "--data-dir"]).arg(site.path());
    assert!(output(&mut remove).await.status.success());
    for client in [&client, &of_upload] {
        assert_eq!(client.get(&upload.path).await.is(401).problem(), "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_stands_in_the_log() {
    use towline_tests::process::Launch;
    use towline_tests::site::Site;
    let site = Site::new();
    let user = site.add_user("ada").await;
    let launch = Launch::over(&site).variable("TOWLINE_LOG", "trace");
    let server = launch.start().await;
    let client = HttpClient::new(server.address(), &user.token);
    let upload = client.begin("a", 200).await;
    let nobody = client.with_token("");
    nobody
        .send("PATCH", &upload.url(), &[("content-range", "bytes 0-99/200")], vec![1; 100])
        .await
        .is(204);
    nobody
        .send("PATCH", &upload.url(), &[("content-range", "bytes 5-9/200")], vec![1; 5])
        .await
        .is(409);
    nobody.send("GET", &upload.url(), &[], "").await.is(200);
    let said = server.gone().await.join("\n");
    assert!(said.contains("paused"), "{said}");
    for token in [&upload.token, &user.token] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!said.contains(signature), "{said}");
    }
}

/// A client that does not send is cut off, and what it sent is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_refused_in_the_time_of_a_frame() {
    let (server, client) =
        server_with(|config| config.timings.frame = Duration::from_secs(1)).await;
    let upload = client.begin("a", 5000).await;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nContent-Range: bytes 0-4999/5000\r\n\
         Content-Length: 5000\r\n\r\nsome bytes",
        upload.url()
    );
    let answer = towline_tests::http_client::raw(server.address(), head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("too_slow"), "{answer}");
    assert!(answer.contains("upload-offset: 10\r\n"), "{answer}");
}

/// The token of an upload does nothing to other documents, whatever its upload becomes.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_upload_replaces_and_removes_nothing() {
    let (server, client) = server().await;
    let victim = client.begin("victim.txt", 3).await;
    client.patch(&victim, 0, b"old").await.is(204);
    let upload = client.begin("victim.txt", 3).await;
    let of_upload = client.with_token(&upload.token);
    let complete = format!("{}/complete", upload.path);
    let replace = serde_json::json!({ "onConflict": "replace" });
    assert_eq!(of_upload.post(&complete, &replace).await.is(403).problem(), "forbidden");
    of_upload.patch(&upload, 0, b"new").await.is(204);
    of_upload.send("DELETE", &upload.path, &[("tus-resumable", "1.0.0")], "").await.is(409);
    of_upload.send("POST", &format!("{}/token", upload.path), &[], "").await.is(409);
    let file = |bytes: &[u8]| towline_tests::test_file::TestFile { bytes: bytes.to_vec() };
    server.site.assert_published(&server.user, "victim.txt", &file(b"old"));
    server.site.assert_published(&server.user, "victim (1).txt", &file(b"new"));
}

/// The token of an upload ends with the key of the token with which it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_an_upload_ends_with_the_key_of_the_person() {
    use towline_tests::process::{output, towlined};
    let (server, client) = server().await;
    let key = async |arguments: &[&str]| {
        let mut command = towlined();
        command.arg("key").args(arguments).arg("--data-dir").arg(server.site.path());
        let output = output(&mut command).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let list = key(&["list", "--json"]).await;
    let first: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    let old = first["key"].as_str().or(first["key_id"].as_str()).expect("an id").to_owned();
    key(&["add"]).await;
    assert!(server.reload().token_keys.is_ok());
    let upload = client.begin("a", 5000).await;
    let of_upload = client.with_token(&upload.token);
    of_upload.get(&upload.path).await.is(200);
    key(&["retire", &old, "--now"]).await;
    assert!(server.reload().token_keys.is_ok());
    client.get(&upload.path).await.is(401);
    of_upload.get(&upload.path).await.is(401);
    of_upload.send("POST", &format!("{}/token", upload.path), &[], "").await.is(401);
}
