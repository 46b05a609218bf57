//! Ctrl-C works, whatever the server does.

use rustix::process::Signal;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use towline_protocol::frame;
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;

/// A server that welcomes every client, and then sends as fast as the client reads.
fn talker() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let welcome = json!({"action": "welcome", "version": 1, "server": "x",
                    "user_id": 1, "user": "u", "max_filesize": 1_000_000, "chunk_size": 64,
                    "max_chunk_size": 1024, "block_size": 1_048_576, "max_channels": 16,
                    "features": []});
                let words = frame::control(&json!({"action": "ping"})).repeat(1000);
                // It reads until the client has sent some bytes, and does not look at them.
                let heard = stream.read(&mut [0; 4096]);
                let said = heard.and_then(|_| stream.write_all(&frame::control(&welcome)));
                while said.is_ok() && stream.write_all(&words).is_ok() {}
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_pauses_and_a_second_ends_the_client_though_the_server_sends_without_end() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let cli = CliFixture::new(&site, &user, talker());
    let file = cli.write("a.bin", &TestFile::new(10, 220));
    for (number, signals) in
        [&[Signal::INT][..], &[Signal::TERM], &[Signal::INT, Signal::TERM]].iter().enumerate()
    {
        let put = cli.start(cli.put(&file));
        // The client prints nothing when it has begun to read from the server, so the test waits.
        tokio::time::sleep(Duration::from_millis(800)).await;
        let began = Instant::now();
        for signal in *signals {
            put.signal(*signal);
            // A second signal just after the first would count as the same one.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        put.end().await.assert_code(3);
        println!("{number}: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}

/// Holds a lease on a file. A program that opens the file waits until the lease is given up, or
/// until the system takes it away (`/proc/sys/fs/lease-break-time`, 45 s).
const HOLD_A_LEASE: &str = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";

/// The lease lasts until this is dropped; nothing where there is no Python to hold it.
async fn lease_on(file: &std::path::Path) -> Option<Child> {
    let mut command = Command::new("python3");
    command.args(["-c", HOLD_A_LEASE]).arg(file).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut holder) = command.spawn() else {
        eprintln!("SKIPPED: python3 is not here, so a file that cannot be opened was NOT tested");
        return None;
    };
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    let said = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
    assert_eq!(said.as_deref(), Some("held"), "the file system knows leases");
    Some(holder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_client_while_the_system_does_not_open_the_file() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(1000, 221);
    let file = cli.write("a.bin", &test_file);
    let Some(lease) = lease_on(&file).await else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let put = cli.start(cli.put(&file));
        let is_noted = async {
            while !cli.state_path().exists() || cli.state().jobs.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, is_noted).await.unwrap();
        // The client prints nothing when it waits for the file, so the test waits.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        put.signal(signal);
        let outcome = put.end().await;
        outcome.assert_code(3);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(outcome.err.contains("before anything was sent"), "{outcome:?}");
        assert_eq!(cli.state().jobs.len(), 1, "it can be resumed");
    }
    drop(lease);
    run(cli.command("resume")).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
