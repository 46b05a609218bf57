//! `towline link`: an address with which others fetch one file.

use super::get_hostile::{hash, rogue};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use towline_protocol::frame;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::http_client::HttpClient;
use towline_tests::process::{ServerProcess, stdout, towline, towlined};
use towline_tests::raw_client::upload;
use towline_tests::server::TestServer;
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::TestFile;

async fn ask(cli: &CliFixture, command: &str, arguments: &[&str]) -> Outcome {
    let mut asked = cli.at_home(command, &cli.path("state"));
    cli.reach(&mut asked);
    asked.args(arguments).current_dir(cli.path(".")).env("XDG_CONFIG_HOME", cli.path("config"));
    let outcome = run(asked).await;
    let shown = format!("{}{}", outcome.out, outcome.err);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{outcome:?}");
    outcome
}

/// A server with HTTP, and a person whose file is on it.
async fn with_file(name: &str, file: &TestFile) -> (TestServer, CliFixture) {
    let server = TestServer::start_with_http(|_| {}).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let path = cli.write(name, file);
    run(cli.put(&path)).await.assert_done();
    (server, cli)
}

/// The path and the query of the one line of standard output.
fn path_of(out: &str, origin: &str) -> String {
    let url = out.strip_suffix('\n').unwrap_or_else(|| panic!("{out:?}"));
    assert_eq!(url.lines().count(), 1, "{url}");
    url.strip_prefix(origin).unwrap_or_else(|| panic!("{url} begins with {origin}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_address_is_all_that_others_need() {
    let file = TestFile::new(70_000, 1600);
    let (server, cli) = with_file("Übung 3.pdf", &file).await;
    let origin = format!("http://{}", server.address());
    let stranger = HttpClient::new(server.address(), "");
    let told = ask(&cli, "link", &["Übung 3.pdf"]).await;
    let path = path_of(&told.assert_done().out, &origin);
    assert!(stranger.get(&path).await.is(200).body == file.bytes, "the bytes of the file");
    assert!(told.err.contains("can fetch Übung 3.pdf until 20"), "{told:?}");
    assert!(told.err.contains("works on this machine alone"), "{told:?}");
    let (_, token) = path.split_once("token=").unwrap();
    assert!(!told.err.contains(token), "{told:?}");

    let quiet = ask(&cli, "link", &["Übung 3.pdf", "-q"]).await;
    assert_eq!((&*quiet.assert_done().out, &*quiet.err), ("", ""));

    let short = ask(&cli, "link", &["./Übung 3.pdf", "--ttl", "2h"]).await;
    let path = path_of(&short.assert_done().out, &origin);
    stranger.get(&path).await.is(200);
    server.clock.advance(Duration::from_secs(2 * 3600 + 1));
    stranger.get(&path).await.is(401);

    let event = ask(&cli, "share", &["Übung 3.pdf", "--json"]).await.event("link");
    let path = path_of(&format!("{}\n", event["url"].as_str().unwrap()), &origin);
    assert_eq!((&event["path"], &event["document_id"]), (&json!("Übung 3.pdf"), &json!(1)));
    let left = event["expires_at"].as_u64().unwrap() - server.clock.now().get();
    assert!((6 * 86_400_000..=7 * 86_400_000).contains(&left), "{left} ms");
    stranger.get(&path).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_ends_with_the_token_says_so() {
    let (server, _) = with_file("a", &TestFile::new(10, 1601)).await;
    let token = server.site.token(server.user.id, Duration::from_secs(3600));
    let user = TestUser { token, ..server.user.clone() };
    let cli = CliFixture::new(&server.site, &user, server.address());
    let told = ask(&cli, "link", &["a"]).await;
    assert!(told.assert_done().err.contains(", when your token ends"), "{told:?}");
    let told = ask(&cli, "link", &["a", "--ttl", "10m"]).await;
    assert!(!told.assert_done().err.contains("your token"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_link_is_named() {
    let file = TestFile::new(5000, 1602);
    let (server, cli) = with_file("proj/a", &file).await;
    ask(&cli, "mkdir", &["plans"]).await.assert_done();
    let mut client = server.client().await;
    client.upload(upload("half.bin", &file)).await;
    for (path, words) in [
        ("plans", "plans is no file, and a link leads to one file; towline ls plans"),
        (".", "your own folder is no file"),
        ("nothing", "nothing: you have nothing of that name"),
        ("half.bin", "gets its link when it is complete"),
    ] {
        let told = ask(&cli, "link", &[path]).await;
        assert_eq!((told.code, &*told.out), (Some(1), ""), "{path}: {told:?}");
        assert!(told.err.contains(words), "{path}: {told:?}");
    }
    for ttl in ["0s", "31d", "soon"] {
        ask(&cli, "link", &["a", "--ttl", ttl]).await.assert_code(2);
    }
    let error = ask(&cli, "link", &["plans", "--json"]).await.event("error");
    assert_eq!(error["exit"], 1, "{error}");

    let frames_alone = TestServer::start().await;
    let cli = CliFixture::new(&frames_alone.site, &frames_alone.user, frames_alone.address());
    let told = ask(&cli, "link", &["a"]).await;
    assert!(told.assert_code(1).err.contains("makes no links: it serves no HTTP"), "{told:?}");
}

/// The port of HTTP, where that is one of its own.
fn http_port(line: &str) -> SocketAddr {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_has_the_port_or_the_name_of_the_http_door() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let file = TestFile::new(5000, 1603);
    let mut server = ServerProcess::start_with(&site, &["--http-listen", "127.0.0.1:0"]).await;
    let line = server.says_in_one_line(&["http on 127.0.0.1:"]).await;
    let http = http_port(&line);
    let cli = CliFixture::new(&site, &user, server.address());
    let path = cli.write("a", &file);
    run(cli.put(&path)).await.assert_done();
    let told = ask(&cli, "link", &["a"]).await;
    let path = path_of(&told.assert_done().out, &format!("http://{http}"));
    assert!(HttpClient::new(http, "").get(&path).await.is(200).body == file.bytes);
    server.kill().await;

    let settings = site.settings("http_url = \"https://files.example.com/\"\n");
    let server = ServerProcess::start_with(&site, &["--config", settings.to_str().unwrap()]).await;
    let cli = CliFixture::new(&site, &user, server.address());
    let told = ask(&cli, "link", &["a"]).await;
    let path = path_of(&told.assert_done().out, "https://files.example.com");
    assert!(!told.err.contains("certificate") && !told.err.contains("alone"), "{told:?}");
    HttpClient::new(server.address(), "").get(&path).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_warns_of_the_servers_own_certificate() {
    let (server, mut cli) = with_file("a", &TestFile::new(10, 1604)).await;
    // This machine by an address that the client does not know to be of this machine.
    let to = SocketAddr::from((Ipv4Addr::UNSPECIFIED, server.address().port()));
    cli.to = to;
    let told = ask(&cli, "link", &["a", "--trust-new"]).await;
    path_of(&told.assert_done().out, &format!("https://{to}"));
    let lines = told.err.lines().filter(|line| line.contains("a browser warns")).count();
    assert_eq!(lines, 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_server_stands_before_the_path() {
    let (server, cli) = with_file("a", &TestFile::new(10, 1605)).await;
    let mut join = towlined();
    let address = server.address().to_string();
    join.args(["join", "--user", "ada", "--address", &address, "--data-dir"]);
    let line = stdout(join.arg(server.site.path())).await;
    let types = |arguments: &[&str]| {
        let mut command = towline();
        command.args(arguments).current_dir(cli.path("."));
        command.env("XDG_CONFIG_HOME", cli.path("config")).env("XDG_STATE_HOME", cli.path("state"));
        run(command)
    };
    types(&["login", line.trim(), "--as", "nas"]).await.assert_done();
    let told = types(&["link", "nas:a"]).await;
    path_of(&told.assert_done().out, "https://127.0.0.1");
    // With --to, it is the name of a file.
    let told = types(&["link", "nas:a", "--to", "nas"]).await;
    assert!(told.assert_code(1).err.contains("nas:a: you have nothing"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_gets_nothing_printed() {
    let server = TestServer::start().await;
    let mut cli = CliFixture::new(&server.site, &server.user, server.address());
    let honest = json!({"path": "/d/7/evil?token=t", "document_id": 7, "expires_at": 1});
    let said = |change: Value| {
        let mut reply = honest.clone();
        for (field, value) in change.as_object().unwrap() {
            reply[field] = value.clone();
        }
        reply
    };
    for change in [
        json!({"path": "/d/7/\u{1b}[2Jevil"}),
        json!({"path": "/d/7/evil\r\nnext"}),
        json!({"path": "/d/7/\u{202e}evil"}),
        json!({"path": "//evil.test/d/7"}),
        json!({"path": "d/7"}),
        json!({"path": ""}),
        json!({"origin": "https://evil.test/\u{1b}]0;"}),
        json!({"origin": "javascript:alert(1)//"}),
        json!({"origin": "https://nas@evil.test"}),
        json!({"port": 70000}),
        json!({"document_id": 0}),
    ] {
        let reply = said(change.clone());
        cli.to = rogue(move |request| {
            let mut reply = reply.clone();
            reply["action"] = "download_url".into();
            reply["channel"] = request["channel"].clone();
            frame::control(&reply)
        });
        let told = ask(&cli, "link", &["evil"]).await;
        assert_eq!((told.code, &*told.out), (Some(1), ""), "{change}: {told:?}");
        assert!(told.err.contains("broke the rules of the protocol"), "{change}: {told:?}");
    }
    // An answer to another question, and an error with control characters.
    for (action, more) in [
        ("stat", json!({"node": {"name": hash()}})),
        (
            "error",
            json!({
        "code": "bad_state", "number": 409, "message": "\u{1b}[2J", "retry": false}),
        ),
    ] {
        cli.to = rogue(move |request| {
            let mut reply = more.clone();
            reply["action"] = action.into();
            reply["channel"] = request["channel"].clone();
            frame::control(&reply)
        });
        let told = ask(&cli, "link", &["evil"]).await;
        assert_eq!((told.code, &*told.out), (Some(1), ""), "{action}: {told:?}");
    }
}
