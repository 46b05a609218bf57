//! Servers that make trouble, and what the client does about it.

use super::*;
use crate::events::Event;
use crate::exit::Exit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_types::block::hash_block;
use towline_types::{BlockIndex, FileSize};

/// What a server does about a request.
enum Deed {
    Say(Value),
    /// Says it again and again, as fast as it is read, and reads nothing more.
    Flood(Value),
    /// Says one after another, with this time before each.
    Slowly(Vec<Value>, Duration),
    /// Says that with these bytes.
    Send(Vec<u8>),
    /// Says nothing.
    Keep,
    /// Closes the connection.
    Close,
}

/// A server that does so: asked with the number of the connection, from 0, and the request.
/// What else comes is read and forgotten.
struct Rogue {
    address: ServerAddress,
    connections: Arc<AtomicU32>,
}

impl Rogue {
    fn that(does: impl Fn(u32, &Value) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let (counter, does) = (Arc::clone(&connections), Arc::new(does));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let does = Arc::clone(&does);
                std::thread::spawn(move || serve(stream, |request| does(number, request)));
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    fn client(&self) -> Client {
        Client::new(self.address.clone(), Token::new("t").unwrap())
    }
}

fn serve(mut stream: TcpStream, does: impl Fn(&Value) -> Deed) {
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    loop {
        let request = match decoder.next_part().unwrap() {
            Some(Part::Control(json)) => serde_json::from_slice(json).unwrap(),
            Some(_) => {
                let mut payload = vec![0; decoder.payload_left()];
                let taken = decoder.take_payload(&mut payload);
                if stream.read_exact(&mut payload[taken..]).is_err() {
                    return;
                }
                decoder.payload_came(payload.len() - taken);
                continue;
            }
            None => match stream.read(decoder.space()) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    decoder.filled(count);
                    continue;
                }
            },
        };
        let said = match does(&request) {
            Deed::Say(value) => stream.write_all(&frame::control(&value)),
            Deed::Flood(value) => {
                let words = frame::control(&value).repeat(100);
                while stream.write_all(&words).is_ok() {}
                return;
            }
            Deed::Slowly(values, pause) => values.iter().try_for_each(|value| {
                std::thread::sleep(pause);
                stream.write_all(&frame::control(value))
            }),
            Deed::Send(frames) => stream.write_all(&frames),
            Deed::Keep => Ok(()),
            Deed::Close => return,
        };
        if said.is_err() {
            return;
        }
    }
}

fn welcome() -> Value {
    json!({"action": "welcome", "version": 1, "server": "x", "user_id": 1, "user": "u",
        "max_filesize": 1_000_000, "chunk_size": 64, "max_chunk_size": 1024,
        "block_size": 1_048_576, "max_channels": 16, "features": ["new_only"]})
}

fn error(request: &Value, code: Code) -> Value {
    json!({"action": "error", "channel": request["channel"], "code": code,
        "number": code.number(), "message": "so it is", "retry": code.can_retry()})
}

fn unknown(request: &Value) -> Value {
    json!({"action": "find", "channel": request["channel"], "same_size": false})
}

fn granted(request: &Value, document_id: u64) -> Value {
    json!({"action": request["action"], "channel": request["channel"],
        "document_id": document_id, "offset": 0, "filesize": 5})
}

/// The receipt for `hello`.
fn success(request: &Value, name: &str) -> Value {
    json!({"action": "SUCCESS", "channel": request["channel"], "document_id": 7,
        "filename": name, "filesize": 5, "created_at": 1, "durable": true,
        "blake3": blake3::hash(b"hello").to_hex().as_str()})
}

/// What an honest server does about a file of one name that comes alone.
fn honest(request: &Value, name: &str) -> Deed {
    Deed::Say(match request["action"].as_str().unwrap() {
        "hello" => welcome(),
        "find" => unknown(request),
        "upload" => granted(request, 7),
        "complete" => success(request, name),
        "ping" => json!({"action": "ping"}),
        other => panic!("{other}"),
    })
}

/// The same for files that come over channels of their own, whatever their names are.
#[derive(Default)]
struct Names(Mutex<BTreeMap<u64, String>>);

