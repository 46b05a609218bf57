//! The messages for a person: they name the file, use units for people, come once, have no code of
//! the protocol, and give advice that works. Each test checks the meaning of a text, not its
//! wording.

use rustix::process::Signal;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use towline_protocol::Code;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::process::{program, towline, towlined};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::terminal::Terminal;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{FileSize, UserId};

/// Checks that the output for a person has no code of the protocol, no number of bytes with many
/// digits, and no JSON.
fn assert_for_people(outcome: &Outcome) {
    for text in [&outcome.out, &outcome.err] {
        for code in Code::ALL.iter().map(|code| code.as_str()).filter(|word| word.contains('_')) {
            assert!(!text.contains(code), "{code}: {outcome:#?}");
        }
        assert!(!text.contains("\":"), "JSON: {outcome:#?}");
        let is_raw = |word: &str| word.len() > 4 && word.bytes().all(|b| b.is_ascii_digit());
        let words = text.split(|c: char| c.is_whitespace() || "(),;".contains(c));
        let raw: Vec<_> = words.filter(|word| is_raw(word)).collect();
        assert!(raw.is_empty(), "{raw:?}: {outcome:#?}");
    }
}

/// Checks that each of these texts is in the output exactly once.
fn assert_once(text: &str, facts: &[&str]) {
    for fact in facts {
        assert_eq!(text.matches(fact).count(), 1, "{fact:?} in {text:?}");
    }
}

