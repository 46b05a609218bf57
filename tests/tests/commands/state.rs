//! The client's state file: damaged, of a later version, of an earlier one.

use std::fs;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;

#[tokio::test(flavor = "multi_thread")]
async fn damaged_state_files_are_set_aside_and_kept() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    fs::write(cli.state_path(), b"{\"uploads\": {\"1\":").unwrap();
    run(cli.put(&cli.write("a.bin", &TestFile::new(10, 80)))).await.assert_done();
    let kept = fs::read_dir(cli.path("")).unwrap().any(|entry| {
        entry.unwrap().file_name().to_string_lossy().starts_with("uploads_state.json.corrupt-")
    });
    assert!(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_files_of_a_later_version_are_left_alone() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let later = b"{\"version\": 999, \"uploads\": {}}";
    fs::write(cli.state_path(), later).unwrap();
    let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(10, 81)))).await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.err.contains("uploads_state.json"), "{outcome:?}");
    assert_eq!(fs::read(cli.state_path()).unwrap(), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_a_byte_for_years_stay_until_their_server_says_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let old = r#"{"version":1,"uploads":{"7":{"filename":"old.bin","total_size":10,"offset":5,
        "start_time":1000000,"last_chunk_time":1000000,"status":"paused"}}}"#;
    fs::write(cli.state_path(), old).unwrap();
    let listed = run(cli.command("uploads")).await;
    assert!(listed.assert_done().out.contains("old.bin"), "{listed:?}");
    run(cli.put(&cli.write("a.bin", &TestFile::new(10, 82)))).await.assert_done();
    assert!(cli.state().uploads.contains_key("7"), "this server was never asked about it");
}