impl Names {
    fn honest(&self, request: &Value) -> Deed {
        let mut names = self.0.lock().unwrap();
        let channel = request["channel"].as_u64().unwrap_or(0);
        if let (Some("upload"), Some(name)) =
            (request["action"].as_str(), request["filename"].as_str())
        {
            names.insert(channel, name.to_owned());
        }
        honest(request, names.get(&channel).map_or("", String::as_str))
    }
}

/// Files to upload, with `hello` in each.
struct Files {
    _folder: TempDir,
    jobs: Vec<(Document, PutOptions)>,
}

fn files(names: &[&str]) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let job = |name: &&str| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, "hello").unwrap();
        // A chunk size of its own keeps a file out of a volley.
        let options = PutOptions { chunk_bytes: Some(64), ..PutOptions::default() };
        (Document::in_folder(path, Vec::new()).unwrap(), options)
    };
    let jobs = names.iter().map(job).collect();
    Files { jobs, _folder: folder }
}

/// Puts one file; how it ended, with the notices on the way.
async fn put(mut client: Client) -> (Result<Receipt, Failure>, usize) {
    let files = files(&["a"]);
    let (document, options) = &files.jobs[0];
    let mut notices = 0;
    let cancel = CancellationToken::new();
    let mut listener = |event| notices += usize::from(matches!(event, Event::Notice { .. }));
    let ended = client.put(document, options, &cancel, &mut listener).await;
    (ended, notices)
}

#[tokio::test]
async fn an_upload_that_is_answered_by_another_question_for_ever() {
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("upload") => Deed::Say(unknown(request)),
        _ => honest(request, "a"),
    });
    let (ended, _) = put(rogue.client().retries(Some(2))).await;
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit(), Exit::Resumable, "{failure}");
    assert_eq!(rogue.connections(), 3, "once, and two retries");
    // Without a number of retries it ends, too: that is no weather.
    let (ended, _) = put(rogue.client()).await;
    assert!(matches!(ended, Err(Failure::Protocol(_))), "{ended:?}");
}

#[tokio::test]
async fn always_one_more_upload_that_is_gone() {
    let number = AtomicU32::new(0);
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("find") => {
            let document_id = number.fetch_add(1, Ordering::SeqCst) + 1;
            Deed::Say(json!({"action": "find", "channel": request["channel"], "same_size": false,
                "unfinished": {"document_id": document_id, "offset": 0}}))
        }
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": request["document_id"], "count": 0})),
        Some("resume") => Deed::Say(error(request, Code::NotFound)),
        _ => honest(request, "a"),
    });
    let (ended, notices) = put(rogue.client().retries(Some(2))).await;
    assert_eq!(ended.unwrap_err().exit(), Exit::Resumable);
    assert_eq!(rogue.connections(), 3);
    assert!(notices <= 3 * 8, "{notices} notices");
}

