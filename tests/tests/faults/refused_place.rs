//! What the system refuses each time: a folder without permission, a name that is too long for the
//! file system, a loop of links. Only that file fails, with the reason; other files are published,
//! the log has the path and the number of the error, and after the operator has repaired the place,
//! the upload continues.

use rustix::process::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, resume, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::strace::Strace;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::has;
use towline_types::OnConflict;

fn within(folder: &str, name: &str, test_file: &TestFile) -> Upload {
    Upload { folder: vec![folder.to_owned()], ..upload(name, test_file) }
}

/// A server in which moves into the folder `shut` of a user get this result.
async fn refusing(site: &Site, user: &TestUser, answer: &str) -> ServerProcess {
    let shut = site.documents(user).join("shut");
    std::fs::create_dir_all(&shut).expect("a folder");
    let log = site.outside().join("strace.log");
    let strace = Strace::inject(&log, "renameat2", answer).about([shut]);
    Launch::over(site).under(&strace.words()).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_written_is_told_once_and_delays_nothing_else() {
    if !has("strace") {
        return;
    }
    for (answer, number) in
        [("error=EACCES", 13), ("error=EPERM", 1), ("error=ENAMETOOLONG", 36), ("error=ELOOP", 40)]
    {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let mut server = refusing(&site, &user, answer).await;
        let mut client = server.client(&user).await;
        let test_file = TestFile::new(BLOCK + 1000, 940);
        let id = client.upload(within("shut", "a.bin", &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        let told = client.complete_refused(Complete::default(), Code::StorageRefused).await;
        println!("{answer}: {}", told.message);
        assert!(!told.retry);
        assert!(told.message.contains("shut/a.bin"), "{told:?}");
        assert!(!told.message.contains(site.path().to_str().unwrap()), "no path of the server's");
        assert!(!told.message.contains("uploads"), "no path of the server's: {told:?}");

        // Uploads into other folders on the same connection continue.
        let good = Channel(1);
        client.upload(Upload { channel: good, ..within("open", "b.bin", &test_file) }).await;
        client.chunks(good, &test_file, 0..test_file.size()).await;
        client.complete(good).await;
        site.assert_published(&user, "open/b.bin", &test_file);

        // The received bytes are kept, and no file has the name.
        assert!(!site.document(&user, "shut/a.bin").exists());
        let granted = client.resume(resume(id)).await;
        assert_eq!(granted.offset.get(), test_file.size() as u64);
        let place = format!("uploads/{}/shut/a.bin", user.id);
        server.says(&format!("os error {number}")).await;
        let said = server.said();
        let line = said.iter().find(|line| line.contains(&place)).expect("the path is named");
        assert!(line.contains("WARN"), "{line}");

        client.has_durable(id, test_file.size()).await;
        server.kill().await;
        let server = Launch::over(&site).start().await;
        let mut client = server.client(&user).await;
        client.resume(resume(id)).await;
        client.complete(ZERO).await;
        site.assert_published(&user, "shut/a.bin", &test_file);
        server.gone().await;
    }
}

/// Small files are sent at once, and are refused by another path of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_written_is_told_for_small_files_and_logged_once_a_second() {
    if !has("strace") {
        return;
    }
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = refusing(&site, &user, "error=EACCES").await;
    let mut client = server.client(&user).await;
    let began = Instant::now();
    for number in 0..30 {
        let test_file = TestFile::new(1000, 950 + number);
        let begin = within("shut", &format!("{number}.txt"), &test_file);
        client.send(&Request::Upload(Upload { on_conflict: OnConflict::Reject, ..begin })).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.send(&Request::Complete(Complete::default())).await;
        loop {
            match client.reply_on(ZERO).await {
                Reply::Upload(_) => {}
                Reply::Error(error) => {
                    assert_eq!(error.code, Code::StorageRefused, "{error:?}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let seconds = began.elapsed().as_secs() + 1;
    server.says("os error 13").await;
    let said = server.gone().await;
    let lines = said.iter().filter(|line| line.contains("storage_refused")).count() as u64;
    assert!((1..=2 * seconds + 1).contains(&lines), "{lines} lines in {seconds} s: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_may_pass_is_to_be_tried_again() {
    if !has("strace") {
        return;
    }
    for answer in ["error=EIO", "error=EMFILE", "error=ENOMEM", "error=EBUSY"] {
        let site = Site::in_memory();
        let user = site.add_user("ada").await;
        let server = refusing(&site, &user, answer).await;
        let mut client = server.client(&user).await;
        let test_file = TestFile::new(BLOCK + 1000, 941);
        client.upload(within("shut", "a.bin", &test_file)).await;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        // The message never says that the storage is read-only, because it is not.
        let told = client.complete_refused(Complete::default(), Code::Internal).await;
        println!("{answer}: {}", told.message);
        assert!(told.retry);
        let mut other = server.client(&user).await;
        other.upload(upload("other", &test_file)).await;
        other.chunks(ZERO, &test_file, 0..test_file.size()).await;
        other.complete(ZERO).await;
        server.gone().await;
    }
}

/// A folder that belongs to another user of the system: a real refusal, not an injected one.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_roots_below_a_service_that_is_not_root() {
    if !has("setpriv") || !rustix::process::geteuid().is_root() {
        return towline_tests::volume::skipped(&"needs root and setpriv");
    }
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let others = site.documents(&user).join("t/a");
    std::fs::create_dir_all(&others).unwrap();
    for folder in [site.outside(), site.path()] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder, mode).unwrap();
    }
    let chown = |owner: &str, path: PathBuf, deep: bool| {
        let mut command = std::process::Command::new("chown");
        if deep {
            command.arg("-R");
        }
        assert!(command.arg(owner).arg(path).status().unwrap().success());
    };
    chown("65534:65534", site.path().to_owned(), true);
    chown("0:0", others.clone(), false);
    let under = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut server = Launch::over(&site).under(&under).start().await;

    let cli = CliFixture::new(&site, &user, server.address());
    let corpora = [TestFile::new(2 * BLOCK, 942), TestFile::new(2 * BLOCK, 943)];
    cli.write("t/a/L", &corpora[0]);
    cli.write("t/b/L", &corpora[1]);
    let began = Instant::now();
    let outcome = run(cli.put(&cli.path("t"))).await;
    outcome.assert_code(1);
    assert!(began.elapsed() < Duration::from_secs(20), "it is not tried for ever");
    assert!(outcome.err.contains("t/a/L") && outcome.err.contains("permission"), "{outcome:?}");
    assert!(!outcome.err.contains("storage_refused"), "no word of the wire's: {outcome:?}");
    site.assert_published(&user, "t/b/L", &corpora[1]);
    server.says("Permission denied (os error 13)").await;

    // After the repair the same command completes the upload.
    chown("65534:65534", others, true);
    run(cli.put(&cli.path("t"))).await.assert_done();
    site.assert_published(&user, "t/a/L", &corpora[0]);
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beyond_the_limit_of_the_process_ends_itself_and_nothing_else() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    // At most 4096 KiB for each file.
    let under = ["bash", "-c", "ulimit -f 4096; exec \"$@\"", "bash"];
    let mut server = Launch::over(&site).under(&under).start().await;
    let mut client = RawClient::login(server.address(), &user.token).await;
    let large = TestFile::new(9 * BLOCK, 944);
    let told = client.upload_refused(upload("large", &large), Code::SizeLimit).await;
    println!("{}", told.message);
    let small = TestFile::new(3 * BLOCK, 945);
    client.upload(upload("small", &small)).await;
    client.chunks(ZERO, &small, 0..small.size()).await;
    client.complete(ZERO).await;
    site.assert_published(&user, "small", &small);
    // The person gets the error at once, and the client does not try again.
    let cli = CliFixture::new(&site, &user, server.address());
    run(cli.put(&cli.write("large", &large))).await.assert_code(1);
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
}
