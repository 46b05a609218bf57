//! A full disk, first under the bytes of uploads, then under the catalog. Durable bytes stay, each
//! client gets the error, and when there is room again all uploads continue without a restart.

use std::path::Path;
use std::time::{Duration, Instant};
use towline_protocol::request::Complete;
use towline_protocol::{Code, ErrorReply, Reply, Request};
use towline_tests::disks::Disks;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{Heard, RawClient, ZERO, find, offset, position, resume, upload};
use towline_tests::site::TestUser;
use towline_tests::test_file::TestFile;
use towline_tests::volume::Volume;
use towline_types::{DocumentId, Offset};

/// One of three clients that upload at the same time.
struct Client {
    raw: RawClient,
    name: String,
    test_file: TestFile,
    id: DocumentId,
    promised: Offset,
}

impl Client {
    /// Begins an upload and sends the first bytes, until they are promised durable.
    async fn begin(server: &ServerProcess, user: &TestUser, number: u64, first: usize) -> Self {
        let mut raw = RawClient::login(server.address(), &user.token).await;
        let (name, test_file) = (format!("{number}.bin"), TestFile::new(900_000, 920 + number));
        let id = raw.upload(upload(&name, &test_file)).await.document_id;
        raw.chunks(ZERO, &test_file, 0..first).await;
        let promise = raw.progress_that("a promise", |p| p.durable == offset(first)).await;
        Self { raw, name, test_file, id, promised: promise.durable }
    }