#[tokio::test]
async fn progress_that_is_not_true_earns_no_further_attempt() {
    // It grants, says that all is durable, and is gone; again and again.
    let rogue = Rogue::that(|connection, request| match request["action"].as_str() {
        Some("find") if connection > 0 => Deed::Say(json!({"action": "find",
            "channel": request["channel"], "same_size": false,
            "unfinished": {"document_id": 7, "offset": 0}})),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        Some("resume") => Deed::Say(granted(request, 7)),
        Some("complete") if connection > 0 => Deed::Close,
        Some("complete") => Deed::Say(json!({"action": "progress",
            "channel": request["channel"], "document_id": 7, "received": 5, "durable": 5,
            "filesize": 5, "progress": ""})),
        Some("ping") => Deed::Close,
        _ => honest(request, "a"),
    });
    let timeouts = Timeouts { ping_after: Duration::from_millis(50), ..Timeouts::default() };
    let (ended, _) = put(rogue.client().retries(Some(2)).timeouts(timeouts)).await;
    let failure = ended.unwrap_err();
    assert!(matches!(failure, Failure::ConnectionLost { .. }), "{failure:?}");
    // It could be true once, for the bytes were sent: then the count begins anew.
    let connections = rogue.connections();
    assert!((3..=4).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn a_question_is_not_waited_for_because_other_words_come() {
    let progress = json!({"action": "progress", "channel": 9, "document_id": 7, "received": 1,
        "durable": 0, "filesize": 5, "progress": ""});
    let timeouts = Timeouts { answer: Duration::from_millis(300), ..Timeouts::default() };
    // A word now and then, for ever, and as many as there is room for.
    for flood in [false, true] {
        let progress = progress.clone();
        let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
            Some("find") if flood => Deed::Flood(progress.clone()),
            Some("find") => Deed::Keep,
            _ => honest(request, "a"),
        });
        let timeouts = Timeouts { ping_after: Duration::from_millis(50), ..timeouts };
        let began = Instant::now();
        let (ended, _) = put(rogue.client().retries(Some(1)).timeouts(timeouts)).await;
        assert_eq!(ended.unwrap_err().exit(), Exit::Resumable);
        assert_eq!(rogue.connections(), 2);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn sending_without_any_effect_ends() {
    // `complete` is never answered, and pings are.
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("complete") => Deed::Keep,
        Some("resume") => Deed::Say(granted(request, 7)),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        _ => honest(request, "a"),
    });
    let timeouts = Timeouts {
        ping_after: Duration::from_millis(50),
        progress: Duration::from_millis(400),
        ..Timeouts::default()
    };
    let (ended, _) = put(rogue.client().retries(Some(1)).timeouts(timeouts)).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit(), rogue.connections()), (Exit::Resumable, 2), "{failure}");
    assert!(failure.kept().is_some());
}

/// What the server says while it copies a file of 5 bytes: one report for each number.
fn copying(request: &Value, field: &str, numbers: &[u64]) -> Vec<Value> {
    let whole = if field == "copied" { 5 } else { 0 };
    let report = |number: &u64| {
        let mut report = json!({"action": "progress", "channel": request["channel"],
            "document_id": 7, "received": whole, "durable": whole, "filesize": 5,
            "progress": ""});
        report[field] = (*number).into();
        report
    };
    numbers.iter().map(report).collect()
}

/// It waits for its turn, and then goes on, each time with the next number.
const GOES_ON: [u64; 10] = [0, 0, 0, 0, 0, 1, 2, 3, 4, 5];
/// It has begun, and is never further.
const STANDS: [u64; 60] = [2; 60];
const PAUSE: Duration = Duration::from_millis(200);

fn impatient() -> Timeouts {
    let (answer, progress) = (Duration::from_secs(1), Duration::from_secs(1));
    Timeouts { answer, progress, ..Timeouts::default() }
}

/// A server that copies what it has, where the second connection asks for it: the first one
/// was lost. The receipt comes after the numbers.
fn copies_for_a_resumption(numbers: &'static [u64]) -> Rogue {
    Rogue::that(move |connection, request| match request["action"].as_str() {
        Some("complete") if connection == 0 => Deed::Close,
        Some("resume") => {
            let mut said = copying(request, "copied", numbers);
            said.push(success(request, "a"));
            Deed::Slowly(said, PAUSE)
        }
        _ => honest(request, "a"),
    })
}

/// A server that copies it before the receipt for what was sent, or in place of the sending.
fn copies_at(action: &'static str, numbers: &'static [u64]) -> Rogue {
    let field = if action == "upload" { "received" } else { "copied" };
    Rogue::that(move |_, request| match request["action"].as_str() {
        Some("find") if action == "upload" => Deed::Say(json!({"action": "find",
            "channel": request["channel"], "same_size": true})),
        Some("resume") => Deed::Say(granted(request, 7)),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        Some(asked) if asked == action => {
            let mut said = copying(request, field, numbers);
            let mut receipt = success(request, "a");
            receipt["copied"] = (action == "upload").into();
            said.push(receipt);
            Deed::Slowly(said, PAUSE)
        }
        _ => honest(request, "a"),
    })
}

