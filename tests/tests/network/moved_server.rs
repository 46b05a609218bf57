//! The server gets another address while a file is on its way to it: it is the same server, and the
//! upload goes on. Another key under the same address is another server, which is told nothing.

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use towline_tests::capture::Capture;
use towline_tests::cli_fixture::{CliFixture, Run, run};
use towline_tests::netns_link::{LinkEnd, NetnsLink};
use towline_tests::person_at::PersonAt;
use towline_tests::process::{Launch, ServerProcess, stdout, towlined};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};

/// Two machines: the server of a user, and a person who has nothing but a file.
struct Machines {
    link: NetnsLink,
    site: Site,
    user: TestUser,
    server: ServerProcess,
    launch: Launch,
    cli: CliFixture,
}

impl Machines {
    async fn make() -> Option<Self> {
        let link = NetnsLink::make()?;
        let site = Site::new();
        let user = site.add_user("ada").await;
        let launch = Launch::over(&site).arguments(&["--allow-root"]).under(&link.near.under());
        let server = launch.clone().listen(link.near.address(0)).start().await;
        let cli = CliFixture::new(&site, &user, server.address());
        Some(Self { link, site, user, server, launch, cli })
    }

    fn person(&self) -> PersonAt<'_> {
        PersonAt::new(&self.link.far, &self.cli)
    }

    /// What the operator sends the person.
    async fn line(&self) -> String {
        let mut join = towlined();
        let join = join.args(["join", "--user", "ada", "--data-dir"]).arg(self.site.path());
        stdout(join).await.trim().to_owned()
    }

    /// The server stops in order, as far as its clients can still be told.
    async fn stop(&mut self) {
        self.server.signal(Signal::TERM);
        self.server.ended().await;
    }

    /// A server that has stopped starts again, at the address that its machine has now.
    async fn start(&mut self) {
        let address = self.link.near.address(self.server.address().port());
        self.server = self.launch.clone().listen(address).start().await;
    }

    /// The person joins, and sends a file that takes some seconds. Returns once a part is durable.
    async fn sends(&self, test_file: &TestFile) -> Run {
        self.cli.write("big.bin", test_file);
        let line = self.line().await;
        self.person().types(&["login", &line, "--as", "nas"]).await.assert_done();
        let put = self.person().command(&["put", "big.bin", "nas:", "--limit-rate", "4MiB"]);
        let mut sending = self.cli.start(put);
        sending.until(|event| event["durable"].as_u64() > Some(0)).await;
        sending
    }

    /// One document, with these bytes, and nothing that is not finished.
    fn assert_is_there_once(&self, test_file: &TestFile) {
        self.site.assert_published(&self.user, "big.bin", test_file);
        let documents = fs::read_dir(self.site.documents(&self.user)).unwrap();
        assert_eq!(documents.count(), 1);
        let left = self.person().unfinished();
        assert!(left.uploads.is_empty() && left.jobs.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_gone_on_with_after_the_line_for_the_new_address() {
    let Some(mut machines) = Machines::make().await else { return };
    let test_file = TestFile::new(24 * BLOCK, 990);
    let sending = machines.sends(&test_file).await;
    let before = machines.server.address();

    // Nothing tells either end, and the person sees that nothing moves any more.
    machines.link.renumber(3);
    sending.signal(Signal::INT);
    let paused = sending.end().await;
    let durable = paused.assert_code(3).event("paused")["durable"].as_u64().unwrap();
    assert!(durable > 0, "{paused:?}");
    machines.stop().await;
    machines.start().await;

    let line = machines.line().await;
    let login = machines.person().types(&["login", &line]).await;
    let told = format!("it is the server that was at {before}");
    for text in ["logged in to nas", "as ada", &told] {
        assert!(login.assert_done().out.contains(text), "{text}: {login:?}");
    }
    let servers = machines.person().types(&["servers"]).await;
    assert_eq!(servers.out.lines().count(), 1, "one server has one name: {servers:?}");
    let listed = machines.person().unfinished();
    assert_eq!((listed.uploads.len(), listed.jobs.len()), (1, 0), "{listed:?}");

    let resumed = machines.person().types(&["resume", "--json"]).await;
    let began = resumed.assert_done().event("resumed");
    assert!(began["durable"].as_u64() >= Some(durable), "{began}");
    let sent = resumed.event("completed")["sent_bytes"].as_u64().unwrap();
    assert!(sent <= test_file.size() as u64 - durable, "{sent} of {}", test_file.size());
    machines.assert_is_there_once(&test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_waits_goes_on_by_itself_once_the_new_address_is_known() {
    let Some(mut machines) = Machines::make().await else { return };
    let test_file = TestFile::new(24 * BLOCK, 991);
    let mut sending = machines.sends(&test_file).await;
    machines.stop().await;
    machines.link.renumber(3);
    machines.start().await;
    sending.until(|event| event["event"] == "waiting").await;

    // Nothing was known of the new address when the command began.
    let line = machines.line().await;
    machines.person().types(&["login", &line, "--as", "nas"]).await.assert_done();
    let sent = sending.end().await;
    let told = sent.assert_done().events().into_iter().any(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        message.contains("with the same key")
            && message.contains(&machines.server.address().to_string())
    });
    assert!(told, "{sent:?}");
    machines.assert_is_there_once(&test_file);
}

/// The records of TLS in what a client has sent: their types and lengths.
fn records(mut sent: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = sent {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*kind, length));
        sent = rest.get(length..).expect("a whole record");
    }
    records
}

/// The type of all records that are encrypted, whatever is in them.
const ENCRYPTED: u8 = 23;

/// The longest encrypted record of a client that has nothing to say: `Finished` of the handshake
/// with a hash of 48 bytes, 4 bytes of head before it, 1 byte of type and 16 bytes of tag behind it.
const FINISHED_BYTES: usize = 4 + 48 + 1 + 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_key_gets_neither_token_nor_file() {
    let Some(mut machines) = Machines::make().await else { return };
    machines.launch = machines.launch.clone().arguments(&["--allow-plaintext"]);
    machines.stop().await;
    machines.start().await;
    let address = machines.server.address();
    let test_file = TestFile::new(200_000, 992);
    machines.cli.write("a.bin", &test_file);
    let line = machines.line().await;
    let person = PersonAt::new(&machines.link.far, &machines.cli);
    person.types(&["login", &line, "--as", "nas"]).await.assert_done();
    let token = fs::read_to_string(person.setting("nas.token")).unwrap();
    let token = token.trim().to_owned();
    let begin = &test_file.bytes[..64];
    let put = |folder: &str, more: &[&str]| -> Command {
        person.command(&[&["put", "a.bin", "--to", "nas", "--folder", folder], more].concat())
    };

    // Without encryption the capture has both: it sees what there is to be seen.
    let capture = Capture::begin(&machines.link.near);
    run(put("plain", &["--plaintext"])).await.assert_done();
    let captured = capture.end();
    assert!(captured.has(token.as_bytes()) && captured.has(begin));
    let capture = Capture::begin(&machines.link.near);
    run(put("good", &[])).await.assert_done();
    let captured = capture.end();
    assert!(!captured.has(token.as_bytes()) && !captured.has(begin));
    let [sent] = &captured.sent_to(address)[..] else { panic!("one connection") };
    let longest = records(sent).into_iter().filter(|(kind, _)| *kind == ENCRYPTED).max();
    assert!(longest.is_some_and(|(_, length)| length > token.len()), "{longest:?}");

    machines.server.signal(Signal::TERM);
    machines.server.ended().await;
    fs::remove_file(machines.site.path().join("keys/tls.pem")).unwrap();
    let launch = machines.launch.clone().variable("TOWLINE_LOG", "trace");
    let server = launch.listen(address).start().await;
    let capture = Capture::begin(&machines.link.near);
    let refused = run(put("bad", &[])).await;
    let captured = capture.end();
    refused.assert_code(1);
    assert!(refused.err.contains("Nothing was sent, not even the token"), "{refused:?}");
    assert!(!captured.has(token.as_bytes()) && !captured.has(begin));
    let sent = captured.sent_to(address);
    assert!(!sent.is_empty(), "the client has asked for the key");
    for (kind, length) in sent.iter().flat_map(|sent| records(sent)) {
        assert!(kind != ENCRYPTED || length <= FINISHED_BYTES, "{length} bytes in a record");
    }
    let log = server.gone().await.concat();
    assert!(!log.contains("logged in"), "{log}");
    assert!(!machines.site.document(&machines.user, "bad").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_with_the_same_certificate_is_not_gone_on_with() {
    let (site, other_site) = (Site::new(), Site::new());
    let (user, other_user) = (site.add_user("ada").await, other_site.add_user("ada").await);
    let mut server = ServerProcess::start(&site).await;
    let key = Path::new("keys/tls.pem");
    fs::create_dir_all(other_site.path().join("keys")).unwrap();
    fs::copy(site.path().join(key), other_site.path().join(key)).unwrap();
    let other = ServerProcess::start(&other_site).await;
    let cli = CliFixture::new(&site, &user, server.address());
    let elsewhere = CliFixture::at(cli.path("other"), &other_user, other.address());
    let test_file = TestFile::new(24 * BLOCK, 993);
    let path = cli.write("big.bin", &test_file);
    let encrypted = |mut put: Command| {
        put.env("XDG_CONFIG_HOME", cli.path("config")).args(["--tls", "--trust-new"]);
        put
    };
    let small = elsewhere.write("small.bin", &TestFile::new(10, 994));
    run(encrypted(elsewhere.put(&small))).await.assert_done();
    let mut put = encrypted(cli.put(&path));
    put.args(["--limit-rate", "8MiB"]);
    let mut sending = cli.start(put);
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    let known = fs::read_to_string(cli.path("config/towline/known_servers")).unwrap();
    let keys: BTreeSet<_> = known.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!((known.lines().count(), keys.len()), (2, 1), "{known}");

    server.kill().await;
    // Each attempt has looked for other addresses as well.
    let at = |event: &Value| event["event"] == "waiting" && event["attempt"].as_u64() > Some(2);
    let waiting = sending.until(at).await;
    assert_eq!(waiting["reason"], "connection refused");
    server.start_again().await;
    sending.end().await.assert_done();
    site.assert_published(&user, "big.bin", &test_file);
    assert_eq!(fs::read_dir(other_site.documents(&other_user)).unwrap().count(), 1);
    // The store that answered there is known: it was not asked again.
    let log = other.gone().await.concat();
    assert!(!log.contains("a login was refused"), "{log}");
}

/// Another store, with the same certificate, has the address at which the store of the upload was seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_has_another_store_by_now_gets_the_token_once() {
    let (site, other_site) = (Site::new(), Site::new());
    let user = site.add_user("ada").await;
    other_site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let key = Path::new("keys/tls.pem");
    fs::create_dir_all(other_site.path().join("keys")).unwrap();
    fs::copy(site.path().join(key), other_site.path().join(key)).unwrap();
    let cli = CliFixture::new(&site, &user, server.address());
    let test_file = TestFile::new(24 * BLOCK, 996);
    let path = cli.write("big.bin", &test_file);
    let encrypted = |mut put: Command| {
        put.env("XDG_CONFIG_HOME", cli.path("config")).args(["--tls", "--trust-new"]);
        put
    };
    let mut put = encrypted(cli.put(&path));
    put.args(["--limit-rate", "8MiB"]);
    let mut sending = cli.start(put);
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    // The server was at the other address before.
    let other = ServerProcess::start(&other_site).await;
    let settings = cli.path("config/towline");
    let at = |name: &str| settings.join(name);
    let [here, there] = [server.address(), other.address()].map(|address| address.to_string());
    for name in ["known_servers", "known_stores"] {
        let text = fs::read_to_string(at(name)).unwrap();
        assert!(text.contains(&here), "{name}: {text}");
        fs::write(at(name), format!("{}{text}", text.replace(&here, &there))).unwrap();
    }

    server.kill().await;
    let is_late =
        |event: &Value| event["event"] == "waiting" && event["attempt"].as_u64() > Some(3);
    sending.until(is_late).await;
    server.start_again().await;
    sending.end().await.assert_done();
    site.assert_published(&user, "big.bin", &test_file);
    let log = other.gone().await;
    let refused: Vec<_> = log.iter().filter(|line| line.contains("a login was refused")).collect();
    assert_eq!(refused.len(), 1, "{log:?}");
    let stores = fs::read_to_string(at("known_stores")).unwrap();
    assert!(stores.contains(&here) && !stores.contains(&there), "the next run knows it: {stores}");
}

/// A sitting of `towline receive` at that end, and the line that it prints.
async fn sitting(end: &LinkEnd, cli: &CliFixture, folder: &Path) -> (Run, String) {
    let mut receive = PersonAt::new(end, cli).command(&["receive"]);
    receive.arg(folder);
    let mut sitting = cli.start(receive);
    let line = sitting.until(|event| event["event"] == "line").await;
    (sitting, line["line"].as_str().unwrap().to_owned())
}

/// A sitting and a sender, whose file is on its way; the sitting has another address then.
struct MovedSitting {
    link: NetnsLink,
    _site: Site,
    there: CliFixture,
    folder: PathBuf,
    test_file: TestFile,
    sending: Run,
    receiving: Run,
    line: String,
}

impl MovedSitting {
    /// With `pauses`, the sender pauses before anything changes.
    async fn make(pauses: bool) -> Option<Self> {
        let mut link = NetnsLink::make()?;
        let site = Site::new();
        let user = site.add_user("nobody").await;
        let [here, there] = ["here", "there"]
            .map(|name| CliFixture::at(site.outside().join(name), &user, link.near.address(9)));
        let folder = here.path("received");
        fs::create_dir(&folder).unwrap();
        let test_file = TestFile::new(24 * BLOCK, 995);
        there.write("big.bin", &test_file);
        let (receiving, line) = sitting(&link.near, &here, &folder).await;
        let put = ["put", "big.bin", "--to", &line, "--limit-rate", "4MiB"];
        let mut sending = there.start(PersonAt::new(&link.far, &there).command(&put));
        sending.until(|event| event["durable"].as_u64() > Some(0)).await;
        if pauses {
            sending.signal(Signal::INT);
            sending.until(|event| event["event"] == "paused").await;
        }
        receiving.signal(Signal::INT);
        receiving.end().await.assert_code(3);
        link.renumber(3);
        let (receiving, line) = sitting(&link.near, &here, &folder).await;
        assert!(line.contains(&link.near.address(0).ip().to_string()), "{line}");
        Some(Self { link, _site: site, there, folder, test_file, sending, receiving, line })
    }

    /// The file is there once, and neither end has anything left to do.
    async fn assert_is_over(self) {
        let left = PersonAt::new(&self.link.far, &self.there).unfinished();
        assert!(left.uploads.is_empty() && left.jobs.is_empty(), "{left:?}");
        self.receiving.signal(Signal::INT);
        self.receiving.end().await.assert_done();
        assert!(fs::read(self.folder.join("big.bin")).unwrap() == self.test_file.bytes);
        let landed = fs::read_dir(&self.folder).unwrap();
        assert_eq!(landed.count(), 1, "one document, and no store is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_sitting_goes_on_once_its_new_line_was_used() {
    let Some(mut moved) = MovedSitting::make(false).await else { return };
    moved.sending.until(|event| event["event"] == "waiting").await;
    // Another line is for another sender; the command that waits stays the one that it was.
    let sender = PersonAt::new(&moved.link.far, &moved.there);
    sender.types(&["login", &moved.line, "--as", "friend"]).await.assert_done();
    let resumed = moved.sending.until(|event| event["event"] == "resumed").await;
    assert!(resumed["durable"].as_u64() > Some(0), "{resumed}");
    moved.sending.until(|event| event["event"] == "completed").await;
    moved.sending.until(|event| event["event"] == "summary").await;
    moved.assert_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_put_to_a_sitting_is_resumed_by_its_new_line() {
    let Some(moved) = MovedSitting::make(true).await else { return };
    let sender = PersonAt::new(&moved.link.far, &moved.there);
    let refused = sender.types(&["resume", "--to", &moved.line, "--plaintext"]).await;
    refused.assert_code(2);
    let resumed = sender.types(&["resume", "--to", &moved.line, "--json"]).await;
    let began = resumed.assert_done().event("resumed");
    assert!(began["durable"].as_u64() > Some(0), "{began}");
    assert!(!sender.setting("config.toml").exists(), "the sitting has got no name");
    moved.assert_is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sitting_waits_for_an_address_when_its_line_has_to_be_renewed() {
    let Some(link) = NetnsLink::make() else { return };
    let site = Site::new();
    let user = site.add_user("nobody").await;
    let [here, there] = ["here", "there"]
        .map(|name| CliFixture::at(site.outside().join(name), &user, link.near.address(9)));
    let folder = here.path("received");
    fs::create_dir(&folder).unwrap();
    let files = [1, 2].map(|number| TestFile::new(1000, 996 + number));
    for (name, file) in ["a.bin", "b.bin"].into_iter().zip(&files) {
        there.write(name, file);
    }
    let (mut receiving, line) = sitting(&link.near, &here, &folder).await;
    let address = link.near.address(0).ip().to_string();
    link.take_address();
    // A sender on the same machine, who needs no network.
    let local = line.replace(&address, "127.0.0.1");
    let sender = PersonAt::new(&link.near, &there);
    let has_landed = |name: &'static str| {
        move |event: &Value| {
            event["event"] == "landed" && event["path"].as_str().unwrap().ends_with(name)
        }
    };
    sender.types(&["put", "a.bin", "--to", &local]).await.assert_done();
    receiving.until(has_landed("a.bin")).await;
    // The line is used up, there is no other one, and the sitting goes on.
    sender.types(&["put", "b.bin", "--to", &local]).await.assert_done();
    receiving.until(has_landed("b.bin")).await;
    link.give_address();
    let next = receiving.until(|event| event["event"] == "line").await;
    assert!(next["line"].as_str().unwrap().contains(&address), "{next}");
    receiving.signal(Signal::INT);
    let ended = receiving.end().await;
    let told = "has no address that others could use; the next line";
    assert_eq!(ended.assert_done().err.matches(told).count(), 1, "{ended:?}");
}
