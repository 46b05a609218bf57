//! Completed documents are read: ranges, the values of blocks, many reads of one session, and files
//! that another program has changed.

use crate::kit::{
    BLOCK, Call, Client, Extensions, Moment, Scripted, Server, bob, file, hash_of, id, index, kind,
    new_upload, offset, open_disk, part, read, size, soon, value_of,
};
use std::fs;
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;
use towline_engine::{
    Durability, EventKind, Origin, READS_MAX, ReadEvent, ReadRequest, Tag, Verifier, WHOLE_BYTES,
};

const LENGTH: usize = 5 * BLOCK + 7;

fn with_values(request: ReadRequest) -> ReadRequest {
    ReadRequest { verifier: Verifier::Reader, ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_read_and_nothing_beside_it() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 1);
    let id = server.put("a/doc", &bytes).await.receipt.document_id();
    let account = server.account();
    for range in [
        0..LENGTH,
        0..1,
        0..BLOCK,
        BLOCK - 3..BLOCK + 4,
        BLOCK..3 * BLOCK,
        3 * BLOCK + 1..LENGTH,
        LENGTH - 1..LENGTH,
        7..7,
        LENGTH..LENGTH,
    ] {
        for request in [part(id, range.clone()), with_values(part(id, range.clone()))] {
            assert!(read(&account, request).await.unwrap() == bytes[range.clone()], "{range:?}");
        }
    }
    let mut content = soon(account.read(part(id, LENGTH - 2..LENGTH + 9))).await.unwrap();
    let opened = (content.document_id(), content.hash(), content.filesize());
    assert_eq!(opened, (id, hash_of(&bytes), size(LENGTH)));
    assert_eq!(*content.range(), offset(LENGTH - 2)..offset(LENGTH), "it ends where the file does");
    let last = soon(content.next()).await.unwrap().expect("two bytes");
    assert_eq!((last.offset(), last.bytes()), (offset(LENGTH - 2), &bytes[LENGTH - 2..]));
    assert!(soon(content.next()).await.unwrap().is_none());
    assert!(soon(content.next()).await.unwrap().is_none(), "as often as it is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_wholly_in_the_part_comes_with_its_value() {
    let server = Server::new().await;
    let bytes = file(LENGTH, 2);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let request = with_values(part(id, BLOCK - 1..LENGTH));
    let mut content = soon(server.account().read(request)).await.unwrap();
    let mut values = Vec::new();
    while let Some(piece) = soon(content.next()).await.unwrap() {
        let at = usize::try_from(piece.offset().get()).unwrap();
        assert!(piece.bytes().len() <= BLOCK - at % BLOCK, "of one block");
        values.extend(piece.value());
    }
    let expected: Vec<_> = (1..6).map(|number| (index(number), value_of(&bytes, number))).collect();
    assert_eq!(values, expected, "the last block is a short one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_of_an_only_block_is_the_hash_of_the_file() {
    let server = Server::new().await;
    for length in [1, 1000, BLOCK] {
        let bytes = file(length, 3);
        let id = server.put("doc", &bytes).await.receipt.document_id();
        let request = with_values(ReadRequest::whole(id));
        let mut content = soon(server.account().read(request)).await.unwrap();
        let piece = soon(content.next()).await.unwrap().expect("a piece");
        let (block, value) = piece.value().expect("a value");
        assert_eq!((block.get(), value.as_bytes()), (0, hash_of(&bytes).as_bytes()));
    }
    let id = server.put("empty", &[]).await.receipt.document_id();
    assert!(read(&server.account(), ReadRequest::whole(id)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_says_why() {
    let server = Server::new().await;
    let account = server.account();
    let bytes = file(1000, 4);
    let done = server.put("doc", &bytes).await.receipt.document_id();
    let unfinished = server.begin("other", 1000).await;
    let kind_of = async |request| kind(read(&account, request).await);
    assert_eq!(kind_of(ReadRequest::whole(id(999))).await, "NotFound");
    assert_eq!(
        kind_of(ReadRequest::whole(unfinished.id())).await,
        "WrongPhase { phase: Uploading }"
    );
    assert_eq!(
        kind_of(part(done, 1001..1002)).await,
        r#"BadRequest { field: Some("offset"), max: Some(1000) }"#
    );
    let other = read(&server.account_of(bob()), ReadRequest::whole(done)).await;
    assert_eq!(kind(other), "NotFound", "a document of another user does not exist");
    soon(account.cancel(unfinished.id())).await.unwrap();
    assert_eq!(kind_of(ReadRequest::whole(unfinished.id())).await, "Cancelled");
}

async fn hear_until_ends(client: &mut Client, mut ends: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while ends > 0 {
        let next = client.hear().await;
        ends -= usize::from(next.contains(": end") || next.contains(": rejected"));
        heard.push(next);
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reads_of_a_session_follow_each_other_whatever_their_tags() {
    let server = Server::new().await;
    let bytes = file(2 * BLOCK + 5, 5);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let small = server.put("small", &bytes[..9]).await.receipt.document_id();
    let missing = crate::kit::id(77);
    let mut client = server.client();
    let session = client.session();
    session.read(Tag(7), ReadRequest::whole(id)).unwrap();
    session.read(Tag(3), ReadRequest::whole(missing)).unwrap();
    session.read(Tag(3), part(small, 2..6)).unwrap();
    session.read(Tag(7), part(id, 9..9)).unwrap();
    let heard = hear_until_ends(&mut client, 4).await;
    assert_eq!(
        heard,
        [
            format!("7: opened 0..2097157 of 2097157 #{id}"),
            format!("7: piece 0+1048576 #{id}"),
            format!("7: piece 1048576+1048576 #{id}"),
            format!("7: piece 2097152+5 #{id}"),
            format!("7: end #{id}"),
            format!("3: rejected NotFound #{missing}"),
            format!("3: opened 2..6 of 9 #{small}"),
            format!("3: piece 2+4 #{small}"),
            format!("3: end #{small}"),
            format!("7: opened 9..9 of 2097157 #{id}"),
            format!("7: end #{id}"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_reads_than_a_session_may_have_are_refused_until_ends_are_taken() {
    let server = Server::new().await;
    let id = server.put("doc", b"x").await.receipt.document_id();
    let mut client = server.client();
    for _ in 0..READS_MAX {
        client.session().read(Tag(0), ReadRequest::whole(id)).unwrap();
    }
    let refused = client.session().read(Tag(0), ReadRequest::whole(id));
    assert_eq!(kind(refused), format!("TooMany {{ max: {READS_MAX} }}"));
    assert_eq!(hear_until_ends(&mut client, 1).await.last().unwrap(), &format!("0: end #{id}"));
    client.session().read(Tag(0), ReadRequest::whole(id)).unwrap();
    hear_until_ends(&mut client, READS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_read_counts_until_its_answer_is_taken() {
    let server = Server::new().await;
    let missing = crate::kit::id(77);
    let mut client = server.client();
    for _ in 0..READS_MAX {
        client.session().read(Tag(0), ReadRequest::whole(missing)).unwrap();
    }
    while client.waiting() < READS_MAX {
        tokio::task::yield_now().await;
    }
    // All are refused already, and a session that ends now waits until the door has the answers.
    let refused = client.session().read(Tag(0), ReadRequest::whole(missing));
    assert_eq!(kind(refused), format!("TooMany {{ max: {READS_MAX} }}"));
    assert_eq!(client.hear().await, format!("0: rejected NotFound #{missing}"));
    client.session().read(Tag(0), ReadRequest::whole(missing)).unwrap();
    hear_until_ends(&mut client, READS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_holds_a_few_buffers_and_up_no_writer() {
    let server = Server::with(|config| config.limits.buffers = 12).await;
    let bytes = file(20 * BLOCK, 6);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let mut slow = server.client();
    slow.session().read(Tag(1), ReadRequest::whole(id)).unwrap();
    let mut held = Vec::new();
    while held.len() < 3 {
        held.push(slow.event().await);
    }
    // The event that the document is open, and two pieces, which are half of what all readers have:
    // nothing more is read before they are dropped. Both another session and this one write
    // meanwhile.
    let other = file(16 * BLOCK, 7);
    server.put("other", &other).await;
    let (_, granted) = slow.begin(1, new_upload("third", other.len())).await;
    assert_eq!(granted.offset, offset(0));
    for number in 0..16 {
        slow.data(1, &other, number * BLOCK..(number + 1) * BLOCK).await;
    }
    assert!(slow.complete(1).await.contains("completed third"));
    // Another reader has its own share.
    assert!(read(&server.account(), part(id, 0..3 * BLOCK)).await.unwrap() == bytes[..3 * BLOCK]);
    drop(held);
    let heard = hear_until_ends(&mut slow, 1).await;
    assert!(heard.len() > 16, "the rest follows: {heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_get_short_pieces_when_they_hold_most_of_their_share() {
    let server = Server::with(|config| config.limits.buffers = 12).await;
    let bytes = file(3 * BLOCK + 5, 8);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    // A third of the pool is four buffers: the first reader keeps two of them.
    let mut slow = server.client();
    slow.session().read(Tag(0), part(id, 0..3 * BLOCK)).unwrap();
    let held = [slow.event().await, slow.event().await, slow.event().await];
    assert!(matches!(held[2].kind, EventKind::Read(ReadEvent::Piece(_))));
    for request in [ReadRequest::whole(id), with_values(ReadRequest::whole(id))] {
        let verifier = request.verifier;
        let mut content = soon(server.account().read(request)).await.unwrap();
        let (mut found, mut values) = (Vec::new(), Vec::new());
        while let Some(piece) = soon(content.next()).await.unwrap() {
            assert!(piece.bytes().len() < WHOLE_BYTES / 8, "{}", piece.bytes().len());
            found.extend_from_slice(piece.bytes());
            values.extend(piece.value());
        }
        assert!(found == bytes);
        let blocks = if verifier == Verifier::Reader { 0..4 } else { 0..0 };
        let expected: Vec<_> =
            blocks.map(|number| (index(number), value_of(&bytes, number))).collect();
        assert_eq!(values, expected);
    }
    drop(held);
    let heard = hear_until_ends(&mut slow, 1).await;
    assert_eq!(heard.last().unwrap(), &format!("0: end #{id}"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_sessions_take_nothing_holds_up_no_read_of_another_user() {
    let server = Server::new().await;
    let bytes = file(9 * BLOCK + 5, 16);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let (bob, taken) = (server.account_of(bob()), file(20 * BLOCK, 17));
    let begun = soon(bob.begin(new_upload("own", taken.len()))).await.unwrap();
    let mut upload = crate::kit::uploading(begun);
    for piece in crate::kit::pieces(0..taken.len()) {
        let block = crate::kit::buffer(server.engine.buffers(), &taken[piece.clone()]).await;
        soon(upload.write(offset(piece.start), block)).await.unwrap();
    }
    let own = soon(upload.complete(None)).await.unwrap().receipt.document_id();
    // A short piece for each of them is more than all readers have.
    let mut stalled = Vec::new();
    for _ in 0..700 {
        stalled.push(soon(server.account().read(ReadRequest::whole(id))).await.unwrap());
    }
    assert!(read(&bob, ReadRequest::whole(own)).await.unwrap() == taken);
    // The room that the others give back goes to the one that is left.
    let mut last = stalled.pop().expect("700 reads");
    drop(stalled);
    let mut found = Vec::new();
    while let Some(piece) = soon(last.next()).await.unwrap() {
        found.extend_from_slice(piece.bytes());
    }
    assert!(found == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_with_its_session() {
    let server = Server::new().await;
    let bytes = file(20 * BLOCK, 9);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let content = soon(server.account().read(ReadRequest::whole(id))).await.unwrap();
    let mut client = server.client();
    client.session().read(Tag(0), ReadRequest::whole(id)).unwrap();
    client.event().await;
    drop(content);
    client.close(towline_engine::Client::Listens).await;
    // The engine waits for all that works for sessions.
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_ends_the_read_and_not_the_session() {
    let server = Server::new().await;
    let bytes = file(3 * BLOCK, 10);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let mut client = server.client();
    let failing = || Err(crate::kit::scripted::passing());
    server.storage.on(Moment::Before, Call::ReadPublished, 2, failing);
    client.session().read(Tag(4), ReadRequest::whole(id)).unwrap();
    let heard = hear_until_ends(&mut client, 1).await;
    assert_eq!(heard.last().unwrap(), &format!("4: rejected Internal #{id}"));
    client.session().read(Tag(4), ReadRequest::whole(id)).unwrap();
    let heard = hear_until_ends(&mut client, 1).await;
    assert_eq!(heard.last().unwrap(), &format!("4: end #{id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_block_that_follow_each_other_cost_one_comparison() {
    let server = Server::new().await;
    let bytes = file(3 * BLOCK, 12);
    let id = server.put("doc", &bytes).await.receipt.document_id();
    let mut client = server.client();
    let mut reads_of = async |request: ReadRequest| {
        let before = server.storage.count(Call::ReadPublished);
        client.session().read(Tag(0), request).unwrap();
        let heard = hear_until_ends(&mut client, 1).await;
        assert_eq!(heard.last().unwrap(), &format!("0: end #{id}"));
        server.storage.count(Call::ReadPublished) - before
    };
    let part_of = |block: usize, at: usize| part(id, block * BLOCK + at..block * BLOCK + at + 9);
    assert!(reads_of(part_of(1, 5)).await > 1, "the whole block is read");
    for at in [14, 0, BLOCK - 9] {
        assert_eq!(reads_of(part_of(1, at)).await, 1);
    }
    assert_eq!(reads_of(part(id, BLOCK..2 * BLOCK)).await, 1);
    assert!(reads_of(part_of(2, 0)).await > 1, "it is another block");
    // A reader that compares by itself pays for no comparison.
    for block in [0, 1] {
        assert_eq!(reads_of(with_values(part_of(block, 5))).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_durable_yet_is_read_all_the_same() {
    let deferred = Extensions { copies: true, deferred: true, renames: true, ..Extensions::NONE };
    let storage = Scripted::new(crate::kit::CAPACITY_BYTES, deferred);
    let server = Server::over(storage, |config| config.durability = Durability::Relaxed).await;
    let bytes = file(1000, 11);
    let receipt = server.put_whole(new_upload("doc", 1000), &bytes).await.unwrap().receipt;
    assert!(!receipt.is_durable());
    assert_eq!(server.read(receipt.document_id()).await, bytes);
}

struct Disk {
    engine: towline_engine::Engine,
    folder: tempfile::TempDir,
}

impl Disk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = open_disk(folder.path(), |_| {});
        engine.add_user("ada").await.unwrap();
        Self { engine, folder }
    }

    fn account(&self) -> towline_engine::Account {
        self.engine.account(crate::kit::ada(), Origin::new("a test"))
    }

    async fn put(&self, bytes: &[u8]) -> towline_types::DocumentId {
        let new = new_upload("doc", bytes.len());
        let mut upload = crate::kit::uploading(soon(self.account().begin(new)).await.unwrap());
        for piece in crate::kit::pieces(0..bytes.len()) {
            let block = crate::kit::buffer(self.engine.buffers(), &bytes[piece.clone()]).await;
            soon(upload.write(offset(piece.start), block)).await.unwrap();
        }
        soon(upload.complete(None)).await.unwrap().receipt.document_id()
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("uploads/1/doc")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_to_while_it_is_read_is_not_given_out_as_good() {
    let disk = Disk::new().await;
    let bytes = file(20 * BLOCK, 12);
    for (change, request) in [
        ("append", with_values as fn(ReadRequest) -> ReadRequest),
        ("cut", std::convert::identity as fn(ReadRequest) -> ReadRequest),
    ] {
        let id = disk.put(&bytes).await;
        let place = soon(disk.account().status(id)).await.unwrap().path.to_string();
        let file = disk.file().with_file_name(place);
        let request = request(ReadRequest::whole(id));
        let mut content = soon(disk.account().read(request)).await.unwrap();
        let first = soon(content.next()).await.unwrap().expect("a piece");
        assert!(first.bytes() == &bytes[..BLOCK]);
        let mut writer = fs::OpenOptions::new().append(true).open(&file).unwrap();
        if change == "append" {
            writer.write_all(b"more").unwrap();
        } else {
            writer.set_len(3 * BLOCK as u64).unwrap();
        }
        drop(first);
        let end = loop {
            match soon(content.next()).await {
                Ok(Some(piece)) => {
                    let at = usize::try_from(piece.offset().get()).unwrap();
                    assert!(piece.bytes() == &bytes[at..at + piece.bytes().len()]);
                }
                end => break end,
            }
        };
        assert_eq!(kind(end), DAMAGED, "{change}");
        assert!(soon(content.next()).await.unwrap().is_none());
        assert_eq!(kind(read(&disk.account(), ReadRequest::whole(id)).await), DAMAGED);
    }
}

/// The file is not the one that was uploaded, and it is not known which block has other bytes.
const DAMAGED: &str = "Damaged { index: None }";

/// Changes a byte of a file, and leaves all else as it was.
fn rot(path: &std::path::Path, bytes: &[u8], at: usize) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut rotten = bytes.to_vec();
    rotten[at] ^= 1;
    fs::write(path, &rotten).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_that_the_catalog_keeps_tell_which_block_has_rotted() {
    let disk = Disk::new().await;
    let bytes = file(4 * BLOCK + 5, 14);
    let id = disk.put(&bytes).await;
    // They are kept from the upload on, or from the first time that all of the file was read.
    assert!(read(&disk.account(), ReadRequest::whole(id)).await.unwrap() == bytes);
    let Disk { engine, folder } = disk;
    soon(engine.shut_down(Instant::now() + Duration::from_secs(5))).await.unwrap();
    let engine = open_disk(folder.path(), |_| {});
    let disk = Disk { engine, folder };
    rot(&disk.file(), &bytes, BLOCK + 77);
    let block = part(id, BLOCK..2 * BLOCK);
    let mut content = soon(disk.account().read(with_values(block.clone()))).await.unwrap();
    let piece = soon(content.next()).await.unwrap().expect("a block");
    assert_eq!(piece.value(), Some((index(1), value_of(&bytes, 1))), "the value of the upload");
    assert!(piece.bytes() != &bytes[BLOCK..2 * BLOCK]);
    let good = part(id, 2 * BLOCK..3 * BLOCK);
    assert!(read(&disk.account(), good).await.unwrap() == bytes[2 * BLOCK..3 * BLOCK]);
    // Asked for without its value, the engine compares it.
    let answer = read(&disk.account(), block).await;
    assert_eq!(kind(answer), "Damaged { index: Some(BlockIndex(1)) }");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_rot_under_the_same_stamp_are_found_before_the_last_of_them() {
    let disk = Disk::new().await;
    let bytes = file(4 * BLOCK + 5, 13);
    let id = disk.put(&bytes).await;
    rot(&disk.file(), &bytes, BLOCK + 77);
    // In two reads of one session, as a client asks for a large file.
    let (mut session, mut events) = disk.account().session(1);
    session.read(Tag(0), part(id, 0..3 * BLOCK)).unwrap();
    session.read(Tag(0), part(id, 3 * BLOCK..bytes.len())).unwrap();
    let mut heard = Vec::new();
    while let Some(event) = soon(events.recv()).await {
        heard.push(crate::kit::text(&event));
        if heard.last().unwrap().contains("rejected") {
            break;
        }
    }
    assert!(heard.last().unwrap().starts_with("0: rejected Damaged"), "{heard:?}");
    assert!(!heard.iter().any(|event| event.contains("+5 ")), "{heard:?}");
    let answer = read(&disk.account(), ReadRequest::whole(id)).await;
    assert!(kind(answer).starts_with("Damaged"));
}

/// Writes these bytes into the file, which gets another time of modification.
fn write_anew(path: &std::path::Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    let later = modified + Duration::from_secs(7);
    fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_with_another_stamp_each_block_is_compared_before_it_is_given_out() {
    let disk = Disk::new().await;
    let bytes = file(4 * BLOCK + 5, 15);
    let id = disk.put(&bytes).await;
    // From here on the values are kept.
    assert!(read(&disk.account(), ReadRequest::whole(id)).await.unwrap() == bytes);
    let mut rotten = bytes.clone();
    rotten[3 * BLOCK + 9] ^= 1;
    write_anew(&disk.file(), &rotten);
    let other = "Damaged { index: Some(BlockIndex(3)) }";
    for request in [with_values, std::convert::identity as fn(ReadRequest) -> ReadRequest] {
        for good in [0..BLOCK, BLOCK + 3..BLOCK + 10, 2 * BLOCK..3 * BLOCK, 4 * BLOCK..bytes.len()]
        {
            let answer = read(&disk.account(), request(part(id, good.clone()))).await;
            assert!(answer.unwrap() == bytes[good]);
        }
        // Also a part of the block that has none of the other bytes.
        for bad in [3 * BLOCK..4 * BLOCK, 3 * BLOCK + 100..3 * BLOCK + 107, 0..bytes.len()] {
            assert_eq!(kind(read(&disk.account(), request(part(id, bad))).await), other);
        }
    }
    // The same bytes again: all is given out, and the catalog knows the file by its new stamp.
    write_anew(&disk.file(), &bytes);
    assert!(read(&disk.account(), ReadRequest::whole(id)).await.unwrap() == bytes);
    rot(&disk.file(), &bytes, BLOCK + 77);
    let mut content =
        soon(disk.account().read(with_values(part(id, BLOCK..2 * BLOCK)))).await.unwrap();
    let piece = soon(content.next()).await.unwrap().expect("a block");
    assert!(piece.bytes() != &bytes[BLOCK..2 * BLOCK], "nothing is hashed for such a reader");
    assert_eq!(piece.value(), Some((index(1), value_of(&bytes, 1))), "who compares it");
}
