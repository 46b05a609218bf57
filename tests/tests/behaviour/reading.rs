//! Documents come back: whole and in parts, many requests at a time, beside uploads, to clients that
//! are slow, and never with bytes that are not those that were uploaded.

use socket2::SockRef;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use towline_protocol::limits::{READ_BYTES_MAX, READS_MAX};
use towline_protocol::request::{Complete, Read, Upload};
use towline_protocol::{Channel, Code, Reply, Request, frame};
use towline_tests::PATIENCE;
use towline_tests::process::Launch;
use towline_tests::raw_client::{
    Heard, RawClient, ZERO, chunk_frame, hello, nobodys_document, offset, read_of, upload,
};
use towline_tests::server::TestServer;
use towline_tests::site::Site;
use towline_tests::tamper::rot;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_types::DocumentId;

/// Uploads a file, and returns its number.
async fn put(client: &mut RawClient, name: &str, test_file: &TestFile) -> DocumentId {
    let document_id = client.upload(upload(name, test_file)).await.document_id;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    document_id
}

/// Waits for bytes of a document.
async fn first_chunk(client: &mut RawClient) {
    client.until("a chunk", |heard| matches!(heard, Heard::Chunk(..))).await;
}

fn part(document_id: DocumentId, at: usize, length: usize) -> Read {
    Read { offset: Some(offset(at)), length: Some(length as u64), ..read_of(document_id) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_comes_back_with_the_value_of_each_block() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 77] {
        let test_file = TestFile::new(size, 600);
        let document_id = put(&mut client, &format!("{size}.bin"), &test_file).await;
        for blocks in [true, false] {
            let read = Read { blocks, ..read_of(document_id) };
            let received = client.read(read).await.unwrap();
            assert!(received.bytes == test_file.bytes, "{size}");
            let begin = received.begin;
            assert_eq!((begin.filesize, begin.blake3), (test_file.filesize(), test_file.hash()));
            assert_eq!((begin.offset, begin.length), (offset(0), size as u64));
            let values = (0..test_file.block_count()).map(|index| (index, test_file.value(index)));
            let expected: Vec<_> = values.filter(|_| blocks).collect();
            assert_eq!(received.values, expected, "{size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_by_its_place_and_by_its_number() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(BLOCK + 5, 618);
    let begin = Upload { folder: vec!["a".to_owned()], ..upload("doc.bin", &test_file) };
    let document_id = client.upload(begin).await.document_id;
    client.chunks(ZERO, &test_file, 0..test_file.size()).await;
    client.complete(ZERO).await;
    let path = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Read { path: Some(names), blocks: true, ..Read::default() }
    };
    let received = client.read(path(&["a", "doc.bin"])).await.unwrap();
    assert!(received.bytes == test_file.bytes);
    assert_eq!(received.begin.document_id, document_id);
    let node = received.begin.node.expect("the file");
    assert_eq!((node.name.as_str(), node.version), ("doc.bin", Some(document_id)));
    let by_number = Read { node_id: Some(node.node_id), ..Read::default() };
    assert!(client.read(by_number).await.unwrap().bytes == test_file.bytes);
    assert_eq!(client.read(path(&["a", "none"])).await.unwrap_err().code, Code::NotFound);
    assert_eq!(client.read(path(&["a"])).await.unwrap_err().code, Code::BadState);
    assert_eq!(client.read(path(&[])).await.unwrap_err().code, Code::BadState);
    let both = Read { document_id: Some(document_id), ..path(&["a", "doc.bin"]) };
    assert_eq!(client.read(both).await.unwrap_err().code, Code::BadRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_has_the_values_of_the_blocks_that_it_has_whole() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(4 * BLOCK + 9, 601);
    let document_id = put(&mut client, "doc.bin", &test_file).await;
    for (at, length, blocks) in [
        (0, 1, 0..0),
        (5, 0, 0..0),
        (BLOCK - 1, BLOCK + 1, 1..2),
        (BLOCK, 2 * BLOCK, 1..3),
        (BLOCK, 2 * BLOCK - 1, 1..2),
        (3 * BLOCK + 1, BLOCK, 0..0),
        (4 * BLOCK, 9, 4..5),
        (3 * BLOCK, 100 * BLOCK, 3..5),
        (4 * BLOCK + 9, 1, 0..0),
    ] {
        // More than one request may have is another matter.
        let length = length.min(usize::try_from(READ_BYTES_MAX).unwrap());
        let received = client.read(part(document_id, at, length)).await.unwrap();
        let end = test_file.size().min(at + length);
        assert!(received.bytes == test_file.bytes[at..end], "{at}+{length}");
        assert_eq!((received.begin.offset, received.begin.length), (offset(at), (end - at) as u64));
        let expected: Vec<_> = blocks.map(|index| (index, test_file.value(index))).collect();
        assert_eq!(received.values, expected, "{at}+{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_no_length_gets_as_much_as_one_may_have() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let most = usize::try_from(READ_BYTES_MAX).unwrap();
    let test_file = TestFile::new(most + 3, 602);
    let document_id = put(&mut client, "large.bin", &test_file).await;
    let received = client.read(read_of(document_id)).await.unwrap();
    assert!(received.bytes == test_file.bytes[..most]);
    let rest = Read { offset: Some(offset(most)), ..read_of(document_id) };
    assert!(client.read(rest).await.unwrap().bytes == test_file.bytes[most..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_answered_says_why_and_the_connection_goes_on() {
    let server = TestServer::start().await;
    let other = server.site.add_user("bob").await;
    let mut client = server.client().await;
    let test_file = TestFile::new(1000, 603);
    let document_id = put(&mut client, "doc.bin", &test_file).await;
    let unfinished = client.upload(upload("other.bin", &test_file)).await.document_id;
    let too_long = Read { length: Some(READ_BYTES_MAX + 1), ..read_of(document_id) };
    for (read, code, field, max) in [
        (read_of(nobodys_document()), Code::NotFound, None, None),
        (read_of(unfinished), Code::BadState, None, None),
        (part(document_id, 1001, 1), Code::BadRequest, Some("offset"), Some(1000)),
        (too_long, Code::BadRequest, Some("length"), Some(READ_BYTES_MAX)),
    ] {
        let error = client.read(read).await.unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref(), error.max),
            (code, field, max),
            "{error:?}"
        );
    }
    client.send_json(r#"{"action":"read"}"#).await;
    client.error(Code::BadRequest).await;
    let mut bob = RawClient::login(server.address(), &other.token).await;
    assert_eq!(bob.read(read_of(document_id)).await.unwrap_err().code, Code::NotFound);
    assert!(client.read(read_of(document_id)).await.unwrap().bytes == test_file.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_at_once_are_answered_one_after_another() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(24 * BLOCK + 5, 604);
    let document_id = put(&mut client, "doc.bin", &test_file).await;
    let mut frames = Vec::new();
    for number in 0..25 {
        let channel = Channel(100 + number % 3);
        let at = 24 * BLOCK - number as usize * BLOCK;
        frames.extend(frame::control(&Request::Read(Read {
            channel,
            ..part(document_id, at, BLOCK)
        })));
    }
    client.send_raw(&frames).await;
    for number in 0..25 {
        let received = client.received(Channel(100 + number % 3)).await.unwrap();
        let at = 24 * BLOCK - number as usize * BLOCK;
        assert!(received.bytes == test_file.bytes[at..test_file.size().min(at + BLOCK)]);
        assert_eq!(received.values.len(), 1);
    }
}

/// A connection of which the test reads nothing until it wants to, with a small buffer in the
/// kernel.
async fn deaf(server: &TestServer) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(server.address()).await.unwrap();
    SockRef::from(&stream).set_tcp_nodelay(true).unwrap();
    stream.write_all(&frame::control(&hello(&server.user.token))).await.unwrap();
    let length = timeout(PATIENCE, stream.read_u32()).await.unwrap().unwrap();
    let mut welcome = vec![0; length as usize];
    stream.read_exact(&mut welcome).await.unwrap();
    stream
}

async fn ask(stream: &mut TcpStream, read: Read) {
    stream.write_all(&frame::control(&Request::Read(read))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_there_may_be_are_refused_and_the_others_answered() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK, 605);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let mut stream = deaf(&server).await;
    // The first one fills all buffers, since nothing is read.
    ask(&mut stream, Read { channel: Channel(1), ..read_of(document_id) }).await;
    let small = frame::control(&Request::Read(part(document_id, 7, 3)));
    stream.write_all(&small.repeat(READS_MAX)).await.unwrap();
    let mut client = RawClient::over(stream);
    let (mut ends, mut refused) = (0, 0);
    while ends + refused < READS_MAX + 1 {
        match client.heard().await {
            Heard::Reply(Reply::Read(towline_protocol::reply::Read::Ends(_))) => ends += 1,
            Heard::Reply(Reply::Error(error)) => {
                assert_eq!((error.code, error.max), (Code::TooMany, Some(READS_MAX as u64)));
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!((ends, refused), (READS_MAX, 1));
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_beside_a_read_that_its_client_does_not_take() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(40 * BLOCK, 606);
    let other = TestFile::new(20 * BLOCK, 607);
    let mut watcher = server.client().await;
    let document_id = put(&mut watcher, "doc.bin", &test_file).await;
    let mut stream = deaf(&server).await;
    // All on one channel: a read is no business of its writer.
    let mut frames = frame::control(&Request::Read(read_of(document_id)));
    frames.extend(frame::control(&Request::Upload(upload("other.bin", &other))));
    for index in 0..other.block_count() {
        frames.extend(chunk_frame(ZERO, index * BLOCK, other.block(index)));
    }
    frames.extend(frame::control(&Request::Complete(Complete::default())));
    timeout(PATIENCE, stream.write_all(&frames)).await.expect("the server reads").unwrap();
    let found = towline_tests::raw_client::find("other.bin", other.filesize());
    let began = Instant::now();
    loop {
        let found = towline_protocol::request::Find { blake3: Some(other.hash()), ..found.clone() };
        if watcher.find(found).await.document_id.is_some() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the upload waits for the read");
    }
    server.site.assert_published(&server.user, "other.bin", &other);
    let mut client = RawClient::over(stream);
    let mut bytes = Vec::new();
    let mut replies = Vec::new();
    while replies.len() < 4 {
        match client.heard().await {
            Heard::Chunk(_, _, payload) => bytes.extend(payload.0),
            Heard::Reply(reply) => replies.push(reply),
            Heard::Block(..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(bytes == test_file.bytes);
    let is_success =
        |reply: &Reply| matches!(reply, Reply::Success(done) if done.blake3 == other.hash());
    assert!(replies.iter().any(is_success), "{replies:?}");
}

/// A third of 12 buffers is for readers: 24 clients that take nothing hold no more of them.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_nothing_hold_up_neither_writers_nor_other_readers() {
    let server = TestServer::start_with(|config| config.engine.limits.buffers = 12).await;
    let test_file = TestFile::new(24 * BLOCK, 608);
    let mut client = server.client().await;
    let document_id = put(&mut client, "doc.bin", &test_file).await;
    let mut deaf_ones = Vec::new();
    for _ in 0..24 {
        let mut stream = deaf(&server).await;
        ask(&mut stream, read_of(document_id)).await;
        deaf_ones.push(stream);
    }
    let other = TestFile::new(16 * BLOCK, 609);
    let began = Instant::now();
    put(&mut client, "other.bin", &other).await;
    let wrote = began.elapsed();
    let received = client.read(read_of(document_id)).await.unwrap();
    println!("written after {wrote:?}, read after {:?}", began.elapsed());
    assert!(received.bytes == test_file.bytes);
    for stream in deaf_ones {
        let received = RawClient::over(stream).received(ZERO).await.unwrap();
        assert!(received.bytes == test_file.bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_little_is_not() {
    const SHORT: Duration = Duration::from_secs(1);
    let server = TestServer::start_with(|config| {
        config.timings.unread = SHORT;
        config.timings.silence = SHORT;
    })
    .await;
    let test_file = TestFile::new(12 * BLOCK, 610);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let mut quiet = deaf(&server).await;
    ask(&mut quiet, read_of(document_id)).await;
    let slow = async {
        let mut stream = deaf(&server).await;
        ask(&mut stream, read_of(document_id)).await;
        let began = Instant::now();
        let mut taken = 0;
        let mut room = vec![0; 256 << 10];
        let mut pauses = tokio::time::interval(SHORT / 6);
        // Longer than a client may be silent, and than it may take nothing.
        while taken < test_file.size() {
            if began.elapsed() < 4 * SHORT {
                pauses.tick().await;
            }
            match timeout(PATIENCE, stream.read(&mut room)).await.unwrap().unwrap() {
                0 => panic!("it was given up after {taken} bytes and {:?}", began.elapsed()),
                count => taken += count,
            }
        }
        assert!(began.elapsed() >= 4 * SHORT);
    };
    slow.await;
    // The quiet one was closed long ago: what the kernel still has of it ends.
    let mut taken = 0;
    let mut room = vec![0; 256 << 10];
    while let Ok(count @ 1..) = timeout(PATIENCE, quiet.read(&mut room)).await.unwrap() {
        taken += count;
    }
    assert!(taken < test_file.size(), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_closed_its_sending_half_gets_all_that_it_asked_for() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(24 * BLOCK + 1, 611);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        client.send(&Request::Read(read_of(document_id))).await;
    }
    client.finish_sending().await;
    for _ in 0..2 {
        assert!(client.received(ZERO).await.unwrap().bytes == test_file.bytes);
    }
    assert_eq!(client.closed().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_cut_off_goes_on_where_it_was() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(30 * BLOCK + 11, 612);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let mut bytes = Vec::new();
    let mut cuts = 0;
    while bytes.len() < test_file.size() {
        let mut client = server.client().await;
        let rest = Read { offset: Some(offset(bytes.len())), ..read_of(document_id) };
        client.send(&Request::Read(rest)).await;
        let mut chunks = 0;
        while chunks < 7 && bytes.len() < test_file.size() {
            if let Heard::Chunk(_, at, payload) = client.heard().await {
                assert_eq!(at, offset(bytes.len()));
                bytes.extend(payload.0);
                chunks += 1;
            }
        }
        client.reset();
        cuts += 1;
    }
    assert!(bytes == test_file.bytes && cuts > 3);
    server.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_has_changed_or_removed_is_named_and_not_served() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).start().await;
    let mut client = server.client(&user).await;
    let test_file = TestFile::new(40 * BLOCK, 613);
    let mut damaged = async |name: &str, change: &dyn Fn(&std::path::Path)| {
        let document_id = put(&mut client, name, &test_file).await;
        change(&site.document(&user, name));
        let error = client.read(read_of(document_id)).await.unwrap_err();
        assert_eq!((error.code, error.document_id), (Code::Damaged, Some(document_id)), "{name}");
        let status = client.status(document_id).await;
        assert_eq!(status.status, "completed", "nothing was decided about it");
    };
    damaged("changed", &|path| {
        let mut bytes = test_file.bytes.clone();
        bytes[20 * BLOCK] ^= 1;
        fs::write(path, bytes).unwrap();
    })
    .await;
    damaged("longer", &|path| {
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"x").unwrap();
    })
    .await;
    damaged("shorter", &|path| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(5).unwrap();
    })
    .await;
    damaged("removed", &|path| fs::remove_file(path).unwrap()).await;
    damaged("folder", &|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    })
    .await;
    for name in ["changed", "longer", "shorter", "removed", "folder"] {
        server.says_in_one_line(&["ERROR", "damaged", name]).await;
    }
    // A file with the same bytes is the same document.
    let document_id = put(&mut client, "copied", &test_file).await;
    let path = site.document(&user, "copied");
    fs::copy(&path, site.outside().join("copy")).unwrap();
    fs::copy(site.outside().join("copy"), &path).unwrap();
    assert!(client.read(read_of(document_id)).await.unwrap().bytes == test_file.bytes);
}

/// A bit that flips on the disk leaves the time of the file as it is.
#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_damaged_block_is_given_out() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    // Without `blocks` the server compares.
    let part = |id, at, length| Read { blocks: false, ..part(id, at, length) };
    for (number, at, length) in
        [(0, BLOCK + 1, 1000), (1, 2 * BLOCK - 1, 1), (2, BLOCK - 7, 9), (3, BLOCK, BLOCK)]
    {
        // Whether the server knows the values of the blocks by then, or has to find them.
        for was_read in [true, false] {
            let test_file = TestFile::new(3 * BLOCK, 640 + number);
            let name = format!("{number} {was_read}.bin");
            let document_id = put(&mut client, &name, &test_file).await;
            if was_read {
                client.read(part(document_id, 7, 1)).await.unwrap();
            }
            rot(&server.site.document(&server.user, &name), BLOCK + 500_000);
            if was_read {
                for (at, length) in [(5, 1000), (BLOCK - 1, 1), (2 * BLOCK, 9), (3 * BLOCK - 9, 9)]
                {
                    let received = client.read(part(document_id, at, length)).await.unwrap();
                    assert!(received.bytes == test_file.bytes[at..at + length], "beside it, {at}");
                }
            }
            let error = client.read(part(document_id, at, length)).await.unwrap_err();
            assert_eq!(
                (error.code, error.document_id),
                (Code::Damaged, Some(document_id)),
                "{name}"
            );
            let index = error.index.map(|index| index.get());
            assert!(index == Some(1) || !was_read && index.is_none(), "{name}: {index:?}");
        }
    }
    // A file of one block.
    let small = TestFile::new(70_000, 650);
    let document_id = put(&mut client, "small", &small).await;
    rot(&server.site.document(&server.user, "small"), 60_000);
    let error = client.read(part(document_id, 3, 4)).await.unwrap_err();
    assert_eq!((error.code, error.index.map(|index| index.get())), (Code::Damaged, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_ends_the_read() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(40 * BLOCK, 614);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let mut stream = deaf(&server).await;
    ask(&mut stream, read_of(document_id)).await;
    // The first bytes have come, and the last ones are not read yet: a few MiB wait for us.
    stream.readable().await.unwrap();
    let path = server.site.document(&server.user, "doc.bin");
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(b"other bytes").unwrap();
    let mut client = RawClient::over(stream);
    let error = client.received(ZERO).await.unwrap_err();
    assert_eq!((error.code, error.document_id), (Code::Damaged, Some(document_id)));
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_does_not_wait_for_readers() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(40 * BLOCK, 615);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let mut quiet = deaf(&server).await;
    ask(&mut quiet, read_of(document_id)).await;
    let mut client = server.client().await;
    for _ in 0..20 {
        client.send(&Request::Read(read_of(document_id))).await;
    }
    first_chunk(&mut client).await;
    let asked = Instant::now();
    server.stop().await;
    println!("stopped after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(8));
    let heard = client.ended().await;
    let is_told = |heard: &Heard| matches!(heard, Heard::Reply(Reply::Error(error)) if error.code == Code::ShuttingDown);
    assert!(heard.iter().any(is_told));
    server.start_again().await;
    let received = server.client().await.read(read_of(document_id)).await.unwrap();
    assert!(received.bytes == test_file.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_a_read() {
    let server = TestServer::start_with(|config| {
        config.timings.recheck = Duration::from_millis(500);
    })
    .await;
    let test_file = TestFile::new(8 * BLOCK, 616);
    let document_id = put(&mut server.client().await, "doc.bin", &test_file).await;
    let token = server.site.token(server.user.id, Duration::from_secs(1000));
    let mut client = RawClient::login(server.address(), &token).await;
    client.send(&Request::Read(read_of(document_id))).await;
    first_chunk(&mut client).await;
    server.clock.advance(Duration::from_secs(1001));
    // However busy it is.
    let began = Instant::now();
    let ended = loop {
        if client.try_send(&Request::Read(read_of(document_id))).await.is_err() {
            break client.ended().await;
        }
        match client.next().await {
            None => break Vec::new(),
            Some(Heard::Reply(Reply::Error(error))) if error.code == Code::AuthExpired => {
                break client.ended().await;
            }
            Some(_) => assert!(began.elapsed() < PATIENCE, "it reads for ever"),
        }
    };
    println!("ended after {:?}: {} more", began.elapsed(), ended.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_just_confirmed_can_be_read_also_where_durability_is_relaxed() {
    let server = TestServer::start_with(|config| {
        config.engine.durability = towline_engine::Durability::Relaxed;
    })
    .await;
    let mut client = server.client().await;
    for size in [1000, 3 * BLOCK] {
        let test_file = TestFile::new(size, 617);
        let name = format!("{size}.bin");
        let begin = Upload { blake3: Some(test_file.hash()), ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        client.chunks(ZERO, &test_file, 0..size).await;
        client.complete(ZERO).await;
        assert!(client.read(read_of(document_id)).await.unwrap().bytes == test_file.bytes);
    }
}