#[tokio::test]
async fn a_copy_that_goes_on_is_waited_for() {
    for (rogue, connections) in [
        (copies_at("complete", &GOES_ON), 1),
        (copies_at("upload", &GOES_ON), 1),
        (copies_for_a_resumption(&GOES_ON), 2),
    ] {
        let files = files(&["a"]);
        let (document, options) = &files.jobs[0];
        let mut copied = Vec::new();
        let mut listener = |event| {
            if let Event::Copying { copied_bytes, bytes: 5, .. } = event {
                copied.push(copied_bytes);
            }
        };
        let mut client = rogue.client().retries(Some(1)).timeouts(impatient());
        let cancel = CancellationToken::new();
        let ended = client.put(document, options, &cancel, &mut listener).await;
        assert_eq!(ended.unwrap().document_id.get(), 7);
        assert_eq!(rogue.connections(), connections);
        assert_eq!(copied, GOES_ON, "a person sees it");
    }
}

#[tokio::test]
async fn a_copy_that_stands_still_is_not_waited_for() {
    for rogue in [
        copies_at("complete", &STANDS),
        copies_at("upload", &STANDS),
        copies_for_a_resumption(&STANDS),
    ] {
        let (ended, _) = put(rogue.client().retries(Some(1)).timeouts(impatient())).await;
        let failure = ended.unwrap_err();
        assert_eq!((failure.exit(), rogue.connections()), (Exit::Resumable, 2), "{failure}");
    }
}

#[tokio::test]
async fn many_files_of_which_none_is_answered() {
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("upload" | "complete" | "find") => Deed::Keep,
        _ => honest(request, "a"),
    });
    let mut files = files(&["a", "b", "c"]);
    for (_, options) in &mut files.jobs {
        *options = PutOptions::default();
    }
    let timeouts = Timeouts {
        ping_after: Duration::from_millis(50),
        answer: Duration::from_millis(400),
        progress: Duration::from_millis(400),
        ..Timeouts::default()
    };
    let mut client = rogue.client().retries(Some(0)).timeouts(timeouts);
    let mut exits = Vec::new();
    let mut ended = |_, put: Result<Receipt, Failure>| {
        exits.push(put.unwrap_err().exit());
        true
    };
    let cancel = CancellationToken::new();
    client.put_many(&files.jobs, &cancel, &mut |_| {}, &mut ended).await;
    assert_eq!(exits, [Exit::Resumable; 3]);
}

#[tokio::test]
async fn small_files_that_wait_for_copies_are_waited_for_as_long_as_these_get_on() {
    for (numbers, is_waited_for) in [(&GOES_ON[..], true), (&STANDS, false)] {
        let names = Names::default();
        let rogue = Rogue::that(move |_, request| {
            match (request["action"].as_str(), names.honest(request)) {
                (Some("complete"), Deed::Say(said)) => {
                    let reports = copying(request, "copied", numbers);
                    Deed::Slowly([reports, vec![said]].concat(), PAUSE)
                }
                (_, deed) => deed,
            }
        });
        let files = small_files(&["a", "b"].map(str::to_owned));
        let mut client = rogue.client().retries(Some(0)).timeouts(impatient());
        let mut ends = Vec::new();
        let mut ended = |_, put: Result<Receipt, Failure>| {
            ends.push(put.map_err(|failure| failure.exit()).map(drop));
            true
        };
        client.put_many(&files.jobs, &CancellationToken::new(), &mut |_| {}, &mut ended).await;
        let expected = if is_waited_for { Ok(()) } else { Err(Exit::Resumable) };
        assert_eq!((ends, rogue.connections()), (vec![expected; 2], 1));
    }
}

/// Files that go in volleys.
fn small_files(names: &[String]) -> Files {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut files = files(&names);
    for (_, options) in &mut files.jobs {
        *options = PutOptions::default();
    }
    files
}

