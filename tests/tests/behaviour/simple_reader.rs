//! `protocol/examples/reader.py`, the simplest reader, against the real server, and against servers
//! that this file plays: one that is right, and some that are hostile.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use towline_protocol::error::ErrorReply;
use towline_protocol::reply::{Listing, Read as ReadReply, ReadBegin, Reply, Welcome};
use towline_protocol::request::{Listed, Read, Request, Target, Upload};
use towline_protocol::{Channel, Code, Node, frame};
use towline_tests::process::output;
use towline_tests::raw_client::{ZERO, names, offset, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::{ChangeId, DocumentId, FileSize, NodeId, NodeKind, Offset, UserId};

/// How the server that is played misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It does not.
    Right,
    /// Its listing has a next page for ever.
    Endless,
    /// It sends another part of the file than it was asked for.
    Elsewhere,
    /// It sends more than it announced.
    TooMuch,
    /// It says that it sends nothing, again and again.
    Nothing,
    /// It notices damage after the first block.
    Damaged,
}

/// The most bytes that the server sends in one answer: several requests for one file.
const ANSWER_BYTES: usize = BLOCK + 1000;

fn node(number: u64, kind: NodeKind, name: &str, size: Option<FileSize>) -> Node {
    Node {
        node_id: NodeId::try_from(number).unwrap(),
        parent_id: None,
        kind,
        name: name.to_owned(),
        folder: Vec::new(),
        version: size.map(|_| DocumentId::MIN),
        size,
        blake3: None,
        held: None,
        mtime_ms: None,
        mode: None,
        target: None,
        place_rev: ChangeId::MIN,
        content_rev: ChangeId::MIN,
        deleted_at: None,
    }
}

fn welcome() -> Reply {
    Reply::Welcome(Welcome {
        version: 1,
        server: "played".to_owned(),
        server_id: None,
        user_id: UserId::MIN,
        user: "ada".to_owned(),
        max_filesize: FileSize::MAX,
        chunk_size: 65_536,
        max_chunk_size: 1 << 20,
        block_size: 1 << 20,
        max_channels: 8,
        features: ["tree", "read"].map(str::to_owned).to_vec(),
        token: None,
    })
}

/// The pages of a folder with a name that has a control character, and the file of this test.
fn list(list: &towline_protocol::request::List, file: &TestFile, manner: Manner) -> Vec<u8> {
    let Ok(Listed::Node(Target::Path(path))) = list.listed() else { panic!("{list:?}") };
    let report = node(7, NodeKind::File, "report.csv", Some(file.filesize()));
    if !path.is_root() {
        return Listing::frames(Channel(0), Some(Box::new(report)), Vec::new(), None);
    }
    let first = node(3, NodeKind::Folder, "a\u{1b}[31m", None);
    let next = Some("one".to_owned());
    match &list.after {
        None => Listing::frames(Channel(0), None, vec![first], next),
        Some(_) if manner == Manner::Endless => {
            Listing::frames(Channel(0), None, vec![first], next)
        }
        Some(after) => {
            assert_eq!(after, "one");
            Listing::frames(Channel(0), None, vec![report], None)
        }
    }
}

fn read(read: &Read, file: &TestFile, manner: Manner) -> Vec<u8> {
    let from = usize::try_from(read.offset.map_or(0, Offset::get)).unwrap();
    let rest = file.bytes.len() - from;
    let length = if manner == Manner::Nothing { 0 } else { rest.min(ANSWER_BYTES) };
    let (channel, document_id) = (Channel(0), DocumentId::MIN);
    // The first request names the file, and the others its version.
    assert_eq!(read.document_id, (from > 0).then_some(document_id));
    let mut frames = frame::control(&Reply::Read(ReadReply::Begins(ReadBegin {
        channel,
        document_id,
        node: None,
        filesize: file.filesize(),
        blake3: file.hash(),
        offset: offset(from),
        length: length as u64,
    })));
    let end = from + if manner == Manner::TooMuch { length + 1 } else { length };
    let mut at = from;
    while at < end {
        // No chunk crosses the end of a block.
        let until = (at / BLOCK * BLOCK + BLOCK).min(end);
        let place = if manner == Manner::Elsewhere { at + 1 } else { at };
        let size = u32::try_from(until - at).unwrap();
        frames.extend(frame::chunk_head(channel, offset(place), size));
        frames.extend(file.bytes[at..until.min(file.bytes.len())].iter());
        frames.resize(frames.len() + until.saturating_sub(file.bytes.len()), 0);
        at = until;
        if manner == Manner::Damaged {
            let error = ErrorReply::new(Code::Damaged, "the file is damaged\u{1b}[31m");
            frames.extend(frame::control(&Reply::Error(error.on(channel, Some(document_id)))));
            return frames;
        }
    }
    frames.extend(frame::control(&Reply::Read(ReadReply::end(channel, document_id))));
    frames
}

