//! `kill -9` at any moment, and what the next start does with the files and rows.

use std::time::{Duration, Instant};
use towline_protocol::request::{Complete, Resume, Upload};
use towline_protocol::{Code, Reply, Request};
use towline_tests::process::ServerProcess;
use towline_tests::proxy::FaultProxy;
use towline_tests::raw_client::{Heard, RawClient, ZERO, offset, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::site::{Site, TestUser};
use towline_tests::tamper::edit_rows;
use towline_tests::test_file::{BLOCK, TestFile, chance};
use towline_types::DocumentId;

/// Waits for a time that is shorter than tokio's timers can measure.
fn pass(moment: Duration) {
    let began = Instant::now();
    while began.elapsed() < moment {
        std::hint::spin_loop();
    }
}

/// Sends the rest of the file and `complete`, until the connection ends.
async fn sends_the_rest(
    mut client: RawClient,
    test_file: TestFile,
    from: usize,
    blocks: bool,
) -> RawClient {
    for index in from / BLOCK..test_file.block_count() {
        let rest = from.max(index * BLOCK)..test_file.block_end(index);
        if client.try_chunks(ZERO, &test_file, rest).await.is_err() {
            return client;
        }
        if blocks {
            let index = towline_types::BlockIndex::new(index as u64).unwrap();
            let value = test_file.value(usize::try_from(index.get()).unwrap());
            let frame = towline_protocol::frame::block(ZERO, index, value);
            let _ = client.try_send_raw(&frame).await;
        }
    }
    let complete = towline_protocol::frame::control(&Request::Complete(Complete::default()));
    let _ = client.try_send_raw(&complete).await;
    client
}

/// Completes an upload, from the server's offset on. That offset may not be below the highest
/// durable offset that was reported before.
async fn finish(
    server: &ServerProcess,
    user: &TestUser,
    document_id: DocumentId,
    test_file: &TestFile,
    blocks: bool,
    promised: u64,
) -> (String, Option<usize>) {
    let mut client = RawClient::login(server.address(), &user.token).await;
    client.send(&Request::Resume(Resume { blocks, ..resume(document_id) })).await;
    let granted = match client.reply_on(ZERO).await {
        Reply::Success(success) => {
            assert_eq!(success.blake3, test_file.hash());
            return (success.filename, None);
        }
        Reply::Resume(granted) => granted,
        other => panic!("{other:?}"),
    };
    assert!(granted.offset.get() >= promised, "{} after a promise of {promised}", granted.offset);
    let from = position(granted.offset);
    assert!(from <= test_file.size());
    if blocks {
        let held = client.blocks(document_id).await;
        for (index, value) in &held {
            assert_eq!(*value, test_file.value(*index));
        }
        for index in 0..from / BLOCK {
            if !held.iter().any(|(other, _)| *other == index) {
                client.announce(ZERO, index, test_file.value(index)).await;
            }
        }
        client.blocks_from(ZERO, test_file, from).await;
    } else {
        client.chunks(ZERO, test_file, from..test_file.size()).await;
    }
    let success = client.complete(ZERO).await;
    assert_eq!(success.blake3, test_file.hash());
    (success.filename, Some(from))
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_in_the_middle_of_an_upload() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut chance = chance();
    for round in 0..20 {
        let blocks = round % 2 == 0;
        let test_file = TestFile::new(chance.usize(1..3 * BLOCK), 210 + round);
        let name = format!("{round}.bin");
        let number = proxy.connections();
        let mut client = RawClient::login(proxy.address(), &user.token).await;
        let begin = Upload { blocks, ..upload(&name, &test_file) };
        let document_id = client.upload(begin).await.document_id;
        // In three rounds of four, the server promises some bytes first.
        let from = if round % 4 == 0 { 0 } else { chance.usize(1..=test_file.size()) };
        for index in 0..from.div_ceil(BLOCK) {
            let end = from.min(test_file.block_end(index));
            client.chunks(ZERO, &test_file, index * BLOCK..end).await;
            if blocks && end == test_file.block_end(index) {
                client.announce(ZERO, index, test_file.value(index)).await;
            }
        }
        let mut promised = 0;
        if from > 0 {
            promised =
                client.progress_that("durable", |p| p.durable > offset(0)).await.durable.get();
        }
        let link = proxy.link(number).await;
        let begun = client.sent_bytes();
        let left = (test_file.size() - from) as u64;
        let sending = tokio::spawn(sends_the_rest(client, test_file.clone(), from, blocks));
        // Some bytes later, and in half of the rounds a moment after that.
        link.has_passed(begun + chance.u64(0..=left)).await;
        if chance.bool() {
            pass(Duration::from_micros(chance.u64(0..3000)));
        }
        server.kill().await;
        let mut client = sending.await.unwrap();
        let heard = client.ended().await;
        for heard in heard {
            promised = promised.max(match heard {
                Heard::Reply(Reply::Progress(progress)) => progress.durable.get(),
                Heard::Reply(Reply::Success(success)) => success.filesize.get(),
                _ => 0,
            });
        }
        server.start_again().await;
        let (published, from) =
            finish(&server, &user, document_id, &test_file, blocks, promised).await;
        site.assert_published(&user, &published, &test_file);
        println!(
            "round {round}: {} bytes, {promised} promised, resumed at {from:?}",
            test_file.size()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_around_the_publishing() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let mut chance = chance();
    let (mut done, mut open) = (0, 0);
    for round in 0..20 {
        let test_file = TestFile::new(chance.usize(1..300_000), 230 + round);
        let name = format!("{round}.bin");
        let mut client = RawClient::login(server.address(), &user.token).await;
        let document_id = client.upload(upload(&name, &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        client.ping().await;
        client.send(&Request::Complete(Complete::default())).await;
        pass(Duration::from_micros(chance.u64(0..4000)));
        server.kill().await;
        // The document is absent, or complete and verified, also before the next start.
        if site.document(&user, &name).exists() {
            site.assert_published(&user, &name, &test_file);
        }
        server.start_again().await;
        let (published, from) = finish(&server, &user, document_id, &test_file, false, 0).await;
        assert_eq!(published, name, "published once");
        site.assert_published(&user, &name, &test_file);
        match from {
            None => done += 1,
            Some(_) => open += 1,
        }
    }
    println!("{done} were completed by the start, {open} were resumed");
    let files = std::fs::read_dir(site.documents(&user)).unwrap().count();
    assert_eq!(files, 20, "no file twice");
    assert_eq!(site.staged_names(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_again_and_again_while_starting_loses_nothing() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let test_file = TestFile::new(2 * BLOCK, 250);
    let mut client = RawClient::login(server.address(), &user.token).await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK + 5).await;
    let promised = client.progress_that("durable", |p| p.durable > offset(0)).await.durable;
    server.kill().await;
    let mut chance = chance();
    for _ in 0..10 {
        let mut start = towline_tests::process::towlined();
        start.arg("--data-dir").arg(site.path()).args(["--listen", "127.0.0.1:0"]);
        start.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut starting = start.spawn().unwrap();
        tokio::time::sleep(Duration::from_micros(chance.u64(0..30_000))).await;
        starting.kill().await.unwrap();
    }
    server.start_again().await;
    finish(&server, &user, document_id, &test_file, false, promised.get()).await;
    site.assert_published(&user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_files_without_a_row_are_set_aside() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let orphans = [("4711.tmp", "the last copy of something"), ("notes.txt", "of a person")];
    for (name, text) in orphans {
        std::fs::write(server.site.staging_folder().join(name), text).unwrap();
    }
    for _ in 0..2 {
        server.start_again().await;
        let test_file = TestFile::new(1000, 251);
        let mut client = server.client().await;
        client.upload(upload("doc.pdf", &test_file)).await;
        client.chunks(ZERO, &test_file, 0..1000).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.stop().await;
        for (name, text) in orphans {
            let kept = server
                .site
                .on_disk()
                .into_keys()
                .any(|path| path.is_file() && std::fs::read(&path).unwrap() == text.as_bytes());
            assert!(kept, "{name} is deleted");
        }
    }
    assert!(
        !server.site.staging(DocumentId::try_from(4711).unwrap()).exists(),
        "document 4711 will need the name"
    );
}

/// A kill between the file and its row: no client was told the number of the upload.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_whole_and_has_no_row_is_removed() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let stray = server.site.staging_folder().join("4711.new");
    let strangers = ["04711.new", "x.new"].map(|name| server.site.staging_folder().join(name));
    for path in strangers.iter().chain([&stray]) {
        std::fs::write(path, "bytes").unwrap();
    }
    server.start_again().await;
    assert!(!stray.exists());
    let orphans = server.site.staging_folder().join("orphans");
    let mut aside: Vec<_> =
        std::fs::read_dir(orphans).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    aside.sort();
    assert_eq!(aside, ["04711.new", "x.new"], "those were not made here");
}

/// An upload may have two staging files, for whatever reason. The promised bytes are in the file
/// with the usual name.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_staging_files_that_one_counts_of_which_something_was_promised() {
    for length in [0, 1000, 2000] {
        let mut server = TestServer::start().await;
        let test_file = TestFile::new(2000, 253);
        let mut client = server.client().await;
        let id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
        client.chunks(ZERO, &test_file, 0..1000).await;
        client.pause().await;
        server.stop().await;
        let other = server.site.staging_folder().join(format!("{id}.new"));
        std::fs::write(&other, vec![0; length]).unwrap();
        server.start_again().await;
        assert!(!other.exists(), "it must not be taken for the other later");
        let mut client = server.client().await;
        assert_eq!(client.resume(resume(id)).await.offset, offset(1000));
        client.chunks(ZERO, &test_file, 1000..2000).await;
        assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, "doc.pdf", &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_the_durable_offset_are_not_believed() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(2 * BLOCK, 252);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..BLOCK + 1000).await;
    client.pause().await;
    server.stop().await;
    // The state after a power cut: the file is longer than what was synced, and the end is rubbish.
    let mut staged = std::fs::read(server.site.staging(document_id)).unwrap();
    staged.truncate(BLOCK + 1000);
    staged.extend([0; 5000]);
    std::fs::write(server.site.staging(document_id), &staged).unwrap();
    server.start_again().await;
    let mut client = server.client().await;
    let from = client.resume(resume(document_id)).await.offset;
    assert_eq!(from, offset(BLOCK + 1000));
    client.chunks(ZERO, &test_file, BLOCK + 1000..2 * BLOCK).await;
    assert_eq!(client.complete(ZERO).await.blake3, test_file.hash());
    server.site.assert_published(&server.user, "doc.pdf", &test_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_gone_by_hand_stays_completed_and_harms_nobody() {
    let mut server = TestServer::start().await;
    let test_file = TestFile::new(1000, 253);
    let mut client = server.client().await;
    let document_id = client.upload(upload("doc.pdf", &test_file)).await.document_id;
    client.chunks(ZERO, &test_file, 0..1000).await;
    client.complete(ZERO).await;
    std::fs::remove_file(server.site.document(&server.user, "doc.pdf")).unwrap();
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(client.status(document_id).await.status, "completed");
    client
        .resume_refused(resume(towline_tests::raw_client::nobodys_document()), Code::NotFound)
        .await;
    client.upload(upload("doc.pdf", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    let success = client.complete(ZERO).await;
    server.site.assert_published(&server.user, &success.filename, &test_file);
}

/// A start reads the rows in pages, and misses none between two pages.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_unfinished_uploads_are_all_there_after_a_start() {
    const MANY: usize = 10_001;
    let mut server = TestServer::start().await;
    let mut client = server.client().await;
    let test_file = TestFile::new(100_000, 155);
    let first = client.upload(upload("doc", &test_file)).await.document_id;
    drop(client);
    server.stop().await;
    let sql = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT {MANY}) \
         INSERT INTO documents (user_id, folder, filename, filesize, status, on_conflict, \
         chunk_size, durable_offset, started_at, last_chunk_at) \
         SELECT user_id, folder, 'doc ' || n, filesize, status, on_conflict, chunk_size, 0, \
         started_at, last_chunk_at FROM numbers, documents WHERE document_id = {first}"
    );
    edit_rows(&server.site, &sql, MANY);
    server.start_again().await;
    // One file for each upload, though none of them had one before the start.
    assert_eq!(server.site.staged_names().len(), MANY + 1);
    let mut client = server.client().await;
    for n in [1, 256, 257, MANY as u64] {
        let id = DocumentId::try_from(first.get() + n).unwrap();
        assert_eq!(client.resume(resume(id)).await.offset, offset(0));
        client.chunks(ZERO, &test_file, 0..test_file.size()).await;
        assert_eq!(client.complete(ZERO).await.filename, format!("doc {n}"));
    }
}