/// Runs the command between the backticks, as a person does who copies it.
async fn run_advice(text: &str) -> Outcome {
    let command = text.split('`').nth(1).unwrap_or_else(|| panic!("no command in {text:?}"));
    let towline = program("towline-under-test");
    let command = command.replacen("towline", &towline.display().to_string(), 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).stdin(Stdio::null()).kill_on_drop(true);
    run(shell).await
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_one_short_line() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let test_file = TestFile::new(3 * BLOCK, 200);
    let outcome = run(cli.put(&cli.write("two.bin", &test_file))).await;
    assert_for_people(outcome.assert_done());
    assert_once(&outcome.out, &["two.bin", "3.0 MiB", "verified", "document 1", "\n"]);
    assert!(!outcome.out.contains(&test_file.hash().to_string()), "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_and_what_got_another_name_is_said_with_its_place() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("dup/a.txt", &TestFile::new(5, 201));
    let put = || {
        let mut put = cli.put(&file);
        put.args(["--folder", "dup"]);
        put
    };
    run(put()).await.assert_done();
    let again = run(put()).await;
    assert_for_people(again.assert_done());
    assert_once(&again.out, &["already there", "dup/a.txt", "document 1"]);

    cli.write("dup/a.txt", &TestFile::new(6, 202));
    let other = run(put()).await;
    assert_for_people(other.assert_done());
    assert_once(&other.out, &["dup/a.txt exists", "a (1).txt", "document 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_summed_up() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for n in 0..30 {
        cli.write(&format!("many/{n}"), &TestFile::new(1000 + n, 300 + n as u64));
    }
    let _socket = std::os::unix::net::UnixListener::bind(cli.path("many/socket")).unwrap();
    let outcome = run(cli.put(&cli.path("many"))).await;
    assert_for_people(outcome.assert_done());
    assert_once(&outcome.out, &["30 sent", "0 already there", "1 skipped", "0 failed", "\n"]);
    assert_once(&outcome.err, &["many/socket: ", "skipped"]);

    let mut put = cli.put(&cli.path("many"));
    put.arg("-v");
    let verbose = run(put).await;
    assert_eq!(verbose.assert_done().out.matches("already there: ").count(), 30, "{verbose:#?}");
    assert_once(&verbose.out, &["30 already there", "0 sent"]);

    // Where there is nothing to send, the run says so.
    std::fs::create_dir(cli.path("empty")).unwrap();
    let empty = run(cli.put(&cli.path("empty"))).await;
    assert_once(&empty.assert_done().out, &["0 sent", "1 link or empty folder made"]);

    let mut put = cli.put(&cli.path("many"));
    put.arg("--quiet");
    let quiet = run(put).await;
    assert_eq!(quiet.assert_done().out, "");
    assert!(quiet.err.contains("1 file skipped"), "{quiet:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_too_large_is_told_both_sizes_and_the_operators_flag() {
    let max = FileSize::try_from(500_000).unwrap();
    let server = TestServer::start_with(move |config| config.engine.max_filesize = max).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for (size, words) in [(2 * BLOCK, "2.0 MiB"), (500_001, "1 byte more")] {
        let outcome = run(cli.put(&cli.write("two.bin", &TestFile::new(size, 203)))).await;
        assert_for_people(outcome.assert_code(1));
        assert_once(&outcome.err, &["two.bin", words, "500 kB", "--max-file-size"]);
    }
    let help = run({
        let mut help = towlined();
        help.arg("--help");
        help
    });
    assert!(help.await.out.contains("--max-file-size"), "the flag exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_once() {
    let server =
        TestServer::start_with(|config| config.engine.reserve_bytes = i64::MAX as u64).await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(10 * BLOCK, 204)))).await;
    assert_for_people(outcome.assert_code(3));
    assert_once(&outcome.err, &["a.bin", "missing", "same command again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_and_a_folder_that_is_a_file_have_different_advice() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    run(cli.put(&cli.write("same.bin", &TestFile::new(10, 205)))).await.assert_done();
    let other = TestFile::new(20, 206);
    let file = cli.write("same.bin", &other);
    let put = |arguments: &[&str]| {
        let mut put = cli.put(&file);
        put.args(arguments);
        put
    };
    let taken = run(put(&["--on-conflict", "reject"])).await;
    assert_for_people(taken.assert_code(1));
    assert_once(&taken.err, &["same.bin", "already", "--on-conflict rename"]);
    run(put(&["--on-conflict", "rename"])).await.assert_done();

    let folder = run(put(&["--again", "--folder", "same.bin"])).await;
    assert_for_people(folder.assert_code(1));
    assert!(folder.err.contains("--folder"), "{folder:#?}");
    assert!(!folder.err.contains("--on-conflict"), "it does not help: {folder:#?}");
    run(put(&["--again", "--folder", "elsewhere"])).await.assert_done();
    server.site.assert_published(&server.user, "elsewhere/same.bin", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_says_how_far_it_is_and_its_command_works_as_printed() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), [Faults::stall_after(5 << 20)]).await;
    // A path with a space, which a shell would take for two words.
    let cli = CliFixture::at(server.site.outside().join("my desk"), &server.user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK, 207);
    let mut put = cli.put(&cli.write("two.bin", &test_file));
    put.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = put.spawn().unwrap();
    proxy.link(0).await.has_passed(5 << 20).await;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let outcome = Outcome { code: output.status.code(), out: String::new(), err };
    assert_for_people(outcome.assert_code(3));
    assert_once(&outcome.err, &["two.bin: paused", "of 24.0 MiB", " %)"]);

    proxy.otherwise(Faults::none());
    let resumed = run_advice(&outcome.err).await;
    assert_for_people(resumed.assert_done());
    assert!(resumed.err.contains("resuming at"), "{resumed:#?}");
    assert!(resumed.out.contains("two.bin"), "{resumed:#?}");
    server.site.assert_published(&server.user, "two.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_says_what_stays_and_what_is_sent() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut test_file = TestFile::new(24 * BLOCK, 218);
    let mut sending = cli.start(cli.put(&cli.write("a.bin", &test_file)));
    sending.until(|event| event["received"].as_u64() > Some(6 * BLOCK as u64)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
    test_file.bytes[17] ^= 1;
    let outcome = run(cli.put(&cli.write("a.bin", &test_file))).await;
    assert_for_people(outcome.assert_done());
    assert_once(&outcome.err, &["of 24.0 MiB are unchanged and are kept", "sending "]);
    // The kept bytes and the sent bytes together are the whole file.
    let (before, behind) = outcome.err.split_once(" of 24.0 MiB are unchanged").unwrap();
    let stays: f64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    let sending = behind.split_once("sending ").unwrap().1;
    let sum = stays + sending.split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((sum - 24.0).abs() < 0.2, "{sum}: {outcome:#?}");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_said_once() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let expired = server.site.token(server.user.id, Duration::ZERO);
    std::fs::write(cli.path("token"), expired).unwrap();
    let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(10, 208)))).await;
    assert_for_people(outcome.assert_code(1));
    assert_once(&outcome.err, &["expired", "towlined token --user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_listed_by_their_path_and_fit_the_terminal() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for folder in ["a folder of some length", "another folder of some length"] {
        proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
        let file = cli.write(&format!("{folder}/report.bin"), &TestFile::new(24 * BLOCK, 216));
        let mut put = cli.put(&file);
        put.args(["--folder", folder]);
        let mut sending = cli.start(put);
        sending.until(|event| event["received"].as_u64() > Some(0)).await;
        sending.signal(Signal::INT);
        sending.end().await.assert_code(3);
    }
    let listed = run(cli.command("uploads")).await;
    assert_for_people(listed.assert_done());
    for part in ["a folder of some length/report.bin", "another folder of some length/report.bin"] {
        assert!(listed.out.contains(part), "{listed:#?}");
    }
    assert!(listed.out.contains("24.0 MiB"), "{listed:#?}");

    let mut terminal = Terminal::run(cli.command("uploads"), 80);
    let shown = terminal.shows(|text| text.matches("report.bin").count() == 2).await;
    for line in shown.lines() {
        assert!(line.trim_end().chars().count() <= 80, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_is_not_an_empty_one() {
    let mut list = towline();
    // A file is at the path where the folder of the list should be.
    list.arg("uploads").env("XDG_STATE_HOME", "/proc/self/status");
    let outcome = run(list).await;
    outcome.assert_code(1);
    assert!(!outcome.out.contains("no unfinished"), "{outcome:#?}");
    assert!(outcome.err.contains("uploads_state.json"), "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_removed_is_not_told_to_get_a_token_only() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let removed = UserId::try_from(99).unwrap();
    let token = server.site.token(removed, Duration::from_secs(3600));
    std::fs::write(cli.path("token"), token).unwrap();
    let outcome = run(cli.put(&cli.write("a.bin", &TestFile::new(10, 217)))).await;
    assert_for_people(outcome.assert_code(1));
    assert_once(&outcome.err, &["removed", "towlined user list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_control_character_is_shown_once_and_escaped_once() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let outcome = run(cli.put(&cli.write("esc\u{1b}[31mred.txt", &TestFile::new(10, 209)))).await;
    outcome.assert_code(1);
    assert_once(&outcome.err, &["red.txt", "control characters"]);
    assert!(outcome.err.contains("esc\\u{1b}[31mred.txt"), "{outcome:#?}");
    assert!(!outcome.err.contains("\\\\u"), "escaped twice: {outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_all_can_read_is_pointed_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(10, 210));
    for (mode, warns) in [(0o644, true), (0o600, false)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(cli.path("token"), permissions).unwrap();
        let outcome = run(cli.put(&file)).await;
        assert_eq!(outcome.assert_done().err.contains("chmod 600"), warns, "{outcome:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_lead_out_are_refused_as_usage() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(10, 211));
    for folder in ["../x", "/x", "", "a/../../b"] {
        let mut put = cli.put(&file);
        put.args(["--folder", folder]);
        let outcome = run(put).await;
        outcome.assert_code(2);
        assert_once(&outcome.err, &["your own folder"]);
    }
    assert!(!server.site.document(&server.user, "x/a.bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_in_the_list_is_no_question_of_the_server() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut sending = cli.start(cli.put(&cli.write("a.bin", &TestFile::new(24 * BLOCK, 212))));
    sending.until(|event| event["received"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
    let about = |command: &str| {
        let mut command = cli.command(command);
        command.arg("1");
        command
    };
    let status = run(about("status")).await;
    assert_for_people(status.assert_done());
    assert_once(&status.out, &["paused", "on disk"]);
    assert!(!status.out.contains("uploading"), "no connection sends it: {status:#?}");

    run(about("cancel")).await.assert_done();
    for command in ["cancel", "status"] {
        let again = run(about(command)).await;
        again.assert_code(1);
        assert_once(
            &again.err,
            &["1 is not among the unfinished uploads of this machine", "`towline uploads`"],
        );
        run_advice(&again.err.replace("uploads`", "uploads --state-file /nonexistent/s`")).await;
    }
    let mut again = about("cancel");
    again.arg("--to").arg(server.address().to_string()).arg("--token-file").arg(cli.path("token"));
    let again = run(again).await;
    assert_for_people(again.assert_done());
    assert_once(&again.out, &["document 1", "cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_document_cannot_be_cancelled_and_it_says_so() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    run(cli.put(&cli.write("a.bin", &TestFile::new(10, 213)))).await.assert_done();
    let mut cancel = cli.command("cancel");
    cancel.args(["1", "--to"]).arg(server.address().to_string());
    cancel.arg("--token-file").arg(cli.path("token"));
    let outcome = run(cancel).await;
    assert_for_people(outcome.assert_code(1));
    assert_once(&outcome.err, &["document 1", "complete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_nothing() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("a.bin", &TestFile::new(3 * BLOCK, 214));
    let mut put = cli.put(&file);
    put.args(["-n", "--folder", "x"]);
    let outcome = run(put).await;
    assert_for_people(outcome.assert_done());
    assert!(outcome.out.contains("x/a.bin") && outcome.out.contains("3.0 MiB"), "{outcome:#?}");
    assert!(!server.site.document(&server.user, "x/a.bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_is_answered_with_what_there_is() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    for word in ["overwrite", "keep", ""] {
        let mut put = cli.put(&cli.write("a.bin", &TestFile::new(10, 215)));
        put.args(["--on-conflict", word]);
        let outcome = run(put).await;
        outcome.assert_code(2);
        for part in ["rename", "reject", "skip", "replace"] {
            assert!(outcome.err.contains(part), "{outcome:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_with_what_works_before_anything_is_sent() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("proj/a.bin", &TestFile::new(10, 260));
    // The server among the paths, as scp has it.
    let mut put = cli.command("put");
    put.args(["proj", "127.0.0.1:/backup"]).current_dir(cli.path(""));
    put.arg("--token-file").arg(cli.path("token"));
    put.env("TOWLINE_SERVER", cli.to.to_string());
    let outcome = run(put).await;
    outcome.assert_code(2);
    assert!(outcome.err.contains("towline put proj --to 127.0.0.1 --folder backup"), "{outcome:?}");
    // A rate whose unit was forgotten.
    let mut slow = cli.put(&cli.path("proj"));
    slow.args(["--limit-rate", "10"]);
    let outcome = run(slow).await;
    outcome.assert_code(2);
    assert_once(&outcome.err, &["bytes per second", "did you mean 10KiB?"]);
    assert!(!server.site.document(&server.user, "proj").exists());
    // A name is no list on a command line.
    let file = cli.write("a\\b", &TestFile::new(10, 261));
    let outcome = run(cli.put(&file)).await;
    outcome.assert_code(1);
    assert!(
        outcome.err.contains("must not contain") && !outcome.err.contains("list"),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_was_not_sent_nothing_is_said_to_be_lost() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    cli.write("photos/a.jpg", &TestFile::new(10, 262));
    run(cli.put(&cli.path("photos"))).await.assert_done();
    let changed = cli.write("photos/a.jpg", &TestFile::new(11, 263));
    std::fs::hard_link(changed, cli.path("second")).unwrap();
    for (choice, code, lost) in [("reject", 1, 0), ("skip", 0, 0), ("replace", 0, 1)] {
        let mut put = cli.put(&cli.path("photos"));
        put.args(["--json", "--on-conflict", choice]);
        let outcome = run(put).await;
        outcome.assert_code(code);
        assert_eq!(outcome.event("summary")["not_kept_hard_links"], lost, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_replace_cannot_help_the_advice_is_something_else_that_works() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let put = async |path: &str, more: &[&str]| {
        let mut put = cli.put(&cli.path(path));
        put.args(more);
        run(put).await
    };
    let replace = ["--on-conflict", "replace"];
    // A file has become a folder.
    let file = cli.write("x", &TestFile::new(10, 264));
    put("x", &[]).await.assert_done();
    std::fs::remove_file(file).unwrap();
    cli.write("x/in", &TestFile::new(11, 265));
    let outcome = put("x", &replace).await;
    outcome.assert_code(1);
    assert!(
        outcome.err.contains("`towline rm x`") && !outcome.err.contains("replace"),
        "{outcome:?}"
    );
    let mut rm = cli.at_home("rm", &cli.path("state"));
    rm.args(["--yes", "x"]);
    cli.reach(&mut rm);
    run(rm).await.assert_done();
    put("x", &replace).await.assert_done();
    // A link has become a file, and a name counts as the same as another.
    std::fs::create_dir(cli.path("d")).unwrap();
    std::os::unix::fs::symlink("nowhere", cli.path("d/l")).unwrap();
    cli.write("d/Makefile", &TestFile::new(12, 266));
    put("d", &[]).await.assert_done();
    std::fs::remove_file(cli.path("d/l")).unwrap();
    for name in ["d/l", "d/makefile"] {
        cli.write(name, &TestFile::new(13, 267));
        let outcome = put(name, &["--folder", "d", "--on-conflict", "replace"]).await;
        outcome.assert_code(1);
        assert_once(&outcome.err, &["--on-conflict rename", "towline rm", "`towline ls d`"]);
        assert!(!outcome.err.contains("--on-conflict replace"), "{outcome:?}");
        put(name, &["--folder", "d", "--on-conflict", "rename"]).await.assert_done();
    }
}
