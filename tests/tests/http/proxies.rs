//! A server behind a proxy.

use super::kit::server_with;
use towline_server::{AddressRange, AuditFile, Config};
use towline_tests::http_client::HttpClient;
use towline_tests::server::TestServer;

fn trust_this_machine(config: &mut Config) {
    let range: AddressRange = "127.0.0.1".parse().unwrap();
    config.http.proxies = std::iter::once(range).collect();
}

const BEHIND_TLS: [(&str, &str); 2] =
    [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")];

fn said() -> String {
    serde_json::json!({ "filename": "a", "size": 5 }).to_string()
}

async fn begin(client: &HttpClient, headers: &[(&str, &str)]) -> (u16, serde_json::Value) {
    let mut all = vec![("content-type", "application/json"), ("host", "files.example.com")];
    all.extend(headers);
    let answer = client.send("POST", "/uploads", &all, said()).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_the_address_that_the_client_uses() {
    let (_server, client) = server_with(trust_this_machine).await;
    let (status, created) = begin(&client, &BEHIND_TLS).await;
    assert_eq!(status, 201);
    let url = created["uploadUrl"].as_str().unwrap();
    assert!(url.starts_with("https://files.example.com/uploads/"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_who_came_to_the_proxy_without_tls_is_refused() {
    let (_server, client) = server_with(trust_this_machine).await;
    let plain = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "http")];
    let (status, refused) = begin(&client, &plain).await;
    assert_eq!((status, refused["code"].as_str()), (426, Some("tls_required")));
    let local = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")];
    assert_eq!(begin(&client, &local).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_trusted_is_the_client() {
    let (_server, client) = server_with(|_| {}).await;
    let (status, created) = begin(&client, &BEHIND_TLS).await;
    assert_eq!(status, 201);
    let url = created["uploadUrl"].as_str().unwrap();
    assert!(url.starts_with("http://files.example.com/uploads/"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_names_the_client_and_not_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let file = AuditFile { path: path.clone(), max_bytes: None };
    let mut server = TestServer::start_with_http(move |config| {
        trust_this_machine(config);
        config.audit = Some(file.clone());
    })
    .await;
    let client = HttpClient::new(server.address(), &server.user.token);
    assert_eq!(begin(&client, &BEHIND_TLS).await.0, 201);
    let stranger = client.with_token("nonsense");
    assert_eq!(begin(&stranger, &BEHIND_TLS).await.0, 401);
    server.stop().await;
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| {
        let line = lines.iter().find(|line| line["event"] == event);
        line.unwrap_or_else(|| panic!("{event} in {log}"))["address"].clone()
    };
    assert_eq!(of("upload"), "198.51.100.7:0");
    assert_eq!(of("login"), "198.51.100.7:0");
}
