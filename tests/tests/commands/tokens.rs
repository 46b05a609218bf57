//! The token: where it is stored, how it was saved, and to which server it is sent.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// A server that reads the first bytes of a client and closes.
fn eavesdropper() -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut bytes = vec![0; 4096];
            let count = stream.read(&mut bytes).unwrap_or(0);
            bytes.truncate(count);
            if heard.send(bytes).is_err() {
                return;
            }
        }
    });
    (address, hear)
}

fn entry(server: SocketAddr, file: &std::path::Path) -> String {
    serde_json::json!({"version": 1, "uploads": {"7": {"filename": "a.bin", "total_size": 10,
        "offset": 5, "status": "paused", "server": server.to_string(), "path": file}}})
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_environment_goes_only_to_a_server_that_was_named() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let (address, hear) = eavesdropper();
    let file = cli.write("a.bin", &TestFile::new(10, 230));
    fs::write(cli.state_path(), entry(address, &file)).unwrap();
    let command = |name: &str, arguments: &[&str]| {
        let mut command = cli.command(name);
        command.args(arguments).env("TOWLINE_TOKEN", "secret.of.another");
        command
    };
    // Only the list names the server.
    for (name, arguments) in [
        ("resume", &["--all", "--retries", "0"][..]),
        ("resume", &["7", "--retries", "0"]),
        ("status", &["7"]),
        ("cancel", &["7"]),
    ] {
        let outcome = run(command(name, arguments)).await;
        outcome.assert_code(2);
        assert!(outcome.err.contains(&format!("--to {address}")), "{outcome:?}");
        // Another server in the environment does not name this server, either.
        let mut other = command(name, arguments);
        other.env("TOWLINE_SERVER", server.address().to_string());
        run(other).await.assert_code(2);
    }
    assert!(hear.try_recv().is_err(), "nothing was sent to it");

    let mut named = command("status", &["7"]);
    named.env("TOWLINE_SERVER", address.to_string());
    run(named).await.assert_code(3);
    let heard = hear.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("secret.of.another"));
    run(command("status", &["7", "--to", &address.to_string()])).await.assert_code(3);
    let heard = hear.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("secret.of.another"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_in_the_list_is_said_to_be_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for name in ["status", "cancel"] {
        let mut command = cli.command(name);
        command.arg("9").arg("--token-file").arg(cli.path("token"));
        let outcome = run(command).await;
        outcome.assert_code(1);
        assert!(
            outcome.err.contains("9 is not among the unfinished uploads of this machine"),
            "{outcome:?}"
        );
        assert!(outcome.err.contains("--to"), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_as_windows_saves_it_and_one_that_is_none_is_named() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let token = server.user.token.clone();
    let text = format!("\u{feff}{token}\r\n");
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (n, bytes) in [text.into_bytes(), utf16].into_iter().enumerate() {
        fs::write(cli.path("token"), bytes).unwrap();
        let file = cli.write(&format!("{n}.bin"), &TestFile::new(10, 231 + n as u64));
        run(cli.put(&file)).await.assert_done();
    }
    fs::write(cli.path("my token"), "two words").unwrap();
    let mut put = cli.command("put");
    put.arg(cli.path("0.bin")).arg("--to").arg(cli.to.to_string());
    put.arg("--token-file").arg(cli.path("my token"));
    let outcome = run(put).await;
    outcome.assert_code(2);
    assert!(outcome.err.contains("my token'"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_everybody_can_read_is_warned_of_once() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for name in ["f/a.bin", "f/b.bin"] {
        cli.write(name, &TestFile::new(10, 234));
    }
    for (mode, warnings) in [(0o644, 1), (0o600, 0), (0o640, 0)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(cli.path("token"), mode).unwrap();
        let outcome = run(cli.put(&cli.path("f"))).await;
        assert_eq!(outcome.assert_done().err.matches("chmod").count(), warnings, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_while_a_file_is_sent_says_when_and_what_is_kept() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 235);
    let file = cli.write("a.bin", &test_file);
    let short = server.site.token(server.user.id, Duration::from_secs(3600));
    fs::write(cli.path("token"), &short).unwrap();
    let mut sending = cli.start(cli.put(&file));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    // The server's clock passes the end of the token, and the next login comes too late.
    server.clock.advance(Duration::from_secs(7200));
    proxy.link(0).await.cut();
    let outcome = sending.end().await;
    outcome.assert_code(3);
    let error = outcome.event("error");
    assert_eq!(error["code"], "auth_expired");
    assert!(error["message"].as_str().unwrap().contains("UTC"), "{error}");
    let document = error["document_id"].as_u64().unwrap();
    assert!(
        outcome.err.contains(&format!("towline resume {document} --token-file")),
        "{outcome:?}"
    );

    // A new token in another file continues the upload, as the message says.
    proxy.otherwise(Faults::none());
    fs::write(cli.path("new"), server.site.token(server.user.id, Duration::from_secs(86_400)))
        .unwrap();
    let mut resume = cli.command("resume");
    resume.arg(document.to_string()).arg("--token-file").arg(cli.path("new"));
    run(resume).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_token_in_the_same_file_keeps_the_connection() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 236);
    let file = cli.write("a.bin", &test_file);
    fs::write(cli.path("token"), server.site.token(server.user.id, Duration::from_secs(10)))
        .unwrap();
    let mut put = cli.put(&file);
    put.args(["--limit-rate", "2MiB", "--parallel", "1"]);
    let mut sending = cli.start(put);
    sending.until(|event| event["received"].as_u64() > Some(0)).await;
    // What is in the file before the first token ends.
    fs::write(cli.path("token"), server.site.token(server.user.id, Duration::from_secs(3600)))
        .unwrap();
    let outcome = sending.end().await;
    outcome.assert_done();
    assert_eq!(proxy.connections(), 1, "{outcome:?}");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_ended_is_looked_for_in_its_file_before_the_command_gives_up() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 237);
    let file = cli.write("a.bin", &test_file);
    let token = |hours: u64| server.site.token(server.user.id, Duration::from_secs(hours * 3600));
    fs::write(cli.path("first"), token(1)).unwrap();
    fs::write(cli.path("second"), token(24)).unwrap();
    // The file is a link, which is made to lead elsewhere.
    fs::remove_file(cli.path("token")).unwrap();
    symlink(cli.path("first"), cli.path("token")).unwrap();
    let mut sending = cli.start(cli.put(&file));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    symlink(cli.path("second"), cli.path("next")).unwrap();
    fs::rename(cli.path("next"), cli.path("token")).unwrap();
    fs::remove_file(cli.path("first")).unwrap();
    server.clock.advance(Duration::from_secs(7200));
    proxy.otherwise(Faults::none());
    proxy.link(0).await.cut();
    sending.end().await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