    /// Sends the rest and `complete`. Returns how that ended.
    async fn goes_on(&mut self, from: usize) -> Result<(), ErrorReply> {
        self.raw.chunks(ZERO, &self.test_file, from..self.test_file.size()).await;
        self.raw.send(&Request::Complete(Complete::default())).await;
        match self.raw.reply_on(ZERO).await {
            Reply::Success(_) => Ok(()),
            Reply::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// The server's offset of the upload, which may not be below what was promised.
    async fn resumes(&mut self) -> usize {
        let granted = self.raw.resume(resume(self.id)).await;
        assert!(granted.offset >= self.promised, "{granted:?}");
        position(granted.offset)
    }
}

#[tokio::test]
async fn a_full_disk_in_memory_under_the_bytes_loses_no_promise() {
    let Some(data) = Volume::memory(16 << 20) else { return };
    under_the_bytes(data).await;
}

#[tokio::test]
async fn a_full_ext4_under_the_bytes_loses_no_promise() {
    let Some(data) = Volume::ext4(16 << 20) else { return };
    under_the_bytes(data).await;
}

async fn three_begun(server: &ServerProcess, user: &TestUser) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..3 {
        clients.push(Client::begin(server, user, number, 200_000).await);
    }
    clients
}

async fn under_the_bytes(data: Volume) {
    let Some(state) = Volume::memory(16 << 20) else { return };
    let disks = Disks::of(data, Some(state));
    let user = disks.site().add_user("ada").await;
    let server = Launch::without_reserve(disks.site()).start().await;
    let mut clients = three_begun(&server, &user).await;
    let ballast = disks.data().fill_up_to(500_000);
    let [first, second, third] = &mut clients[..] else { panic!("three clients") };
    let (first, second, third) =
        tokio::join!(first.goes_on(200_000), second.goes_on(200_000), third.goes_on(200_000));
    let mut waiting = Vec::new();
    for (mut client, went) in clients.into_iter().zip([first, second, third]) {
        // Each client needs 700,000 bytes more, and 500,000 are free.
        let error = went.expect_err("there is no room for it");
        println!("{}: {} {}", client.name, error.code, error.message);
        assert_eq!(error.code, Code::NoSpace);
        assert!(error.missing.is_some_and(|missing| missing > 0), "{error:?}");
        let status = client.raw.status(client.id).await;
        assert_eq!(status.status, "uploading");
        assert!(status.durable >= client.promised, "{status:?}");
        waiting.push(client);
    }
    // A new upload is refused at once, with the number of missing bytes.
    let mut late = RawClient::login(server.address(), &user.token).await;
    let refused =
        late.upload_refused(upload("late", &TestFile::new(2 << 20, 930)), Code::NoSpace).await;
    println!("a new upload: {} {}", refused.code, refused.message);
    late.find(find("0.bin", TestFile::new(900_000, 920).filesize())).await;
    server.says_in_one_line(&["code=no_space", "path=\"uploads", "errno=28"]).await;

    std::fs::remove_file(ballast).expect("the ballast is there");
    for mut client in waiting {
        let from = client.resumes().await;
        client.goes_on(from).await.expect("there is room again");
        disks.site().assert_published(&user, &client.name, &client.test_file);
    }
    server.gone().await;
}

#[tokio::test]
async fn a_full_disk_under_the_catalog_loses_no_promise() {
    let Some(data) = Volume::memory(32 << 20) else { return };
    let Some(state) = Volume::memory(2 << 20) else { return };
    let disks = Disks::of(data, Some(state));
    let user = disks.site().add_user("ada").await;
    let server = Launch::without_reserve(disks.site()).start().await;
    let mut clients = three_begun(&server, &user).await;
    let ballast = disks.state().fill_up_to(0);
    fill_the_rest(&ballast);
    for client in &mut clients {
        let error = client.goes_on(200_000).await.expect_err("nothing can be recorded");
        println!("{}: {} {}", client.name, error.code, error.message);
        assert_eq!(error.code, Code::NoSpace);
        let status = client.raw.status(client.id).await;
        assert_eq!((status.status.as_str(), status.durable), ("uploading", client.promised));
    }
    let told = clients.iter_mut().flat_map(|client| client.raw.heard_so_far());
    let promises = told.filter(
        |heard| matches!(heard, Heard::Reply(Reply::Progress(p)) if p.durable > offset(200_000)),
    );
    assert_eq!(promises.count(), 0, "nothing is promised that is not recorded");
    assert_tries_and_says_it_once_a_second(&server, &user, &mut clients[0]).await;
    let mut late = RawClient::login(server.address(), &user.token).await;
    let refused = late.upload_refused(upload("late", &clients[0].test_file), Code::NoSpace).await;
    println!("a new upload: {} {}", refused.code, refused.message);
    assert!(late.find(find("0.bin", clients[0].test_file.filesize())).await.unfinished.is_some());

    std::fs::remove_file(ballast).expect("the ballast is there");
    for mut client in clients {
        let from = client.resumes().await;
        client.goes_on(from).await.expect("there is room again, and nothing has closed");
        disks.site().assert_published(&user, &client.name, &client.test_file);
    }
    server.gone().await;
}

/// Checks that a checkpoint which cannot be recorded is tried again only once per second, and
/// logged as often. Connections that end ask for a checkpoint at once, and must not change that.
async fn assert_tries_and_says_it_once_a_second(
    server: &ServerProcess,
    user: &TestUser,
    client: &mut Client,
) {
    let (before, began) = (server.said().len(), Instant::now());
    let mut ended = 0;
    while began.elapsed() < Duration::from_secs(2) {
        client.raw.status(client.id).await;
        let mut other = RawClient::login(server.address(), &user.token).await;
        other.resume(resume(client.id)).await;
        drop(other);
        ended += 1;
    }
    // One line for requests and checkpoints together, with the path and the number of the error.
    let is_full = "the disk with the catalog is full";
    let words = ["WARN", is_full, "path=\"state/catalog.db\"", "errno=28", "code=no_space"];
    server.says_in_one_line(&words).await;
    let said = server.said();
    let tells = |line: &&String| line.contains(is_full);
    let lines: Vec<_> = said[before..].iter().filter(tells).collect();
    let left_out = |line: &&String| -> u32 {
        let number = line.split(" others=").nth(1).and_then(|rest| rest.split(' ').next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
    };
    let tried =
        lines.len() as u64 + lines.iter().map(|line| u64::from(left_out(line))).sum::<u64>();
    // One per second, and one more at the beginning and at the end.
    let most = began.elapsed().as_secs() + 2;
    println!("{ended} connections ended, {tried} tries, {} lines", lines.len());
    assert!(lines.len() as u64 <= most, "{lines:#?}");
    assert!(tried <= most, "{tried} tries with {ended} connections: {lines:#?}");
}

/// Fills the file up to the last byte of its last page.
fn fill_the_rest(ballast: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::options().append(true).open(ballast).expect("the ballast");
    while file.write_all(&[1]).is_ok() {}
}

#[tokio::test]
async fn a_full_disk_at_the_start_loses_no_promise() {
    let Some(volume) = Volume::memory(16 << 20) else { return };
    let disks = Disks::of(volume, None);
    let user = disks.site().add_user("ada").await;
    let mut server = Launch::without_reserve(disks.site()).start().await;
    let mut client = Client::begin(&server, &user, 0, 200_000).await;
    server.kill().await;
    let ballast = disks.data().fill_up_to(0);
    fill_the_rest(&ballast);
    match Launch::without_reserve(disks.site()).try_start().await {
        Ok(server) => {
            println!("it starts");
            client.raw = RawClient::login(server.address(), &user.token).await;
            assert!(client.raw.status(client.id).await.durable >= client.promised);
            server.gone().await;
        }
        Err(ended) => println!("it does not start: {:?}", ended.said.last()),
    }
    std::fs::remove_file(ballast).expect("the ballast is there");
    let server = Launch::without_reserve(disks.site()).start().await;
    client.raw = RawClient::login(server.address(), &user.token).await;
    let from = client.resumes().await;
    client.goes_on(from).await.expect("there is room again");
    disks.site().assert_published(&user, &client.name, &client.test_file);
    server.gone().await;
}
