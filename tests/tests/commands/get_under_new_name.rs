//! `towline get FOLDER -o NEW` that was interrupted goes on in NEW, and does not begin again in a
//! folder below it.

use std::path::Path;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// `towline get photos -o new`, which tries once.
fn get(cli: &CliFixture, output: &str, folder: &Path) -> Command {
    let mut get = cli.at_home("get", &cli.path("state"));
    cli.reach(&mut get);
    get.args(["photos", "-o", output, "--retries", "0", "--json"]).current_dir(folder);
    get
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_get_under_a_new_name_goes_on_there() {
    let server = TestServer::start().await;
    let straight = CliFixture::new(&server.site, &server.user, server.address());
    let large = TestFile::new(12 * BLOCK, 1700);
    straight.write("photos/a.bin", &large);
    straight.write("photos/sub/b.bin", &TestFile::new(1000, 1701));
    run(straight.put(&straight.path("photos"))).await.assert_done();

    // Links 0, 2 and 4 list; the files come over the others.
    let cut = || Faults { cut_after_replies: Some(4 * BLOCK as u64), ..Faults::none() };
    let none = Faults::none;
    let plan = [none(), cut(), none(), cut()];
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::at(straight.path("far"), &server.user, proxy.address());
    let far = cli.path(".");
    run(get(&cli, "new", &far)).await.assert_code(3);
    assert!(far.join("new").is_dir());
    // The folder itself is named in another way, and it is where the person is.
    run(get(&cli, ".", &far.join("new"))).await.assert_code(3);
    let last = run(get(&cli, "new", &far)).await;
    let summary = last.assert_done().event("summary");
    let fetched_bytes = summary["fetched_bytes"].as_u64().unwrap();
    // Each of the two cuts has cost one block at most.
    let most = (12 - 2 * 3) * BLOCK as u64 + 1000;
    assert!(fetched_bytes <= most, "it began again: {summary}");
    assert_eq!(names(&far.join("new")), ["a.bin", "sub"]);
    assert!(std::fs::read(far.join("new/a.bin")).unwrap() == large.bytes);

    // Once all of it is there, it is a folder like any other, into which things are fetched.
    run(get(&cli, "new", &far)).await.assert_done();
    assert_eq!(names(&far.join("new")), ["a.bin", "photos", "sub"]);
    assert_eq!(names(&far.join("new/photos")), ["a.bin", "sub"]);
}