#[tokio::test]
async fn a_file_that_fails_for_now_does_not_keep_back_what_a_lost_connection_left_unbegun() {
    let (completed, names) = (AtomicU32::new(0), Names::default());
    let rogue = Rogue::that(move |connection, request| {
        let is_bad = request["filename"] == "0-bad";
        match request["action"].as_str() {
            // In the middle of a volley.
            Some("upload") if is_bad && connection == 0 => Deed::Close,
            // For ever, unless the others get their turn.
            Some("upload") if is_bad && completed.load(Ordering::SeqCst) < 30 => {
                Deed::Say(error(request, Code::Internal))
            }
            Some("complete") => {
                completed.fetch_add(1, Ordering::SeqCst);
                names.honest(request)
            }
            _ => names.honest(request),
        }
    });
    // More than go at a time: eight, where a server has sixteen channels.
    let names: Vec<_> = (1..=30).map(|n| format!("{n:02}")).collect();
    let files = small_files(&[vec!["0-bad".to_owned()], names].concat());
    let mut done = Vec::new();
    let mut ended = |n: usize, put: Result<Receipt, Failure>| {
        put.unwrap();
        done.push(n);
        true
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client();
    let mut listener = |_| {};
    let put = client.put_many(&files.jobs, &cancel, &mut listener, &mut ended);
    tokio::time::timeout(Duration::from_secs(60), put).await.expect("all files get their turn");
    assert_eq!(done.last(), Some(&0), "{done:?}");
    done.sort_unstable();
    assert_eq!(done, (0..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_retries_the_first_loss_of_a_volley_is_the_last() {
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("upload") => Deed::Close,
        _ => honest(request, "a"),
    });
    let files = small_files(&["a", "b", "c"].map(str::to_owned));
    let mut ends = Vec::new();
    let mut ended = |_, put: Result<Receipt, Failure>| {
        ends.push(put.unwrap_err());
        false
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client().retries(Some(0));
    client.put_many(&files.jobs, &cancel, &mut |_| {}, &mut ended).await;
    assert!(matches!(ends[..], [Failure::ConnectionLost { attempts: 1, .. }]), "{ends:?}");
    assert_eq!(rogue.connections(), 1);
}

#[tokio::test]
async fn a_pause_ends_although_the_server_talks() {
    let progress = json!({"action": "progress", "channel": 1, "document_id": 7, "received": 1,
        "durable": 0, "filesize": 5, "progress": ""});
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("complete") => Deed::Flood(progress.clone()),
        _ => honest(request, "a"),
    });
    let files = files(&["a"]);
    let (document, options) = &files.jobs[0];
    let cancel = CancellationToken::new();
    let timeouts = Timeouts { closing: Duration::from_millis(300), ..Timeouts::default() };
    let mut client = rogue.client().timeouts(timeouts);
    // A thread of its own, as the command line has for signals: this one has no time.
    let told = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        told.cancel();
    });
    let began = Instant::now();
    let ended = client.put(document, options, &cancel, &mut |_| {}).await;
    assert!(matches!(ended, Err(Failure::Interrupted(Some(_)))), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_file_that_fails_for_now_lets_the_others_go_first() {
    let (refusals, names) = (AtomicU32::new(0), Names::default());
    let rogue = Rogue::that(move |_, request| {
        let is_bad = request["filename"] == "bad";
        match request["action"].as_str() {
            Some("upload") if is_bad && refusals.fetch_add(1, Ordering::SeqCst) < 3 => {
                Deed::Say(error(request, Code::Internal))
            }
            _ => names.honest(request),
        }
    });
    let files = files(&["bad", "b", "c"]);
    let mut done = Vec::new();
    let mut reasons = Vec::new();
    let mut listener = |event| {
        if let Event::Waiting { reason, attempt, .. } = event {
            reasons.push((reason, attempt));
        }
    };
    let mut ended = |n: usize, put: Result<Receipt, Failure>| {
        put.unwrap();
        done.push(n);
        true
    };
    let cancel = CancellationToken::new();
    rogue.client().put_many(&files.jobs, &cancel, &mut listener, &mut ended).await;
    assert_eq!(done, [1, 2, 0]);
    assert_eq!(reasons.iter().map(|(_, attempt)| *attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(!reasons[0].0.contains("connection"), "{reasons:?}");
}

#[tokio::test]
async fn a_file_that_loses_every_connection_ends_alone() {
    let names = Names::default();
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("upload") if request["filename"] == "bad" => Deed::Close,
        _ => names.honest(request),
    });
    let files = files(&["bad", "b"]);
    let mut outcomes = Vec::new();
    let mut ended = |n: usize, put: Result<Receipt, Failure>| {
        outcomes.push((n, put.map_err(|failure| failure.exit()).err()));
        true
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client().retries(Some(4));
    client.put_many(&files.jobs, &cancel, &mut |_| {}, &mut ended).await;
    assert_eq!(outcomes, [(1, None), (0, Some(Exit::Resumable))]);
}

#[tokio::test]
async fn too_many_connections_are_not_for_ever() {
    let rogue = Rogue::that(|connection, request| match request["action"].as_str() {
        Some("hello") if connection < 2 => Deed::Say(error(&json!({"channel": 0}), Code::TooMany)),
        _ => honest(request, "a"),
    });
    let (ended, _) = put(rogue.client()).await;
    ended.unwrap();
    assert_eq!(rogue.connections(), 3);
}

#[tokio::test]
async fn a_new_token_in_the_file_is_found_once_the_old_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("hello") if request["token"] != "new" => {
            Deed::Say(error(&json!({"channel": 0}), Code::AuthExpired))
        }
        _ => honest(request, "a"),
    });
    for (text, connections) in [("old", 1), ("other", 2), ("new", 2)] {
        std::fs::write(&path, text).unwrap();
        let before = rogue.connections();
        let client = Client::new(rogue.address.clone(), Token::new("old").unwrap());
        let (ended, _) = put(client.token_file(Some(path.clone()))).await;
        assert_eq!(rogue.connections() - before, connections, "{text}");
        match text {
            "new" => assert_eq!(ended.unwrap().document_id.get(), 7),
            _ => assert_eq!(ended.unwrap_err().code(), Some(Code::AuthExpired)),
        }
    }
}

