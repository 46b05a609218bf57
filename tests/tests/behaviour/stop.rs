//! Starting and stopping the real `towlined`, and its other commands.

use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use towline_protocol::request::Upload;
use towline_protocol::{Code, Reply};
use towline_state::state_file::EntryStatus;
use towline_tests::PATIENCE;
use towline_tests::process::{ServerProcess, output, stdout, towlined};
use towline_tests::raw_client::{Heard, RawClient, ZERO, offset, position, resume, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::UserId;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_uploads_under_way() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    for signal in [Signal::TERM, Signal::INT] {
        let test_file = TestFile::new(3 * BLOCK, 190);
        let mut active = Vec::new();
        for i in 0..4 {
            let mut client = RawClient::login(server.address(), &user.token).await;
            let begin = Upload { blocks: i % 2 == 0, ..upload(&format!("{i}.bin"), &test_file) };
            let document_id = client.upload(begin).await.document_id;
            let sent = 300_001 * (i + 1);
            client.chunks(ZERO, &test_file, 0..sent).await;
            client.has_received(document_id, sent).await;
            active.push((client, document_id, sent));
        }
        // Other clients send nothing, or are in the middle of a frame.
        let idle = RawClient::login(server.address(), &user.token).await;
        let mut stuck = RawClient::login(server.address(), &user.token).await;
        stuck.send_raw(&[0, 0, 0, 50, 1, b'{']).await;
        let stranger = RawClient::connect(server.address()).await;

        let asked = Instant::now();
        server.signal(signal);
        let status = server.ended().await;
        println!("stopped by {signal:?} in {:?}", asked.elapsed());
        assert_eq!(status.code(), Some(0), "{:#?}", server.said());
        assert!(asked.elapsed() < Duration::from_secs(10));
        for (client, document_id, sent) in &mut active {
            let heard = client.ended().await;
            let is_told = |heard: &Heard| matches!(heard, Heard::Reply(Reply::Error(e)) if e.code == Code::ShuttingDown);
            assert!(heard.iter().any(is_told), "{heard:?}");
            let last = heard.iter().rev().find_map(|heard| match heard {
                Heard::Reply(Reply::Progress(progress)) => Some(progress),
                _ => None,
            });
            let last = last.expect("a last progress: an upload is paused");
            assert_eq!((last.received, last.durable), (offset(*sent), offset(*sent)));
            let state = site.state();
            let (_, entry) = state.find(*document_id, None).expect("it is in the state file");
            assert_eq!((entry.status, entry.offset), (EntryStatus::Paused, offset(*sent)));
        }
        drop((idle, stuck, stranger));
        server.start_again().await;
        for (_, document_id, sent) in &active {
            let mut client = RawClient::login(server.address(), &user.token).await;
            let from = position(client.resume(resume(*document_id)).await.offset);
            assert_eq!(from, *sent);
            client.chunks(ZERO, &test_file, from..test_file.size()).await;
            assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_over_the_same_folder() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let refused =
        output(towlined().arg("--data-dir").arg(site.path()).args(["--listen", "127.0.0.1:0"]))
            .await;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(&site.path().display().to_string()), "{said}");
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("listening on"));
    // The first server is not affected.
    RawClient::login(server.address(), &user.token).await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_tokens_while_it_runs_and_while_it_does_not() {
    let site = Site::new();
    let command = |arguments: &[&str]| {
        let mut command = towlined();
        command.args(arguments).arg("--data-dir").arg(site.path());
        command
    };
    let run = async |arguments: &[&str]| stdout(&mut command(arguments)).await;
    let fails = async |arguments: &[&str]| {
        let output = output(&mut command(arguments)).await;
        assert!(!output.status.success() && !output.stderr.is_empty(), "{arguments:?}");
    };
    // Only the server makes a store.
    fails(&["user", "add", "ada", "--id", "123"]).await;
    ServerProcess::start(&site).await.gone().await;
    run(&["user", "add", "ada", "--id", "123"]).await;
    let token = run(&["token", "--user", "ada"]).await;
    assert_eq!(token.trim().split('.').count(), 3, "a token and nothing else: {token}");
    let server = ServerProcess::start(&site).await;
    let welcome = async |token: &str| {
        let mut client = RawClient::connect(server.address()).await;
        client.hello(token.trim()).await;
        client.reply().await
    };
    let is_refused = |reply: Reply, code: Code| {
        assert!(matches!(&reply, Reply::Error(error) if error.code == code), "{reply:?}");
    };
    let Reply::Welcome(ada) = welcome(&token).await else { panic!() };
    assert_eq!((ada.user.as_str(), ada.user_id.get()), ("ada", 123));

    run(&["user", "add", "bob"]).await;
    let list = run(&["user", "list"]).await;
    assert!(list.contains("ada") && list.contains("123") && list.contains("bob"), "{list}");
    let bobs = run(&["token", "--user", "bob", "--ttl", "1h"]).await;
    assert!(matches!(welcome(&bobs).await, Reply::Welcome(_)));
    let by_number = run(&["token", "--user", "123"]).await;
    assert!(matches!(welcome(&by_number).await, Reply::Welcome(_)));
    let ended = site.token(UserId::try_from(124).unwrap(), Duration::ZERO);
    is_refused(welcome(&ended).await, Code::AuthExpired);
    for ttl in ["0", "0s", "999ms"] {
        let refused = output(&mut command(&["token", "--user", "bob", "--ttl", ttl])).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{ttl}: {said}");
        assert!(said.contains("expired at once") && refused.stdout.is_empty(), "{said}");
    }
    // The output cannot be written.
    for arguments in [&["user", "list"][..], &["token", "--user", "ada"], &["verify"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut child = command(arguments);
        let child = child.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let done = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to standard output: No space left"), "{said}");
    }

    let removed = run(&["user", "remove", "bob"]).await;
    assert!(removed.contains("open ones end within 30 s"), "{removed}");
    is_refused(welcome(&bobs).await, Code::Unauthorized);
    fails(&["token", "--user", "bob"]).await;
    fails(&["token", "--user", "nobody"]).await;
    fails(&["user", "add", "ada"]).await;
    fails(&["user", "add", "../x"]).await;
    fails(&["user", "add", "carl", "--id", "123"]).await;
    fails(&["user", "remove", "nobody"]).await;
    let usage = output(towlined().args(["user", "fly"])).await;
    assert_eq!(usage.status.code(), Some(2));
    assert!(matches!(welcome(&token).await, Reply::Welcome(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_removed_begins_nothing_more() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(1000, 191);
    let mut client = RawClient::login(server.address(), &user.token).await;
    stdout(towlined().args(["user", "remove", "ada", "--data-dir"]).arg(site.path())).await;
    let error = client.upload_refused(upload("a.bin", &test_file), Code::Unauthorized).await;
    println!("{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_very_first_start_says_what_to_try() {
    let temporary = tempfile::tempdir().unwrap();
    let site = temporary.path().join("new/storage");
    let mut child = towlined()
        .arg("--data-dir")
        .arg(&site)
        .args(["--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // All lines from the start until the server is told to stop.
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let mut said = Vec::new();
    let until_it_listens = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let has_address = line.starts_with("listening on ");
            said.push(line);
            if has_address && said.iter().any(|line| line.contains("towline put")) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), until_it_listens).await;
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    let rest = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert!(rest.status.success());
    let everything = format!("{}\n{}", said.join("\n"), String::from_utf8_lossy(&rest.stderr));
    println!("{everything}");
    let address = said.iter().find_map(|line| line.strip_prefix("listening on ")).unwrap();
    let line = everything.lines().find(|line| line.contains("towline put")).unwrap();
    assert!(line.contains(&format!("--to {address}")), "{line}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let flag = words.iter().position(|word| *word == "--token-file").unwrap();
    let token = std::path::Path::new(words[flag + 1].trim_matches(['\'', '"']));
    assert!(token.starts_with(&site), "{}", token.display());
    assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
