//! Many small files in one `towline put`: they share a connection, and each of them is as safe as
//! if it were sent alone.

use std::collections::BTreeSet;
use std::path::Path;
use towline_protocol::request::Upload;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::raw_client::{ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile, chance};
use towline_types::OnConflict;

/// Writes that number of files, with a few bytes to a few hundred KiB each, into `many/`.
fn write(cli: &CliFixture, count: usize) -> Vec<(String, TestFile)> {
    (0..count)
        .map(|n| {
            // Only one file is empty, because a second one would have the same bytes.
            let size = match n % 50 {
                0 if n == 0 => 0,
                7 => 300_000,
                11 => BLOCK + 1,
                13 => 70_000,
                _ => 10 + n * 13,
            };
            let name = format!("many/{}/f{n}", n % 3);
            let test_file = TestFile::new(size, 5000 + n as u64);
            cli.write(&name, &test_file);
            (name, test_file)
        })
        .collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(names(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// Checks that each file is published once, complete and under its own name, and that nothing else
/// is left.
async fn assert_all_there(server: &TestServer, files: &[(String, TestFile)]) {
    for (name, test_file) in files {
        server.site.assert_published(&server.user, name, test_file);
    }
    let wanted: BTreeSet<_> = files.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names(&server.site.documents(&server.user)), wanted);
    server.site.state_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_all_arrive_and_the_next_run_sends_nothing() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let files = write(&cli, 300);
    let put = || {
        let mut put = cli.put(&cli.path("many"));
        put.arg("--json");
        put
    };
    let outcome = run(put()).await;
    let events = outcome.assert_done().events();
    let completed: Vec<_> = events.iter().filter(|event| event["event"] == "completed").collect();
    assert_eq!(completed.len(), files.len());
    assert!(completed.iter().all(|event| event["existing"] == false && event["durable"] == true));
    assert_all_there(&server, &files).await;

    let again = run(put()).await;
    let events = again.assert_done().events();
    let existing =
        events.iter().filter(|event| event["existing"] == true && event["sent_bytes"] == 0);
    assert_eq!(existing.count(), files.len());
    assert_all_there(&server, &files).await;
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_over_a_link_that_breaks_arrive_once_each() {
    let server = TestServer::start().await;
    let mut chance = chance();
    let plan: Vec<_> = (0..12)
        .map(|n| {
            let length = chance.u64(2000..400_000);
            if n % 2 == 0 { Faults::cut_after(length) } else { Faults::reset_after(length) }
        })
        .collect();
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let files = write(&cli, 200);
    run(cli.put(&cli.path("many"))).await.assert_done();
    assert!(proxy.connections() > 1);
    assert_all_there(&server, &files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_does_not_delay_the_others() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let files = write(&cli, 40);
    // A different file with the same name.
    let other = TestFile::new(5, 1);
    let mut client = server.client().await;
    let folder = vec!["many".to_owned(), "1".to_owned()];
    let taken = Upload { folder, on_conflict: OnConflict::Reject, ..upload("f1", &other) };
    client.upload(taken).await;
    client.chunks(ZERO, &other, 0..5).await;
    client.complete(ZERO).await;

    let mut put = cli.put(&cli.path("many"));
    put.args(["--on-conflict", "reject"]);
    let outcome = run(put).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("many/1/f1: "), "{outcome:?}");
    let files: Vec<_> = files
        .into_iter()
        .map(
            |(name, test_file)| {
                if name == "many/1/f1" { (name, other.clone()) } else { (name, test_file) }
            },
        )
        .collect();
    assert_all_there(&server, &files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_is_finished_by_the_next() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(200_000)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let files = write(&cli, 200);
    let started = cli.start(cli.put(&cli.path("many")));
    proxy.link(0).await.has_passed(200_000).await;
    started.signal(rustix::process::Signal::INT);
    let outcome = started.end().await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("of 200 files done"), "{outcome:?}");
    run(cli.put(&cli.path("many"))).await.assert_done();
    assert_all_there(&server, &files).await;
}