#[tokio::test]
async fn another_store_in_the_middle_of_a_run_is_begun_with_anew() {
    let number = |connection: u32| 7 + u64::from(connection);
    let rogue = Rogue::that(move |connection, request| match request["action"].as_str() {
        Some("hello") => {
            let mut welcome = welcome();
            let digit = if connection == 0 { "a" } else { "b" };
            welcome["server_id"] = digit.repeat(32).into();
            Deed::Say(welcome)
        }
        Some("upload") => Deed::Say(granted(request, number(connection))),
        Some("complete") if connection == 0 => Deed::Close,
        Some("complete") => {
            let mut success = success(request, "a");
            success["document_id"] = number(connection).into();
            Deed::Say(success)
        }
        // A number of the first store's must not be asked for at the second.
        _ => honest(request, "a"),
    });
    let files = files(&["a"]);
    let (document, options) = &files.jobs[0];
    let mut notices = Vec::new();
    let mut listener = |event| {
        if let Event::Notice { message, .. } = event {
            notices.push(message);
        }
    };
    let cancel = CancellationToken::new();
    let ended = rogue.client().put(document, options, &cancel, &mut listener).await;
    assert_eq!(ended.unwrap().document_id.get(), 8);
    let [notice] = &notices[..] else { panic!("it says so once: {notices:?}") };
    let address = rogue.address.to_string();
    for said in ["another server answers", &address, "stays in the list", "of no use here"] {
        assert!(notice.contains(said), "{said}: {notice}");
    }
}

/// A `find` that names an unfinished upload of the file.
fn unfinished(request: &Value) -> Value {
    json!({"action": "find", "channel": request["channel"], "same_size": false,
        "unfinished": {"document_id": 7, "offset": 0}})
}

