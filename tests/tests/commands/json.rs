//! `--json`: every line that a command prints is one that `docs/json.md` describes, and every event
//! of that page is printed by some command.

pub(crate) mod schema;

use rustix::process::Signal;
use schema::Schema;
use std::collections::BTreeSet;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, Run, run};
use towline_tests::process::{stdout, towline, towlined};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// Events that this test does not always bring about, and why.
const NOT_ALWAYS_SEEN: [(&str, &str); 1] =
    [("copying", "the server says it only where copying a file takes it a while")];

/// One person, whose commands are all held to the page.
struct Person<'a> {
    cli: &'a CliFixture,
    schema: Schema,
}

impl Person<'_> {
    /// A command with server and token.
    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut asked = self.cli.at_home(command, &self.cli.path("state"));
        if ["login", "servers", "logout"].contains(&command) {
            asked = towline();
            asked.arg(command).env("XDG_CONFIG_HOME", self.cli.path("config"));
        } else if !["uploads", "receipt", "receive"].contains(&command) {
            self.cli.reach(&mut asked);
        }
        asked.args(arguments).current_dir(self.cli.path("."));
        asked
    }

    /// Runs it to its end with `--json`.
    async fn asks(&mut self, command: &str, arguments: &[&str]) -> Outcome {
        let mut asked = self.command(command, arguments);
        asked.arg("--json");
        let outcome = run(asked).await;
        self.hold(command, &outcome);
        outcome
    }

    /// Starts it with `--json`.
    fn starts(&self, command: &str, arguments: &[&str]) -> Run {
        self.cli.start(self.command(command, arguments))
    }

    fn hold(&mut self, command: &str, outcome: &Outcome) {
        self.hold_from(command, outcome, true);
    }

    /// The rest of a run whose first lines were read.
    fn hold_from(&mut self, command: &str, outcome: &Outcome, mut is_first: bool) {
        for line in outcome.events() {
            self.schema.hold(command, is_first, &line);
            is_first = false;
        }
    }

    /// Waits for an event, and holds the lines up to it to the page.
    async fn sees(&mut self, command: &str, run: &mut Run, event: &str, is_first: &mut bool) {
        let schema = &mut self.schema;
        run.until(|line| {
            schema.hold(command, *is_first, line);
            *is_first = false;
            line["event"] == event
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_every_command_is_as_the_page_says() {
    let server = TestServer::start_with_http(|_| {}).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut person = Person { cli: &cli, schema: Schema::of_client() };
    for (name, size) in [("proj/a.txt", 1000), ("proj/sub/b.bin", 3 * BLOCK), ("proj/c", 0)] {
        cli.write(name, &TestFile::new(size, 1400));
    }
    std::fs::write(cli.path("proj/.towlineignore"), "a{b\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", cli.path("proj/out")).unwrap();
    std::fs::create_dir(cli.path("proj/nothing")).unwrap();
    person.asks("put", &["--dry-run", "proj", "nothing"]).await.assert_code(1);
    person.asks("put", &["proj", "--copy-links"]).await.assert_done();
    person.asks("put", &["proj"]).await.assert_done();
    person.asks("put", &["nothing", "proj/a.txt"]).await.assert_code(1);
    let other = TestFile::new(1001, 1401);
    cli.write("other/a.txt", &other);
    for (choice, code) in [("rename", 0), ("reject", 1), ("skip", 0), ("replace", 0)] {
        let put = ["other/a.txt", "--folder", "proj", "--on-conflict", choice];
        person.asks("put", &put).await.assert_code(code);
    }

    // A sitting, and what arrives in it.
    std::fs::create_dir(cli.path("got")).unwrap();
    let mut sitting = person.starts("receive", &["got", "--once", "--listen", "127.0.0.1:0"]);
    let (schema, mut first) = (&mut person.schema, true);
    let line = sitting.until(|event| {
        schema.hold("receive", first, event);
        first = false;
        event["event"] == "line"
    });
    let line = line.await["line"].as_str().unwrap().to_owned();
    let mut put = towline();
    put.args(["put", "other/a.txt", "proj", "--to", &line]).current_dir(cli.path("."));
    let home = cli.path("home");
    put.env("XDG_CONFIG_HOME", &home).env("XDG_STATE_HOME", &home);
    run(put).await.assert_done();
    person.hold_from("receive", sitting.end().await.assert_done(), false);

    // An upload that is interrupted, and one that stalls. Another command follows them.
    let mut watch_first = true;
    let mut watching = person.starts("watch", &[]);
    for name in ["films/1.mkv", "films/2.mkv"] {
        cli.write(name, &TestFile::new(24 * BLOCK, 1402));
    }
    proxy.otherwise(Faults::slow(8 << 20));
    let mut first = true;
    let mut sending = person.starts("put", &["films"]);
    person.sees("put", &mut sending, "progress", &mut first).await;
    person.sees("watch", &mut watching, "running", &mut watch_first).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    person.hold_from("put", &outcome, first);
    let paused = outcome.event("paused")["document_id"].to_string();
    person.asks("uploads", &[]).await.assert_done();
    person.asks("status", &[&paused]).await.assert_done();
    let stalls = Faults { stall_after: Some(3 << 20), ..Faults::none() };
    proxy.plan([stalls]);
    let number = proxy.connections();
    let mut first = true;
    let mut sending = person.starts("resume", &["--all"]);
    person.sees("resume", &mut sending, "resumed", &mut first).await;
    person.sees("resume", &mut sending, "stalled", &mut first).await;
    proxy.link(number).await.go_on();
    proxy.otherwise(Faults::none());
    let outcome = sending.end().await;
    person.hold_from("resume", &outcome, first);
    outcome.assert_done();
    person.sees("watch", &mut watching, "ended", &mut watch_first).await;
    watching.signal(Signal::INT);
    let outcome = watching.end().await;
    person.hold_from("watch", outcome.assert_done(), watch_first);
    person.asks("resume", &[]).await.assert_done();
    person.asks("status", &[&paused]).await.assert_done();
    person.asks("cancel", &[&paused]).await.assert_code(1);
    proxy.otherwise(Faults::slow(8 << 20));
    cli.write("3.mkv", &TestFile::new(24 * BLOCK, 1403));
    let mut first = true;
    let mut sending = person.starts("put", &["3.mkv"]);
    person.sees("put", &mut sending, "progress", &mut first).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    person.hold_from("put", &outcome, first);
    let paused = outcome.event("paused")["document_id"].to_string();
    proxy.otherwise(Faults::none());
    person.asks("cancel", &[&paused]).await.assert_done();

    // What is on the server.
    person.asks("ls", &[]).await.assert_done();
    person.asks("ls", &["-R", "proj"]).await.assert_done();
    person.asks("ls", &["nothing"]).await.assert_code(1);
    person.asks("mkdir", &["new/folder"]).await.assert_done();
    person.asks("mv", &["proj/c", "new"]).await.assert_done();
    let versions = person.asks("versions", &["proj/a.txt"]).await.events();
    let oldest = versions.last().unwrap()["version"].to_string();
    person.asks("restore", &["proj/a.txt", "--version", &oldest]).await.assert_done();
    person.asks("link", &["proj/a.txt"]).await.assert_done();
    person.asks("link", &["proj"]).await.assert_code(1);
    person.asks("rm", &["--yes", "proj/sub", "nothing"]).await.assert_code(1);
    person.asks("verify", &["proj"]).await.assert_code(1);
    person.asks("ls", &["--trash"]).await.assert_done();
    person.asks("restore", &["proj/sub/b.bin"]).await.assert_code(1);
    person.asks("restore", &["proj/sub"]).await.assert_done();
    person.asks("log", &[]).await.assert_done();

    // Receipts, of which some are not good.
    person.asks("put", &["proj/a.txt", "--receipts", "deposit"]).await.assert_done();
    let text = std::fs::read_to_string(cli.path("deposit")).unwrap();
    let edited = text.replace("\"durable\":true", "\"durable\":false");
    std::fs::write(cli.path("deposit"), text + "{}\n" + &edited).unwrap();
    person.asks("receipt", &["verify", "deposit", "--dir", "."]).await.assert_code(4);
    person.asks("receipt", &["verify", "nothing"]).await.assert_code(1);

    // Servers with names.
    let address = proxy.address().to_string();
    let mut join = towlined();
    join.args(["join", "--user", "ada", "--address", &address, "--data-dir"]);
    let line = stdout(join.arg(server.site.path())).await;
    person.asks("login", &[line.trim(), "--as", "nas"]).await.assert_done();
    person.asks("login", &[line.trim(), "--as", "nas"]).await.assert_code(1);
    person.asks("servers", &[]).await.assert_done();
    person.asks("logout", &["nas"]).await.assert_done();
    person.asks("logout", &["nas"]).await.assert_code(1);

    // And back.
    let files = person.asks("get", &["proj", "new", "films", "-o", "."]).await;
    files.assert_code(1);
    std::fs::create_dir(cli.path("back")).unwrap();
    person.asks("get", &["proj", "new", "films", "-o", "back"]).await.assert_done();
    // An empty file goes to standard output, and the events to standard error.
    let mut to_output = person.command("get", &["new/c", "-o", "-"]);
    to_output.arg("--json");
    let outcome = run(to_output).await;
    let said = Outcome { out: outcome.err.clone(), ..outcome };
    person.hold("get", said.assert_done());
    assert_eq!(said.event("fetched")["filesize"], 0);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cli = CliFixture::at(cli.path("elsewhere"), &server.user, gone);
    let mut elsewhere = Person { cli: &cli, schema: person.schema };
    elsewhere.asks("get", &["proj", "--retries", "1"]).await.assert_code(3);
    cli.write("a.txt", &other);
    elsewhere.asks("put", &["a.txt", "--retries", "1"]).await.assert_code(3);

    let unseen = elsewhere.schema.unseen();
    let allowed: BTreeSet<_> = NOT_ALWAYS_SEEN.iter().map(|(event, _)| *event).collect();
    assert!(unseen.is_subset(&allowed), "documented, and not seen: {unseen:?}");
}
