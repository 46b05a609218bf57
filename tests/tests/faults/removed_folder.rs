//! The folder of the uploads, or the folder of the staging files, is removed while the server runs.
//! Clients and the operator are told so, and are not told that the bytes on the disk are kept.

use std::fs;
use std::process::Command;
use towline_protocol::Code;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{ZERO, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};

async fn put(server: &ServerProcess, user: &TestUser, name: &str, test_file: &TestFile) {
    let mut client = server.client(user).await;
    client.upload(upload(name, test_file)).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_folder_is_named_to_clients_and_to_the_operator() {
    let (small, large) = (TestFile::new(1000, 960), TestFile::new(3 * BLOCK, 961));
    for (how, path) in [
        ("removed", "uploads"),
        ("emptied", "uploads/.staging"),
        ("without its staging files", "uploads/.staging"),
    ] {
        let site = Site::new();
        let ada = site.add_user("ada").await;
        let server = Launch::over(&site).start().await;
        put(&server, &ada, "before.bin", &large).await;
        let backup = site.outside().join("backup");
        let copied = Command::new("cp").arg("-a").arg(site.uploads()).arg(&backup).status();
        assert!(copied.unwrap().success());
        match how {
            "removed" => fs::remove_dir_all(site.uploads()).unwrap(),
            "emptied" => {
                for entry in fs::read_dir(site.uploads()).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                        .unwrap();
                }
            }
            _ => fs::remove_dir_all(site.staging_folder()).unwrap(),
        }
        for (name, test_file) in [("small.bin", &small), ("large.bin", &large)] {
            let mut client = server.client(&ada).await;
            let told = client.upload_refused(upload(name, test_file), Code::StorageReadOnly).await;
            assert!(told.message.contains("was removed"), "{how}: {}", told.message);
            assert!(told.message.contains("start the server again"), "{how}: {}", told.message);
            assert!(!told.message.contains("kept"), "{how}: {}", told.message);
            assert!(told.retry);
        }
        server.says("was removed while").await;
        let lines = server.said();
        let line = lines.iter().find(|line| line.contains("was removed while")).unwrap();
        assert!(line.contains(&format!("path=\"{path}\"")), "{how}: {line}");
        assert!(line.contains("WARN") && line.contains("errno=2"), "{how}: {line}");
        server.gone().await;
        // What the message advises works.
        let refused = Launch::over(&site).try_start().await.expect_err("a part is missing");
        assert!(refused.said.join("\n").contains(path), "{:?}", refused.said);
        let _ = fs::remove_dir_all(site.uploads());
        fs::rename(&backup, site.uploads()).unwrap();
        let server = Launch::over(&site).start().await;
        site.assert_published(&ada, "before.bin", &large);
        put(&server, &ada, "after.bin", &small).await;
        server.gone().await;
    }
}