/// Answers one client until it is gone.
async fn serve(mut stream: TcpStream, file: &TestFile, manner: Manner) {
    loop {
        let Ok(length) = stream.read_u32().await else { return };
        let mut body = vec![0; length as usize];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let frames = match Request::parse(&body[1..]).unwrap() {
            Request::Hello(_) => frame::control(&welcome()),
            Request::List(request) => list(&request, file, manner),
            Request::Read(request) => read(&request, file, manner),
            other => panic!("{other:?}"),
        };
        // The client may have heard enough.
        if stream.write_all(&frames).await.is_err() {
            return;
        }
    }
}

/// A server of that manner, and a folder for the files of the script.
struct Played {
    folder: tempfile::TempDir,
    address: std::net::SocketAddr,
    file: TestFile,
}

impl Played {
    async fn start(manner: Manner, size: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let file = TestFile::new(size, 210);
        let served = TestFile::new(size, 210);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &served, manner).await;
            }
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "token\n").unwrap();
        Self { folder, address, file }
    }

    /// Runs the script; none where Python is not here.
    async fn run(&self, arguments: &[&str]) -> Option<Output> {
        run(self.folder.path(), self.address, arguments).await
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("report.csv")
    }
}

/// Runs the script in that folder, which has the file `token`; none where Python is not here.
async fn run(folder: &Path, address: SocketAddr, arguments: &[&str]) -> Option<Output> {
    let found = Command::new("python3").arg("--version").output().await;
    if !found.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: python3 is not here, so reader.py was NOT tested");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/examples/reader.py");
    let mut command = Command::new("python3");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.arg(script).args([&host, &port, "token"]).args(arguments);
    command.current_dir(folder).kill_on_drop(true);
    Some(output(&mut command).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_reader_fetches_from_the_real_server_what_was_put_there() {
    let mut server = TestServer::start().await;
    let folder = server.site.outside().join("reader");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("token"), format!("{}\n", server.user.token)).unwrap();
    let mut client = server.client().await;
    client.mkdir("proj/empty").await;
    client.link("proj/latest", "3145735.bin").await;
    let sizes = [0, 1, BLOCK, 3 * BLOCK + 7];
    for size in sizes {
        let test_file = TestFile::new(size, 211);
        let name = format!("{size}.bin");
        let begin = Upload { folder: names("proj/sub"), ..upload(&name, &test_file) };
        client.upload(begin).await;
        client.chunks(ZERO, &test_file, 0..size).await;
        client.complete(ZERO).await;
    }
    let Some(listed) = run(&folder, server.address(), &["proj"]).await else { return };
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let said = String::from_utf8_lossy(&listed.stdout);
    assert_eq!(said, "folder - 'empty'\nlink - 'latest'\nfolder - 'sub'\n");
    let listed = run(&folder, server.address(), &["proj/sub"]).await.unwrap();
    let said = String::from_utf8_lossy(&listed.stdout);
    for size in sizes {
        assert!(said.contains(&format!("file {size} '{size}.bin'\n")), "{said}");
        let path = format!("proj/sub/{size}.bin");
        let fetched = run(&folder, server.address(), &[&path]).await.unwrap();
        assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
        let bytes = std::fs::read(folder.join(format!("{size}.bin"))).unwrap();
        assert!(bytes == TestFile::new(size, 211).bytes, "{size}");
    }
    let none = run(&folder, server.address(), &["proj/none"]).await.unwrap();
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_reader_lists_a_folder_and_fetches_a_file() {
    for size in [0, 1, BLOCK, 3 * BLOCK + 7] {
        let played = Played::start(Manner::Right, size).await;
        let Some(listed) = played.run(&[]).await else { return };
        let expected = format!("folder - 'a\\x1b[31m'\nfile {size} 'report.csv'\n");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), expected, "{listed:?}");
        assert_eq!(listed.status.code(), Some(0));

        let fetched = played.run(&["/report.csv"]).await.unwrap();
        assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
        assert_eq!(std::fs::read(played.target()).unwrap(), played.file.bytes);
        assert!(!played.folder.path().join("report.csv.part").exists());

        std::fs::write(played.target(), "mine").unwrap();
        let again = played.run(&["report.csv"]).await.unwrap();
        assert_eq!(again.status.code(), Some(1), "{again:?}");
        assert_eq!(std::fs::read(played.target()).unwrap(), b"mine", "nothing is replaced");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_server_gets_no_file_and_no_endless_reader() {
    for (manner, arguments, code, says) in [
        (Manner::Endless, &[][..], 3, "never ends"),
        (Manner::Elsewhere, &["report.csv"], 3, "not the next bytes"),
        (Manner::TooMuch, &["report.csv"], 3, "not the next bytes"),
        (Manner::Nothing, &["report.csv"], 3, "another length"),
        (Manner::Damaged, &["report.csv"], 1, "the file is damaged\\x1b[31m"),
    ] {
        let played = Played::start(manner, 2 * BLOCK).await;
        let Some(ended) = played.run(arguments).await else { return };
        assert_eq!(ended.status.code(), Some(code), "{manner:?}: {ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains(says) && !said.contains("Traceback"), "{manner:?}: {said}");
        assert!(!played.target().exists(), "{manner:?}");
    }
}
