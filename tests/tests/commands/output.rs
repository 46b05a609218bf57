//! The output itself: events for programs, help, and output that cannot be written.

use std::fs::File;
use std::process::Stdio;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::towline;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_is_not_success() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(10, 220));
    let full = || Stdio::from(File::create("/dev/full").unwrap());
    let mut json = cli.put(&file);
    json.arg("--json");
    let mut help = towline();
    help.args(["put", "--help"]);
    for mut command in [json, cli.put(&file), cli.command("uploads"), help] {
        command.stdout(full()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_ne!(output.status.code(), Some(0), "{command:?}: {output:?}");
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(err.contains("standard output"), "{command:?}: {err}");
    }
    // The upload itself has succeeded.
    assert!(server.site.document(&server.user, "a.bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_matters_to_programs_only() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(10, 221));
    for (json, code) in [(true, 1), (false, 0)] {
        let mut put = cli.put(&file);
        if json {
            put.arg("--json");
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        put.stdout(Stdio::from(writer)).stderr(Stdio::piped());
        let child = put.spawn().unwrap();
        drop(put);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_a_time_a_rate_and_a_summary_at_the_end() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: std::time::Duration::from_millis(10), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    cli.write("folder/big.bin", &TestFile::new(24 * BLOCK, 222));
    std::os::unix::fs::symlink("/etc/hostname", cli.path("folder/link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(cli.path("folder/socket")).unwrap();
    let mut put = cli.put(&cli.path("folder"));
    put.arg("--json");
    let outcome = run(put).await;
    let events = outcome.assert_done().events();
    for event in &events {
        let time = event["time"].as_str().unwrap_or_default();
        assert!(time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000Z".len(), "{event}");
    }
    let skipped = outcome.event("skipped");
    assert!(skipped["path"].as_str().unwrap().ends_with("socket") && skipped["reason"].is_string());
    let progress: Vec<_> = events.iter().filter(|event| event["event"] == "progress").collect();
    assert!(progress.iter().any(|event| event["bytes_per_second"].is_u64()), "{progress:#?}");
    assert!(progress.iter().all(|event| event["progress"].is_string()));
    let last = events.last().unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!((&last["sent"], &last["skipped"]), (&1.into(), &1.into()), "{last}");
    assert_eq!((&last["failed"], &last["exit"]), (&0.into(), &0.into()), "{last}");
    assert!(last["not_kept_owners"].is_u64(), "{last}");
    // The folder around the link gets its permissions. It is new where that is done before the
    // file in it has its place.
    let made: Vec<_> = events.iter().filter(|event| event["event"] == "made").collect();
    let link = made.iter().find(|event| event["path"].as_str().unwrap().ends_with("link"));
    assert_eq!(link.expect("the link")["existing"], false, "{made:?}");
    // Links and empty folders count, and folders with files do not.
    assert_eq!((&last["made"], &last["unmade"]), (&1.into(), &0.into()), "{last}");
    assert_eq!(last["sent_bytes"], 24 * BLOCK as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_of_a_stall_and_of_a_lost_connection() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(5 << 20)]).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 223);
    let mut sending = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    let stalled = sending.until(|event| event["event"] == "stalled").await;
    assert_eq!((&stalled["document_id"], &stalled["seconds"]), (&1.into(), &3.into()));
    // No server is reached while the connection is lost.
    proxy.otherwise(Faults::reset_after(0));
    proxy.link(0).await.reset();
    sending.until(|event| event["event"] == "waiting").await;
    proxy.otherwise(Faults::none());
    sending.end().await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_has_examples_exit_codes_and_plain_words() {
    let help = |arguments: &'static [&'static str]| async move {
        let mut help = towline();
        help.args(arguments);
        run(help).await.assert_done().out.clone()
    };
    let top = help(&["--help"]).await;
    for part in ["Examples:", "Exit codes:", "TOWLINE_SERVER", "TOWLINE_TOKEN", "TOWLINE_LOG"] {
        assert!(top.contains(part), "{part}: {top}");
    }
    for part in ["Run the server", "Continue interrupted commands", "delete what the server has"] {
        assert!(top.contains(part), "{part}: {top}");
    }
    let put = help(&["put", "--help"]).await;
    for part in ["Examples:", "Exit codes:", "--dry-run", "--verbose", "replace"] {
        assert!(put.contains(part), "{part}: {put}");
    }
    for command in ["put", "uploads", "resume"] {
        let mut version = towline();
        version.args([command, "--version"]);
        let version = run(version).await;
        assert!(version.assert_done().out.starts_with("towline "), "{version:?}");
    }
    // Every option in an example of the help exists.
    let examples = top.lines().chain(put.lines()).filter(|line| line.starts_with("  towline "));
    for word in examples.flat_map(str::split_whitespace).filter(|word| word.starts_with("--")) {
        assert!(put.contains(&format!("{word} ")), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_commands_print_errors_and_nothing_else() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (name, seed) in [("proj/a", 230), ("proj/b", 231)] {
        cli.write(name, &TestFile::new(10, seed));
    }
    let ask = async |command: &str, arguments: &[&str]| {
        let mut asked = cli.at_home(command, &cli.path("state"));
        if command != "uploads" {
            cli.reach(&mut asked);
        }
        asked.args(arguments).arg("-q").current_dir(cli.path("."));
        run(asked).await
    };
    for (command, arguments, code) in [
        ("put", &["proj"][..], 0),
        ("put", &["proj", "--dry-run"], 0),
        ("ls", &[], 0),
        ("ls", &["-lR", "proj"], 0),
        ("ls", &["--tree"], 0),
        ("ls", &["--b3sum"], 0),
        ("verify", &["proj"], 0),
        ("mkdir", &["new"], 0),
        ("mv", &["proj/b", "new"], 0),
        // Something is different, and it is no error.
        ("verify", &["proj"], 1),
        ("rm", &["--yes", "new"], 0),
        ("ls", &["--trash"], 0),
        ("restore", &["new"], 0),
        ("versions", &["proj/a"], 0),
        ("log", &[], 0),
        ("status", &["1"], 0),
        ("uploads", &[], 0),
        ("uploads", &["--forget", "all"], 0),
        ("get", &["proj", "-o", "back"], 0),
    ] {
        let told = ask(command, arguments).await;
        told.assert_code(code);
        assert_eq!((&*told.out, &*told.err), ("", ""), "{command} {arguments:?}");
    }
    for (command, arguments) in [
        ("ls", &["nothing"][..]),
        ("versions", &["nothing"]),
        ("verify", &["nothing"]),
        ("cancel", &["1"]),
    ] {
        let told = ask(command, arguments).await;
        told.assert_code(1);
        assert!(told.out.is_empty() && !told.err.is_empty(), "{command}: {told:?}");
    }

    // `watch` follows silently until it is interrupted.
    let mut watch = cli.at_home("watch", &cli.path("state"));
    cli.reach(&mut watch);
    watch.arg("-q").stdout(Stdio::piped()).stderr(Stdio::piped());
    let watching = watch.spawn().unwrap();
    let process = i32::try_from(watching.id().unwrap()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let process = rustix::process::Pid::from_raw(process).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = watching.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}
