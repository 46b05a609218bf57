//! `protocol/examples/speaker.py`, the simplest client, against the real server.

use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;
use towline_tests::process::{ServerProcess, output};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};

/// A file to send, and the other files that the script needs.
struct Script {
    folder: PathBuf,
    name: String,
}

impl Script {
    fn new(site: &Site, user: &TestUser, name: &str, test_file: &TestFile) -> Self {
        let folder = site.outside().to_owned();
        std::fs::write(folder.join(name), &test_file.bytes).unwrap();
        std::fs::write(folder.join("token"), format!("{}\n", user.token)).unwrap();
        Self { folder, name: name.to_owned() }
    }

    async fn run(&self, address: std::net::SocketAddr, stop_after: Option<usize>) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/examples/speaker.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(address.ip().to_string()).arg(address.port().to_string());
        command.args(["token", &self.name, "notes.json"]).current_dir(&self.folder);
        command.env_remove("TOWLINE_STOP_AFTER").kill_on_drop(true);
        if let Some(bytes) = stop_after {
            command.env("TOWLINE_STOP_AFTER", bytes.to_string());
        }
        output(&mut command).await
    }

    fn notes(&self) -> PathBuf {
        self.folder.join("notes.json")
    }
}

/// Whether Python is installed; prints that the test is skipped where it is not.
async fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().await;
    let has = found.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("SKIPPED: python3 is not here, so speaker.py was NOT tested");
    }
    has
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_client_uploads_pauses_and_resumes() {
    if !has_python().await {
        return;
    }
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    for size in [0, 1, BLOCK, 3 * BLOCK + 7] {
        let test_file = TestFile::new(size, 200);
        let name = format!("whole {size}.bin");
        let script = Script::new(&site, &user, &name, &test_file);
        let done = script.run(server.address(), None).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stdout).starts_with("SUCCESS document_id="));
        site.assert_published(&user, &name, &test_file);
        assert!(!script.notes().exists());
    }

    let test_file = TestFile::new(5 * BLOCK + 11, 201);
    let script = Script::new(&site, &user, "paused.bin", &test_file);
    for round in 0..4 {
        let paused = script.run(server.address(), Some(BLOCK + 33_333)).await;
        assert_eq!(paused.status.code(), Some(3), "{paused:?}");
        assert!(script.notes().exists());
        match round {
            0 => {}
            1 => server.kill_and_start_again().await,
            2 => {
                server.signal(rustix::process::Signal::TERM);
                assert!(server.ended().await.success());
                server.start_again().await;
            }
            // The script's notes have an old offset: the server tells it where to continue.
            _ => {
                let notes = std::fs::read_to_string(script.notes()).unwrap();
                let mut notes: serde_json::Value = serde_json::from_str(&notes).unwrap();
                notes["offset"] = 17.into();
                std::fs::write(script.notes(), notes.to_string()).unwrap();
            }
        }
    }
    let done = script.run(server.address(), None).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    site.assert_published(&user, "paused.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_client_is_cut_off_and_runs_again() {
    if !has_python().await {
        return;
    }
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(4 * BLOCK, 202);
    let script = Script::new(&site, &user, "cut.bin", &test_file);
    let faults = [Faults::cut_after(700_000), Faults::reset_after(1_000_000)];
    let proxy = FaultProxy::start(server.address(), faults).await;
    for round in 0..3 {
        let cut = if round < 2 {
            script.run(proxy.address(), None).await
        } else {
            // The script is killed while it sends.
            proxy.plan([Faults { segment: Some(1000), ..Faults::none() }]);
            let address = proxy.address();
            let running = script.run(address, None);
            let killing = async {
                proxy.link(2).await.has_passed(400_000).await;
                server.kill().await;
            };
            let (cut, ()) = tokio::join!(running, killing);
            server.start_again().await;
            cut
        };
        assert_eq!(cut.status.code(), Some(3), "round {round}: {cut:?}");
    }
    let done = script.run(proxy.address(), None).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    site.assert_published(&user, "cut.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_client_prints_a_refusal() {
    if !has_python().await {
        return;
    }
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(10, 203);
    let script = Script::new(&site, &user, "file.bin", &test_file);
    std::fs::write(site.outside().join("token"), "no.good.token").unwrap();
    let refused = script.run(server.address(), None).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unauthorized"));
}
