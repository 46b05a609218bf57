//! The list has every command until it is done: with one file or many, whether the server has a
//! byte of them or not.

use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use tokio::process::Command;
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::process::towline;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// The signal comes while the client waits for the server's first message.
async fn interrupted_at_the_door(
    cli: &CliFixture,
    proxy: &FaultProxy,
    signal: Signal,
    more: &[&str],
) -> Outcome {
    proxy.otherwise(Faults::stall_after(0));
    let before = proxy.connections();
    let mut put = cli.put(&cli.path("a.bin"));
    put.args(more);
    let sending = cli.start(put);
    proxy.link(before).await;
    let is_noted = async {
        while !cli.state_path().exists() || cli.state().jobs.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_noted).await.unwrap();
    sending.signal(signal);
    let outcome = sending.end().await;
    proxy.otherwise(Faults::none());
    outcome
}

/// The signal comes when a part of the file is safe on the server.
async fn paused_half_way(
    cli: &CliFixture,
    proxy: &FaultProxy,
    mut put: Command,
    more: &[&str],
) -> Outcome {
    put.args(more);
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(put);
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    proxy.otherwise(Faults::none());
    outcome.assert_code(3);
    outcome
}

async fn resumed(cli: &CliFixture, more: &[&str]) -> Outcome {
    let mut resume = cli.command("resume");
    resume.arg("--json").args(more);
    run(resume).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_of_which_nothing_was_sent_is_resumed() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for (signal, salt) in [(Signal::INT, 1), (Signal::KILL, 2)] {
        let test_file = TestFile::new(3 * BLOCK, 900 + salt);
        cli.write("a.bin", &test_file);
        let outcome = interrupted_at_the_door(&cli, &proxy, signal, &[]).await;
        if signal == Signal::INT {
            outcome.assert_code(3);
            assert!(outcome.err.contains("before anything was sent"), "{outcome:?}");
            assert!(outcome.err.contains("`towline resume --state-file"), "{outcome:?}");
        }
        assert_eq!((cli.state().jobs.len(), cli.state().uploads.len()), (1, 0));
        let listed = run(cli.command("uploads")).await;
        assert!(listed.assert_done().out.contains("a.bin"), "{listed:?}");
        let outcome = resumed(&cli, &[]).await;
        assert_eq!(outcome.assert_done().event("summary")["sent"], 1, "{outcome:?}");
        assert!(cli.state().jobs.is_empty());
    }
    let place = server.site.document(&server.user, "a.bin");
    assert_eq!(std::fs::read(place).unwrap(), TestFile::new(3 * BLOCK, 901).bytes);
    server.site.assert_published(&server.user, "a (1).bin", &TestFile::new(3 * BLOCK, 902));
    assert!(run(cli.command("resume")).await.assert_done().out.contains("no unfinished"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_has_begun_stands_for_the_command_with_its_one_file() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    cli.write("a.bin", &TestFile::new(24 * BLOCK, 910));
    for signal in [Signal::INT, Signal::KILL] {
        proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
        let mut sending = cli.start(cli.put(&cli.path("a.bin")));
        sending.until(|event| event["durable"].as_u64() > Some(0)).await;
        sending.signal(signal);
        sending.end().await;
        proxy.otherwise(Faults::none());
        let state = cli.state();
        assert_eq!(state.uploads.len(), 1);
        // A client that is killed may not have written yet that the upload has begun.
        assert!(state.jobs.is_empty() || signal == Signal::KILL, "{state:?}");
    }
    resumed(&cli, &[]).await.assert_done();
    assert!(cli.state().uploads.is_empty() && cli.state().jobs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_server_never_answered_is_listed_and_can_be_forgotten() {
    let server = TestServer::start().await;
    let mut cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("a.bin", &TestFile::new(1000, 920));
    cli.write("photos/b.bin", &TestFile::new(1001, 921));
    cli.write("photos/c.bin", &TestFile::new(1002, 922));
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    cli.to = nobody.local_addr().unwrap();
    drop(nobody);
    for name in ["a.bin", "photos"] {
        let path = cli.path(name);
        let mut sending = cli.start(cli.put(&path));
        sending.until(|event| event["event"] == "waiting").await;
        sending.signal(Signal::INT);
        let paused = sending.end().await;
        paused.assert_code(3);
        let given_up = run(cli.put(&path)).await;
        given_up.assert_code(3);
        for outcome in [paused, given_up] {
            let line = outcome.err.lines().find(|line| line.contains("--forget")).unwrap();
            // Nobody knows here what other commands have met at that address.
            assert!(line.contains(&format!("{} has not answered", cli.to)), "{outcome:?}");
            assert!(line.contains(path.to_str().unwrap()), "{outcome:?}");
        }
        let listed = run(cli.command("uploads")).await;
        assert!(listed.assert_done().out.contains(&cli.to.to_string()), "{listed:?}");
        resumed(&cli, &["--retries", "0"]).await.assert_code(3);
        assert_eq!(cli.state().jobs.len(), 1, "one command");
        let mut forget = cli.command("uploads");
        forget.arg("--forget").arg(&path);
        run(forget).await.assert_done();
        assert!(cli.state().jobs.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_resume_cannot_begin_with_is_an_event_and_counts() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    for name in ["a.bin", "b.bin", "photos"] {
        let path = cli.path(name);
        if name == "photos" {
            for n in 0..2u64 {
                cli.write(&format!("photos/{n}.bin"), &TestFile::new(24 * BLOCK, 930 + n));
            }
        } else {
            cli.write(name, &TestFile::new(24 * BLOCK, 932));
        }
        let mut sending = cli.start(cli.put(&path));
        sending.until(|event| event["durable"].as_u64() > Some(0)).await;
        sending.signal(Signal::INT);
        sending.end().await.assert_code(3);
    }
    proxy.otherwise(Faults::none());
    std::fs::remove_file(cli.path("a.bin")).unwrap();
    std::fs::rename(cli.path("photos"), cli.path("elsewhere")).unwrap();
    let outcome = resumed(&cli, &["--all"]).await;
    outcome.assert_code(3);
    let summary = outcome.event("summary");
    assert_eq!((&summary["sent"], &summary["failed"]), (&1.into(), &2.into()), "{outcome:?}");
    assert_eq!(summary["exit"], 3);
    let mut told: Vec<_> = outcome
        .events()
        .iter()
        .filter(|event| event["event"] == "error")
        .map(|event| {
            assert_eq!(event["exit"], 3, "{event}");
            assert!(event["message"].as_str().unwrap().contains("is missing now"), "{event}");
            event["path"].as_str().unwrap().to_owned()
        })
        .collect();
    told.sort();
    let expected = ["a.bin", "photos"].map(|name| cli.path(name).to_str().unwrap().to_owned());
    assert_eq!(told, expected);
    assert_eq!((cli.state().uploads.len(), cli.state().jobs.len()), (2, 1), "all of it stays");

    // A person reads the sum, too.
    let mut resume = cli.command("resume");
    resume.arg("--all");
    let outcome = run(resume).await;
    outcome.assert_code(3);
    assert!(outcome.out.contains("2 failed"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_follows_its_server_and_goes_to_no_other() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for n in 0..3u64 {
        cli.write(&format!("photos/{n}.bin"), &TestFile::new(24 * BLOCK, 940 + n));
    }
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(cli.put(&cli.path("photos")));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    // The list has the id of the server's store also where the client could not end in order.
    sending.signal(Signal::KILL);
    sending.end().await;
    let address = proxy.address();
    drop(proxy);
    let before = cli.state();
    assert!(before.jobs[0].server_id.is_some(), "{before:?}");

    // Another server at the same address, whose user has a token in the same file.
    let bind = move || TcpListener::bind((Ipv4Addr::LOCALHOST, address.port())).unwrap();
    let other = TestServer::start_on(bind, |_| {}).await;
    let ours = std::fs::read(cli.path("token")).unwrap();
    std::fs::write(cli.path("token"), &other.user.token).unwrap();
    let outcome = resumed(&cli, &[]).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("is for another server"), "{outcome:?}");
    assert_eq!(cli.state().jobs[0].server_id, before.jobs[0].server_id);
    assert_eq!(cli.state().uploads, before.uploads);
    assert!(!other.site.document(&other.user, "photos").exists());

    // The same server at another address: the same command there takes the entry over.
    std::fs::write(cli.path("token"), ours).unwrap();
    cli.to = server.address();
    let outcome = resumed(&cli, &["--to", &cli.to.to_string()]).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("the list has no unfinished upload for"), "{outcome:?}");
    run(cli.put(&cli.path("photos"))).await.assert_done();
    for n in 0..3u64 {
        let name = format!("photos/{n}.bin");
        server.site.assert_published(&server.user, &name, &TestFile::new(24 * BLOCK, 940 + n));
    }
    let after = cli.state();
    assert!(after.jobs.is_empty() && after.uploads.is_empty(), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_to_another_address_only_by_its_number() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    cli.write("a.bin", &TestFile::new(24 * BLOCK, 950));
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(cli.put(&cli.path("a.bin")));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    let there = other.address().to_string();
    for more in [&[][..], &["--all"]] {
        let outcome = resumed(&cli, &[&["--to", &there], more].concat()).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("the list has no unfinished upload for"), "{outcome:?}");
        assert!(!outcome.err.contains("is sent to"), "no token goes there: {outcome:?}");
    }
    // The document number says which upload is meant, and the notice is printed once.
    let outcome = resumed(&cli, &["1", "--to", &server.address().to_string()]).await;
    outcome.assert_done();
    assert_eq!(outcome.err.matches("is sent to").count(), 1, "{outcome:?}");
    server.site.assert_published(&server.user, "a.bin", &TestFile::new(24 * BLOCK, 950));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_cancel_what_is_complete_takes_it_off_the_list() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 960);
    let file = cli.write("a.bin", &test_file);
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(cli.put(&file));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
    // Another machine of the same person completes the upload.
    run(cli.elsewhere(&file, "other_state.json")).await.assert_done();
    let mut cancel = cli.command("cancel");
    cancel.arg("1");
    let outcome = run(cancel).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("is complete"), "{outcome:?}");
    assert!(cli.state().uploads.is_empty());
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_an_end_holds_nothing_up() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let corpora = [970, 971].map(|salt| TestFile::new(1000, salt));
    // `/proc/kmsg` counts as a regular file of 0 bytes, and its reader waits for the next message
    // of the kernel. Where only root may read it, it is refused for that reason.
    let mut put = cli.put(std::path::Path::new("/proc/kmsg"));
    for (name, test_file) in ["a.bin", "b.bin"].iter().zip(&corpora) {
        put.arg(cli.write(name, test_file));
    }
    put.arg("--json");
    let outcome = run(put).await;
    outcome.assert_code(1);
    assert_eq!(outcome.event("error")["path"], "/proc/kmsg");
    for (name, test_file) in ["a.bin", "b.bin"].iter().zip(&corpora) {
        server.site.assert_published(&server.user, name, test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_later_version_at_the_usual_place_ends_no_put() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.path("home/towline/uploads_state.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let later = b"{\"version\": 999, \"uploads\": {}}";
    std::fs::write(&file, later).unwrap();
    let mut put = cli.at_home("put", &cli.path("home"));
    cli.reach(&mut put);
    put.arg(cli.write("a.bin", &TestFile::new(1000, 980)));
    let outcome = run(put).await;
    outcome.assert_done();
    assert_eq!(
        outcome.err.matches("not in the list of unfinished uploads").count(),
        1,
        "{outcome:?}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_for_two_folders_of_the_server_is_two_commands() {
    for signal in [Signal::INT, Signal::KILL] {
        let server = TestServer::start().await;
        let proxy = FaultProxy::start(server.address(), []).await;
        let cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let test_file = TestFile::new(24 * BLOCK, 990);
        let file = cli.write("a.bin", &test_file);
        paused_half_way(&cli, &proxy, cli.put(&file), &["--folder", "A"]).await;
        interrupted_at_the_door(&cli, &proxy, signal, &["--folder", "B"]).await;
        // Uploads and commands for one folder do not concern the other folder.
        paused_half_way(&cli, &proxy, cli.put(&file), &["--folder", "A"]).await;
        let state = cli.state();
        let folders: Vec<_> = state.jobs.iter().map(|job| job.folder[0].as_str()).collect();
        assert_eq!((folders, state.uploads.len()), (vec!["B"], 1), "{state:?}");
        let outcome = resumed(&cli, &["--all"]).await;
        outcome.assert_done();
        for name in ["A/a.bin", "B/a.bin"] {
            server.site.assert_published(&server.user, name, &test_file);
        }
        assert!(cli.state().uploads.is_empty() && cli.state().jobs.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_one_file_is_gone_on_with_as_a_folder() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let corpora = [996, 997].map(|salt| TestFile::new(24 * BLOCK, salt));
    cli.write("photos/a.bin", &corpora[0]);
    let paused = paused_half_way(&cli, &proxy, cli.put(&cli.path("photos")), &[]).await;
    assert!(paused.err.contains("`towline resume --state-file"), "{paused:?}");
    assert_eq!((cli.state().jobs.len(), cli.state().uploads.len()), (1, 1));
    // A single file of that folder is another command.
    cli.write("photos/b.bin", &corpora[1]);
    let file = cli.path("photos/b.bin");
    paused_half_way(&cli, &proxy, cli.put(&file), &["--folder", "photos"]).await;
    assert_eq!((cli.state().jobs.len(), cli.state().uploads.len()), (1, 2));
    resumed(&cli, &[]).await.assert_done();
    for (name, test_file) in ["photos/a.bin", "photos/b.bin"].iter().zip(&corpora) {
        server.site.assert_published(&server.user, name, test_file);
    }
    assert!(cli.state().uploads.is_empty() && cli.state().jobs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_away_when_its_turn_comes_is_gone_on_with_when_it_is_back() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let corpora = [1000, 1001].map(|salt| TestFile::new(24 * BLOCK, salt));
    for (name, test_file) in ["photos/a.bin", "photos/b.bin"].iter().zip(&corpora) {
        cli.write(name, test_file);
    }
    let mut put = cli.put(&cli.path("photos"));
    // With a chunk size of its own, a file is not sent in a batch.
    put.args(["--chunk-size", "65536"]);
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(put);
    sending.until(|event| event["event"] == "started").await;
    std::fs::rename(cli.path("photos/b.bin"), cli.path("b.bin")).unwrap();
    proxy.otherwise(Faults::none());
    let outcome = sending.end().await;
    outcome.assert_code(3);
    let error = outcome.event("error");
    assert!(error["path"].as_str().unwrap().ends_with("photos/b.bin"), "{error}");
    assert_eq!(error["exit"], 3);
    assert!(error["advice"].as_str().unwrap().contains("when it is back"), "{error}");
    server.site.assert_published(&server.user, "photos/a.bin", &corpora[0]);
    assert_eq!(cli.state().jobs.len(), 1, "the command is not over");
    std::fs::rename(cli.path("b.bin"), cli.path("photos/b.bin")).unwrap();
    resumed(&cli, &[]).await.assert_done();
    server.site.assert_published(&server.user, "photos/b.bin", &corpora[1]);
    assert!(cli.state().jobs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_token_is_refused_does_not_stay_on_the_list() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    cli.write("a.bin", &TestFile::new(1000, 980));
    cli.write("photos/b.bin", &TestFile::new(1001, 981));
    cli.write("photos/c.bin", &TestFile::new(1002, 982));
    let good = std::fs::read(cli.path("token")).unwrap();
    let short = server.site.token(server.user.id, Duration::from_secs(60));
    server.clock.advance(Duration::from_secs(120));
    for token in ["towline.of.nobody", &short] {
        std::fs::write(cli.path("token"), token).unwrap();
        for name in ["a.bin", "photos"] {
            let outcome = run(cli.put(&cli.path(name))).await;
            assert!(outcome.code > Some(0), "{outcome:?}");
            assert!(!outcome.err.contains("has not answered"), "{outcome:?}");
            assert!(cli.state().jobs.is_empty(), "{outcome:?}");
        }
    }
    // A command that an earlier run has left there stays, and the server has answered.
    std::fs::write(cli.path("token"), &good).unwrap();
    interrupted_at_the_door(&cli, &proxy, Signal::INT, &[]).await.assert_code(3);
    std::fs::write(cli.path("token"), "towline.of.nobody").unwrap();
    for outcome in [run(cli.put(&cli.path("a.bin"))).await, resumed(&cli, &[]).await] {
        outcome.assert_code(1);
        assert!(!outcome.err.contains("has not answered"), "{outcome:?}");
        assert_eq!(cli.state().jobs.len(), 1, "{outcome:?}");
    }
    std::fs::write(cli.path("token"), &good).unwrap();
    resumed(&cli, &[]).await.assert_done();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_unfinished_things_each_is_named_by_a_command_that_continues_it() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let b = cli.write("b.bin", &TestFile::new(24 * BLOCK, 985));
    paused_half_way(&cli, &proxy, cli.put(&b), &[]).await;
    cli.write("a.bin", &TestFile::new(1000, 986));
    interrupted_at_the_door(&cli, &proxy, Signal::INT, &[]).await.assert_code(3);
    for (name, salt) in [("my photos/c.bin", 987), ("my photos/d.bin", 988)] {
        cli.write(name, &TestFile::new(24 * BLOCK, salt));
    }
    paused_half_way(&cli, &proxy, cli.put(&cli.path("my photos")), &[]).await;

    let outcome = resumed(&cli, &[]).await;
    outcome.assert_code(2);
    let message = outcome.event("error")["message"].as_str().unwrap().to_owned();
    let commands: Vec<_> =
        message.split('`').filter(|part| part.starts_with("towline resume")).collect();
    assert_eq!(commands.len(), 4, "one for all, and one for each: {message}");
    assert!(commands[0].starts_with("towline resume --all --state-file"), "{message}");
    let mut left = 3;
    for command in &commands[1..] {
        let towline = towline().as_std().get_program().to_str().unwrap().to_owned();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command.replacen("towline", &towline, 1));
        run(shell).await.assert_done();
        left -= 1;
        let jobs = cli.state().jobs;
        let own = |entry: &towline_state::state_file::UploadEntry| {
            !jobs.iter().any(|job| entry.path.as_ref().unwrap().starts_with(&job.paths[0]))
        };
        let uploads = cli.state().uploads.values().filter(|entry| own(entry)).count();
        assert_eq!(jobs.len() + uploads, left, "{command}");
    }
    let unknown = resumed(&cli, &[cli.path("a.bin").to_str().unwrap()]).await;
    unknown.assert_code(1);
    assert!(unknown.err.contains("is not in the list"), "{unknown:?}");
}

/// A folder with many small files, and a large one behind them at which a run is interrupted.
const SMALL: usize = 40;

fn small_files_and_a_large_one(cli: &CliFixture, salt: u64) -> std::path::PathBuf {
    for n in 0..SMALL {
        cli.write(&format!("photos/f{n}.jpg"), &TestFile::new(1000 + n, salt));
    }
    cli.write("photos/z.bin", &TestFile::new(24 * BLOCK, salt + 1));
    cli.path("photos")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_has_done_is_still_done_in_the_list_when_the_next_one_is_killed() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let photos = small_files_and_a_large_one(&cli, 990);
    paused_half_way(&cli, &proxy, cli.put(&photos), &[]).await;
    assert_eq!(cli.state().jobs[0].done, SMALL as u64);
    for signal in [Signal::KILL, Signal::INT] {
        proxy.otherwise(Faults::stall_after(0));
        let before = proxy.connections();
        let sending = cli.start(cli.put(&photos));
        proxy.link(before).await;
        sending.signal(signal);
        sending.end().await;
        let listed = run(cli.command("uploads")).await;
        let said = format!("{SMALL} of {} files done", SMALL + 1);
        assert!(listed.assert_done().out.contains(&said), "{listed:?}");
    }
    proxy.otherwise(Faults::none());
    resumed(&cli, &[]).await.assert_done();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_run_has_sent_again_is_not_sent_once_more() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let photos = small_files_and_a_large_one(&cli, 992);
    run(cli.put(&photos)).await.assert_done();
    let on_server = server.site.document(&server.user, "photos");
    for (round, is_resume) in [(2, false), (3, true)] {
        paused_half_way(&cli, &proxy, cli.put(&photos), &["--again"]).await;
        let outcome = if is_resume {
            resumed(&cli, &[]).await
        } else {
            let mut again = cli.put(&photos);
            again.args(["--again", "--json"]);
            run(again).await
        };
        let summary = outcome.assert_done().event("summary");
        let counted = (summary["sent"].as_u64(), summary["existing"].as_u64());
        assert_eq!(counted, (Some(1), Some(SMALL as u64)), "{outcome:?}");
        let files = std::fs::read_dir(&on_server).unwrap().count();
        assert_eq!(files, round * (SMALL + 1), "each file once in each command");
    }
}