#[tokio::test]
async fn an_upload_that_was_found_on_the_server_is_in_the_list_before_it_goes_on() {
    let (asked, waits) = tokio::sync::mpsc::unbounded_channel();
    let mut waits = waits;
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("find") => Deed::Say(unfinished(request)),
        Some("blocks") => Deed::Say(json!({"action": "blocks", "channel": request["channel"],
            "document_id": 7, "count": 0})),
        Some("resume") => {
            asked.send(()).unwrap();
            Deed::Keep
        }
        Some("status") => Deed::Close,
        _ => honest(request, "a"),
    });
    let files = files(&["a"]);
    let (document, options) = &files.jobs[0];
    let list = StateFile::at(files._folder.path().join("uploads_state.json"));
    let cancel = CancellationToken::new();
    let mut client = rogue.client().state_file(list.clone());
    let mut told = Vec::new();
    let mut listener = |event| {
        if let Event::Paused(status) = event {
            told.push(status.document_id);
        }
    };
    let put = client.put(document, options, &cancel, &mut listener);
    let interrupt = async {
        waits.recv().await.unwrap();
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(put, interrupt);
    assert!(matches!(ended, Err(Failure::Interrupted(Some(_)))), "{ended:?}");
    let state = list.read().unwrap();
    let listed: Vec<_> = state.uploads.keys().collect();
    assert_eq!((listed, told.len()), (vec![&told[0].to_string()], 1));
}

#[tokio::test]
async fn a_report_from_before_the_pause_promises_nothing_of_what_lies_beyond_a_gap() {
    const MIB: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, vec![7; 3 * MIB]).unwrap();
    let values: Vec<u8> = (1..3u64)
        .flat_map(|number| {
            let index = BlockIndex::try_from(number).unwrap();
            let size = FileSize::try_from(3 * MIB as u64).unwrap();
            *hash_block(index, size, &vec![7; MIB]).as_bytes()
        })
        .collect();
    for (follows, safe_bytes) in [(false, 0), (true, 2 * MIB as u64)] {
        let values = values.clone();
        let rogue = Rogue::that(move |_, request| {
            let channel = &request["channel"];
            let size = 3 * MIB;
            // Nothing is without a gap.
            let report = json!({"action": "progress", "channel": channel, "document_id": 7,
                "received": 0, "durable": 0, "filesize": size, "progress": ""});
            let status = json!({"action": "status", "channel": channel, "document_id": 7,
                "filename": "a", "filesize": size, "status": "uploading", "received": 0,
                "durable": 0, "active": true});
            match request["action"].as_str() {
                Some("hello") => {
                    let mut welcome = welcome();
                    welcome["max_filesize"] = (10 * MIB).into();
                    Deed::Say(welcome)
                }
                Some("find") => Deed::Say(unfinished(request)),
                Some("blocks") => {
                    let channel = u32::try_from(channel.as_u64().unwrap()).unwrap();
                    let end = json!({"action": "blocks", "channel": channel,
                        "document_id": 7, "count": 2});
                    let list = block_list(channel, 1, &values);
                    Deed::Send([list, frame::control(&end)].concat())
                }
                Some("resume") => Deed::Say(json!({"action": "resume", "channel": channel,
                    "document_id": 7, "offset": 0, "filesize": size})),
                Some("status") if follows => {
                    Deed::Send([frame::control(&status), frame::control(&report)].concat())
                }
                Some("status") => Deed::Send(frame::control(&report)),
                Some("complete") => Deed::Keep,
                other => panic!("{other:?}"),
            }
        });
        let document = Document::in_folder(&path, Vec::new()).unwrap();
        let cancel = CancellationToken::new();
        let timeouts = Timeouts { closing: Duration::from_millis(500), ..Timeouts::default() };
        let mut safe = None;
        let mut listener = |event| match event {
            Event::Resumed { .. } => cancel.cancel(),
            Event::Paused(status) => safe = Some(status.safe_bytes),
            _ => {}
        };
        let mut client = rogue.client().timeouts(timeouts);
        let options = PutOptions::default();
        let put = client.put(&document, &options, &cancel, &mut listener);
        assert!(matches!(put.await, Err(Failure::Interrupted(Some(_)))));
        assert_eq!(safe, Some(safe_bytes), "follows: {follows}");
    }
}

/// The frame of a block list.
fn block_list(channel: u32, first: u64, values: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + 4 + 8 + values.len()).unwrap();
    let head = [&length.to_be_bytes()[..], &[4], &channel.to_be_bytes(), &first.to_be_bytes()];
    [&head.concat(), values].concat()
}
