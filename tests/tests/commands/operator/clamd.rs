//! A real clamd, with a database of one signature, before a server. Where the machine has none, each
//! test prints that it was skipped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use towline_protocol::{Code, Held};
use towline_tests::PATIENCE;
use towline_tests::process::Launch;
use towline_tests::raw_client::upload;
use towline_tests::site::Site;
use towline_tests::stub_scanner::eicar;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::has;

/// clamd over a socket in a folder of the test.
struct Clamd {
    folder: PathBuf,
    running: Option<Child>,
}

impl Clamd {
    /// Writes its configuration and its one signature; documents of more than 1 MiB are too long.
    fn in_folder(folder: &Path) -> Self {
        let folder = folder.join("clamd");
        let database = folder.join("database");
        std::fs::create_dir_all(&database).unwrap();
        let hex: String = eicar().iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(database.join("test.ndb"), format!("Test.Eicar:0:*:{hex}\n")).unwrap();
        let settings = format!(
            "LocalSocket {0}/socket\nDatabaseDirectory {0}/database\nForeground yes\n\
             StreamMaxLength 1M\n",
            folder.display()
        );
        std::fs::write(folder.join("clamd.conf"), settings).unwrap();
        Self { folder, running: None }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    async fn start(&mut self) {
        let running = Command::new("clamd")
            .arg("--config-file")
            .arg(self.folder.join("clamd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.running = Some(running);
        let began = Instant::now();
        // It says nothing to us; a connection says that it is there.
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(began.elapsed() < PATIENCE, "clamd does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().kill().await.unwrap();
        std::fs::remove_file(self.socket()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clamd_says_what_is_given_out() {
    if !has("clamd") {
        return;
    }
    let site = Site::new();
    let ada = site.add_user("ada").await;
    let mut clamd = Clamd::in_folder(site.outside());
    clamd.start().await;
    let address = format!("unix:{}", clamd.socket().display());
    let server = Launch::over(&site).arguments(&["--scan-clamd", &address]).start().await;
    let mut client = server.client(&ada).await;
    let clean = TestFile::new(BLOCK / 2 + 7, 9500);
    client.put(upload("clean", &clean), &clean).await;
    client.until_held("clean", None).await;
    site.assert_published(&ada, "clean", &clean);
    let infected = TestFile { bytes: eicar() };
    client.put(upload("infected", &infected), &infected).await;
    let id = client.until_held("infected", Some(Held::Quarantined)).await;
    client.assert_held(id, Code::Quarantined).await;
    server.says_in_one_line(&["scanned: infected", "Test.Eicar"]).await;
    // It is never clean because clamd does not want it.
    let long = TestFile::new(5 * BLOCK, 9501);
    client.put(upload("long", &long), &long).await;
    let id = client.until_held("long", Some(Held::Failed)).await;
    client.assert_held(id, Code::Unscanned).await;
    server.says("INSTREAM size limit exceeded").await;
    let (listed, _) = super::events(&site, &["quarantine"]).await;
    assert!(listed[0]["signatures"].as_str().unwrap().starts_with("ClamAV"), "{listed:#?}");
    // Without clamd nothing is given out, and later all is.
    clamd.stop().await;
    let id = client.put(upload("later", &clean), &clean).await;
    server.says_in_one_line(&["a document could not be scanned", "clamd at unix:"]).await;
    client.assert_held(id, Code::Scanning).await;
    clamd.start().await;
    client.until_held("later", None).await;
    server.assert_calm();
    server.gone().await;
}
