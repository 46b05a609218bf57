//! Many sessions and writers at the same time.

use crate::kit::{BLOCK, Client, Server, file, id, new_upload, offset, resume_command, soon};
use std::time::Duration;
use tokio::time::Instant;
use towline_engine::{Command, CompleteRequest, Event, EventKind, Phase, Query, SendingMode, Tag};

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_writer_come_in_the_order_of_its_requests() {
    let server = Server::new().await;
    let mut client = server.client();
    let (number, _) = client.begin(0, new_upload("doc", 30)).await;
    for at in 0..30 {
        client.data_at(0, at, &[7]).await;
        client.tell(0, Command::Query(Query::Status(number))).await;
    }
    for at in 1..=30 {
        let heard = client.hear().await;
        assert!(heard.starts_with(&format!("0: uploading {at}/")), "{heard}");
    }
    assert!(client.complete(0).await.starts_with("0: completed doc (30)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_session_do_not_wait_for_each_other() {
    let server = Server::new().await;
    let mut client = server.client();
    let bytes = file(BLOCK, 1);
    client.begin(1, new_upload("1", BLOCK)).await;
    client.begin(2, new_upload("2", BLOCK)).await;
    let gate = server.storage.hold(crate::kit::Moment::Before, crate::kit::Call::Write, 1);
    client.data(1, &bytes, 0..BLOCK).await;
    gate.reached().await;
    client.data(2, &bytes, 0..BLOCK).await;
    assert!(client.complete(2).await.starts_with("2: completed 2 "));
    gate.open();
    assert!(client.complete(1).await.starts_with("1: completed 1 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_begins_again_pauses_what_it_had() {
    let server = Server::new().await;
    let mut client = server.client();
    let (first, _) = client.begin(0, new_upload("1", 100)).await;
    client.data(0, &file(100, 1), 0..40).await;
    client.tell(0, Command::Begin(Box::new(new_upload("2", 100)))).await;
    let (mut paused, second) = (
        None,
        loop {
            let Event { document, kind, .. } = client.event().await;
            match kind {
                EventKind::Granted(_) => break document.unwrap(),
                EventKind::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        },
    );
    assert_ne!(first, second);
    while paused.is_none() {
        let status = server.status(first).await;
        assert!(!status.is_active);
        if status.position.durable.get() == offset(40) {
            paused = Some(status);
        }
        tokio::task::yield_now().await;
    }
    assert!(
        client.ask(0, resume_command(first)).await.starts_with("0: granted Resume at 40 of 100")
    );
    assert!(!server.status(second).await.is_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_door_takes_its_turn() {
    let server = Server::new().await;
    let mut client = server.client();
    let (number, _) = client.begin(0, new_upload("doc", 10)).await;
    client.data(0, b"0123456789", 0..5).await;
    let reject = |request| {
        let kind = towline_engine::RejectionKind::BadName;
        Command::Reject { rejection: towline_engine::Rejection::new(kind, "no"), request }
    };
    use towline_engine::RejectedRequest::{Change, Query as Question, Upload};
    client.tell(0, Command::Query(Query::Status(number))).await;
    client.tell(0, reject(Question)).await;
    assert!(client.hear().await.starts_with("0: uploading 5/"));
    assert!(client.hear().await.starts_with("0: rejected BadName"));
    // A question and a change that are refused leave the upload open.
    assert!(client.ask(0, reject(Change)).await.starts_with("0: rejected BadName"));
    client.data(0, b"0123456789", 5..6).await;
    let status = client.ask(0, Command::Query(Query::Status(number))).await;
    assert!(status.starts_with("0: uploading 6/"), "{status}");
    // A refused upload is another one: what was open is paused, and what follows is dropped.
    assert!(client.ask(0, reject(Upload(None))).await.starts_with("0: rejected BadName"));
    client.data(0, b"0123456789", 6..10).await;
    client.tell(0, Command::Complete(CompleteRequest::default())).await;
    assert_eq!(client.settle(0).await, [""; 0]);
    let status = server.status(number).await;
    assert_eq!((status.phase, status.is_active), (Phase::Uploading, false));
    assert_eq!(status.position.received, offset(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_of_many_writers_are_all_there() {
    let server = Server::new().await;
    let mut clients: Vec<_> = (0..4).map(|_| server.client_with(64)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for tag in 0..25_u32 {
            let place = format!("{number}/{tag}");
            client.tell_held_back(tag, Command::Begin(Box::new(new_upload(&place, 100)))).await;
            let buffer = server.buffer(&file(100, u8::try_from(tag).unwrap())).await;
            client.tell_held_back(tag, Command::Data { offset: offset(0), buffer }).await;
            client.tell_held_back(tag, Command::Complete(CompleteRequest::default())).await;
        }
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut left = 25;
        while left > 0 {
            let Event { tag: Tag(tag), kind, .. } = client.event().await;
            match kind {
                EventKind::Completed { receipt, .. } => {
                    assert_eq!(receipt.path().to_string(), format!("{number}/{tag}"));
                    left -= 1;
                }
                EventKind::Granted(_) | EventKind::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
        for tag in 0..25 {
            let there = server.storage.bytes(crate::kit::ada(), &format!("{number}/{tag}"));
            assert_eq!(there.unwrap(), file(100, tag));
        }
    }
}

/// A small generator, so that a seed says what was done.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

async fn do_anything(mut client: Client, mut random: Random, until: Instant, length: usize) {
    let bytes = file(length, 1);
    while Instant::now() < until {
        let number = id(1 + random.below(3));
        let command = match random.below(9) {
            0 => {
                let mut new = new_upload(&format!("{}", random.below(2)), length);
                new.mode = SendingMode::BLOCKS;
                Command::Begin(Box::new(new))
            }
            1..=3 => {
                let is_plain = random.below(2) == 0;
                let mode = if is_plain { SendingMode::PLAIN } else { SendingMode::BLOCKS };
                Command::Resume(Box::new(towline_engine::ResumeRequest::of(number, mode)))
            }
            4 => Command::Query(Query::Status(number)),
            5 => Command::Query(Query::HeldBlocks {
                id: number,
                pages: towline_engine::BlockPages::All,
            }),
            6 => {
                let first = crate::kit::index(random.below(3));
                Command::Withdraw(vec![first..first.next()])
            }
            7 if random.below(4) == 0 => Command::Cancel(number),
            _ => Command::Complete(CompleteRequest::default()),
        };
        let tag = u32::try_from(random.below(2)).unwrap();
        client.tell(tag, command).await;
        for block in 0..3 {
            let end = length.min((block + 1) * BLOCK);
            client.data(tag, &bytes, block * BLOCK..end).await;
            client.announce(tag, &bytes, block as u64).await;
        }
        for said in client.settle(tag).await {
            assert!(!said.contains("panicked") && !said.contains("Internal"), "{said}");
        }
    }
    drop(client);
}

/// Debug builds check the order in which each thread takes its locks. Whatever is done, an upload
/// ends as its document or not at all, and nothing hangs.
#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_on_the_same_documents_never_hang_or_damage_one() {
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let seed = u64::try_from(seed % u128::from(u64::MAX)).unwrap();
    println!("seed {seed}");
    let server = Server::new().await;
    let length = 2 * BLOCK + 9;
    let until = Instant::now() + Duration::from_secs(2);
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let random = Random(seed.wrapping_add(number));
            tokio::spawn(do_anything(server.client(), random, until, length))
        })
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    let bytes = file(length, 1);
    for number in 1..=3 {
        let Ok(status) = soon(server.account().status(id(number))).await else { continue };
        if status.phase == Phase::Completed {
            assert!(server.read(id(number)).await == bytes, "{number}");
        }
    }
    let server = server.cut_power().await;
    for number in 1..=3 {
        let Ok(status) = soon(server.account().status(id(number))).await else { continue };
        assert_ne!(status.phase, Phase::Failed, "{:?}", status.reason);
        if status.phase == Phase::Uploading {
            let mut upload = server.resume_in(id(number), SendingMode::PLAIN).await;
            let from = usize::try_from(upload.offset().get()).unwrap();
            let held = server.held(id(number)).await;
            for (index, value) in held {
                assert_eq!(value, crate::kit::value_of(&bytes, index.get()));
            }
            if from < length {
                let end = length.min((from / BLOCK + 1) * BLOCK);
                server.write(&mut upload, &bytes, from..end).await;
                soon(upload.position()).await.unwrap();
            }
        }
    }
}
