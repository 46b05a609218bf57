//! The client's list is a hint: what a person types and what the server answers come before it, and
//! no advice relies on a list that cannot be kept.

use rustix::process::Signal;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;
use towline_state::StateFile;
use towline_tests::PATIENCE;
use towline_tests::cli_fixture::{CliFixture, Run, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::Timestamp;

/// Many more bytes than sockets and proxy can hold.
const LONG: usize = 40 * BLOCK;

async fn some_has_come(sending: &mut Run) {
    let enough = 4 * BLOCK as u64;
    sending.until(|event| event["received"].as_u64() >= Some(enough)).await;
}

/// An upload of that file that was paused.
async fn paused(cli: &CliFixture, proxy: &FaultProxy, file: &Path) {
    proxy.otherwise(Faults { delay: Duration::from_millis(5), ..Faults::none() });
    let mut sending = cli.start(cli.put(file));
    some_has_come(&mut sending).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_moved_goes_on_from_its_new_place() {
    for touched in [false, true] {
        let server = TestServer::start().await;
        let proxy = FaultProxy::start(server.address(), []).await;
        let cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let test_file = TestFile::new(LONG, 700);
        let file = cli.write("a.bin", &test_file);
        paused(&cli, &proxy, &file).await;
        let offset = cli.state().uploads["1"].offset.get();
        fs::create_dir(cli.path("moved")).unwrap();
        let moved = cli.path("moved/a.bin");
        fs::rename(&file, &moved).unwrap();
        if touched {
            // The time of modification has changed, and the bytes are the same.
            let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
            File::options().write(true).open(&moved).unwrap().set_modified(long_ago).unwrap();
        }
        let resumed = run(cli.command("resume")).await;
        resumed.assert_code(3);
        assert!(resumed.err.contains("with its new path"), "{resumed:?}");

        paused(&cli, &proxy, &moved).await;
        let state = cli.state();
        assert_eq!(state.uploads.len(), 1);
        assert_eq!(state.uploads["1"].path.as_deref(), Some(&*moved.canonicalize().unwrap()));
        assert!(state.uploads["1"].offset.get() >= offset);
        let mut put = cli.put(&moved);
        put.arg("--json");
        let completed = run(put).await.assert_done().event("completed");
        assert_eq!(completed["document_id"], 1, "the same upload");
        assert!(completed["sent_bytes"].as_u64().unwrap() <= LONG as u64 - offset + BLOCK as u64);
        server.site.assert_published(&server.user, "a.bin", &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_wrong_costs_no_upload() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for seconds in [0, 1 << 33] {
        let test_file = TestFile::new(LONG, 701 + seconds);
        let name = format!("{seconds}.bin");
        paused(&cli, &proxy, &cli.write(&name, &test_file)).await;
        let file = StateFile::at(cli.state_path());
        let offset = file
            .update(|state| {
                let entry = state.uploads.values_mut().next().unwrap();
                entry.start_time = Some(Timestamp::from_secs(seconds));
                entry.last_chunk_time = Some(Timestamp::from_secs(seconds));
                entry.offset.get()
            })
            .unwrap();
        // Another upload comes between, and the client asks the server, which still has the first
        // one.
        run(cli.put(&cli.write("other.bin", &TestFile::new(10, seconds)))).await.assert_done();
        assert_eq!(cli.state().uploads.len(), 1);
        let mut resume = cli.command("resume");
        resume.args(["--all", "--json"]);
        let completed = run(resume).await.assert_done().event("completed");
        let sent = completed["sent_bytes"].as_u64().unwrap();
        assert!(sent <= LONG as u64 - offset + BLOCK as u64, "{sent} after {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_given_up_leaves_the_list_once_it_was_asked() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    paused(&cli, &proxy, &cli.write("a.bin", &TestFile::new(LONG, 703))).await;
    let id = server.client().await.cancel(1.try_into().unwrap()).await.document_id;
    run(cli.put(&cli.write("b.bin", &TestFile::new(10, 704)))).await.assert_done();
    assert_eq!(cli.state().uploads.len(), 1, "what is new is not asked about");
    let file = StateFile::at(cli.state_path());
    file.update(|state| {
        let entry = state.uploads.get_mut(&id.to_string()).unwrap();
        entry.last_chunk_time = Some(Timestamp::from_secs(1_000_000));
    })
    .unwrap();
    let outcome = run(cli.put(&cli.write("c.bin", &TestFile::new(11, 705)))).await;
    outcome.assert_done();
    assert!(outcome.err.contains("removed from the list"), "{outcome:?}");
    assert!(cli.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_is_no_empty_list() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    // In one case a folder is at the path of the list; in the other, the list would be below a
    // plain file.
    fs::create_dir_all(cli.path("home/towline/uploads_state.json")).unwrap();
    fs::write(cli.path("plain"), "").unwrap();
    for home in ["home", "plain"] {
        let home = cli.path(home);
        for command in ["uploads", "resume"] {
            let outcome = run(cli.at_home(command, &home)).await;
            outcome.assert_code(1);
            assert!(!outcome.out.contains("no unfinished"), "{command} {home:?}: {outcome:?}");
        }
        let mut put = cli.at_home("put", &home);
        cli.reach(&mut put);
        for n in 0..2 {
            put.arg(cli.write(&format!("{n}.bin"), &TestFile::new(300_000 + n, 710)));
        }
        let outcome = run(put).await;
        outcome.assert_done();
        assert_eq!(
            outcome.err.matches("not in the list of unfinished uploads").count(),
            1,
            "once: {outcome:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_remembered_the_advice_is_the_same_command() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    fs::write(cli.path("plain"), "").unwrap();
    let test_file = TestFile::new(LONG, 711);
    let file = cli.write("a.bin", &test_file);
    let put = || {
        let mut put = cli.at_home("put", &cli.path("plain"));
        cli.reach(&mut put);
        put.arg(&file);
        put
    };
    proxy.otherwise(Faults { delay: Duration::from_millis(5), ..Faults::none() });
    let mut sending = cli.start(put());
    some_has_come(&mut sending).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    outcome.assert_code(3);
    assert!(outcome.err.contains("same command again"), "{outcome:?}");
    assert!(!outcome.err.contains("towline resume"), "{outcome:?}");
    proxy.otherwise(Faults::none());
    let mut again = put();
    again.arg("--json");
    let completed = run(again).await.assert_done().event("completed");
    assert_eq!(completed["document_id"], 1, "the advice works");
    assert!(completed["sent_bytes"].as_u64() < Some(test_file.size() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_aloud_and_given_up_at_ctrl_c() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let lock_path = cli.path("uploads_state.json.lock");
    let lock = File::create(&lock_path).unwrap();
    lock.lock().unwrap();
    let test_file = TestFile::new(3 * BLOCK, 712);

    // The command waits, says for which lock, and succeeds when the lock is released.
    let mut put = cli.put(&cli.write("a.bin", &test_file));
    let mut waiting = put.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let lock_name = lock_path.to_str().unwrap();
    let told = async {
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains(lock_name) {
                return;
            }
        }
        panic!("it ended without a word about the lock");
    };
    timeout(PATIENCE, told).await.unwrap();
    lock.unlock().unwrap();
    while let Some(line) = said.next_line().await.unwrap() {
        assert!(!line.contains(lock_name), "said once: {line}");
    }
    assert_eq!(waiting.wait().await.unwrap().code(), Some(0));

    lock.lock().unwrap();
    let mut sending = cli.start(cli.put(&cli.write("b.bin", &TestFile::new(LONG, 713))));
    sending.until(|event| event["event"] == "started").await;
    sending.signal(Signal::INT);
    // The lock is not released.
    let outcome = sending.end().await;
    assert!(matches!(outcome.code, Some(0 | 3)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_own_file_is_used_as_it_is() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    // The path and the schema of the user's own document, with its example.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let state_path = folder.path().join("uploads_state.json");
    let seed = r#"{"uploads":{
        "1":{"filename":"lecture_notes.pdf","total_size":5242880,"offset":3932160,
             "chunk_size":65536,"user_id":45,"start_time":1705329400,
             "last_chunk_time":1705329556,"status":"paused"},
        "124":{"filename":"project.zip","total_size":10485760,"offset":6291456,
               "status":"paused"}}}"#;
    fs::write(&state_path, seed).unwrap();
    let state = StateFile::at(&state_path);
    let before = state.read().unwrap();
    let test_file = TestFile::new(LONG, 714);
    let file = cli.write("a.bin", &test_file);
    let state_name = state_path.to_str().unwrap();
    proxy.otherwise(Faults { delay: Duration::from_millis(5), ..Faults::none() });
    let mut sending = cli.start(cli.elsewhere(&file, state_name));
    some_has_come(&mut sending).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
    let now = state.read().unwrap();
    for key in ["1", "124"] {
        assert_eq!(now.uploads[key], before.uploads[key], "the user's entries stay");
    }
    assert_eq!(now.uploads.len(), 3);
    let ours = now.uploads.values().find(|entry| entry.filename.as_str() == "a.bin").unwrap();
    assert!(ours.offset.get() > 0 && ours.total_size.get() == LONG as u64);
    let mut uploads = cli.at_home("uploads", folder.path());
    uploads.args(["--state-file", state_name]);
    let listed = run(uploads).await;
    for name in ["lecture_notes.pdf", "project.zip", "a.bin"] {
        assert!(listed.assert_done().out.contains(name), "{listed:?}");
    }
    run(cli.elsewhere(&file, state_name)).await.assert_done();
    assert_eq!(state.read().unwrap().uploads, before.uploads);
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_one_name_are_told_apart_in_the_list() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for (folder, seed) in [("one", 720), ("two", 721)] {
        let file = cli.write(&format!("{folder}/a.bin"), &TestFile::new(LONG, seed));
        paused(&cli, &proxy, &file).await;
    }
    let listed = run(cli.command("uploads")).await;
    for folder in ["one/a.bin", "two/a.bin"] {
        assert!(listed.assert_done().out.contains(folder), "{listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_list_is_no_empty_list() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (command, more) in [
        ("uploads", &[][..]),
        ("uploads", &["--json"]),
        ("resume", &["--all"]),
        ("resume", &["-q"]),
    ] {
        fs::write(cli.state_path(), "{\"uploads\":{").unwrap();
        let run_it = || {
            let mut command = cli.command(command);
            command.args(more);
            run(command)
        };
        let outcome = run_it().await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("damaged") && outcome.err.contains("corrupt-"), "{outcome:?}");
        assert!(!outcome.out.contains("no unfinished"), "{outcome:?}");
        // The damage was reported, and a new list begins.
        run_it().await.assert_done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_forgotten_leaves_the_list_and_stays_on_the_server() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for (name, seed) in [("one/a.bin", 730), ("one/b.bin", 731), ("two.bin", 732), ("3.bin", 733)] {
        paused(&cli, &proxy, &cli.write(name, &TestFile::new(LONG, seed))).await;
    }
    let forget = async |what: &std::ffi::OsStr| {
        let mut command = cli.command("uploads");
        command.arg("--forget").arg(what);
        run(command).await
    };
    let outcome = forget("5".as_ref()).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("not in the list"), "{outcome:?}");
    forget(cli.path("o").as_os_str()).await.assert_code(1);
    assert_eq!(cli.state().uploads.len(), 4);
    for (what, left) in [("3".into(), 3), (cli.path("one").into_os_string(), 1), ("all".into(), 0)]
    {
        forget(&what).await.assert_done();
        assert_eq!(cli.state().uploads.len(), left, "{what:?}");
    }
    // The server was not asked, so the same command finds the part of the file there again.
    let mut put = cli.put(&cli.path("two.bin"));
    put.arg("--json");
    let completed = run(put).await.assert_done().event("completed");
    assert_eq!(completed["document_id"], 3, "{completed}");
    assert!(completed["sent_bytes"].as_u64() < Some(LONG as u64), "{completed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_list_that_cannot_be_read_is_said_before_anything_is_sent() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(1000, 740));
    fs::create_dir(cli.path("folder")).unwrap();
    let later = "{\"version\": 999, \"uploads\": {}}";
    fs::write(cli.path("later.json"), later).unwrap();
    for name in ["folder", "later.json", "a.bin/below.json"] {
        let outcome = run(cli.elsewhere(&file, name)).await;
        outcome.assert_code(1);
        for said in
            [name, "nothing was sent", "Choose another file with --state-file", "omit the option"]
        {
            assert_eq!(outcome.err.matches(said).count(), 1, "{name}, {said}: {outcome:?}");
        }
        assert!(!server.site.document(&server.user, "a.bin").exists(), "{name}");
        // A command about the list sends nothing in any case.
        for command in ["uploads", "resume"] {
            let mut command = cli.at_home(command, &cli.path("home"));
            command.arg("--state-file").arg(cli.path(name));
            let outcome = run(command).await;
            outcome.assert_code(1);
            assert!(!outcome.err.contains("nothing was sent"), "{name}: {outcome:?}");
            assert!(!outcome.out.contains("no unfinished"), "{name}: {outcome:?}");
        }
    }
    assert_eq!(fs::read_to_string(cli.path("later.json")).unwrap(), later);
    // What the message advises works.
    run(cli.elsewhere(&file, "another.json")).await.assert_done();
    server.site.assert_published(&server.user, "a.bin", &TestFile::new(1000, 740));
}
