//! Servers that make trouble while a file is fetched: nothing wrong is ever published, and nothing
//! is written outside the folder that was chosen.

use super::rogue::{Deed, Rogue, error, welcome};
use crate::client::get::{GetTold, fetch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::get::local_folder::LocalFolder;
use crate::get::prepare::{Choices, Outcome, Wanted, WantedKind};
use crate::get::receiver::Told;
use crate::get::staging::{Durability, Expected};
use crate::get::{Fetching, into_folder};
use rustix::fs::Mode;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;
use towline_protocol::frame;
use towline_protocol::{Channel, Code};
use towline_types::block::hash_block;
use towline_types::{
    BlockIndex, ChainingValue, FileHash, FileSize, LinkTarget, Name, Offset, OnConflict,
};

const BYTES: &[u8] = b"hello";

fn filesize() -> FileSize {
    FileSize::try_from(BYTES.len() as u64).unwrap()
}

fn hash() -> FileHash {
    FileHash::from_bytes(*blake3::hash(BYTES).as_bytes())
}

fn reading() -> Value {
    let mut welcome = welcome();
    welcome["features"] = json!(["new_only", "read", "tree"]);
    welcome
}

/// What a server answers to `read`: this beginning, these bytes at that offset.
struct Answer<'a> {
    begin: Value,
    value: Option<ChainingValue>,
    offset: u64,
    bytes: &'a [u8],
}

impl Answer<'_> {
    fn honest(request: &Value) -> Self {
        let begin = json!({"action": "read", "channel": request["channel"], "document_id": 7,
            "filesize": BYTES.len(), "blake3": hash().to_string(),
            "offset": request["offset"], "length": request["length"]});
        let with_values = request["blocks"] == true;
        let value = with_values.then(|| hash_block(BlockIndex::FIRST, filesize(), BYTES));
        Answer { begin, value, offset: 0, bytes: BYTES }
    }

    fn frames(&self) -> Vec<u8> {
        let number = self.begin["channel"].as_u64().and_then(|number| u32::try_from(number).ok());
        let channel = Channel(number.unwrap_or(0));
        let mut frames = frame::control(&self.begin);
        if let Some(value) = self.value {
            frames.extend_from_slice(&frame::block(channel, BlockIndex::FIRST, value));
        }
        let length = u32::try_from(self.bytes.len()).unwrap();
        let offset = Offset::try_from(self.offset).unwrap();
        frames.extend_from_slice(&frame::chunk_head(channel, offset, length));
        frames.extend_from_slice(self.bytes);
        frames.extend_from_slice(&frame::control(&json!({"action": "read",
            "channel": channel, "document_id": 7, "end": true})));
        frames
    }
}

/// Fetches one thing from a server that answers `read` so; how it ended, and what is in the folder
/// then.
async fn fetched(
    wanted: Wanted,
    read: impl Fn(u32, &Value) -> Deed + Send + Sync + 'static,
) -> (Result<(), Failure>, Vec<Outcome>, Vec<String>) {
    let reads = AtomicU32::new(0);
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("hello") => Deed::Say(reading()),
        Some("read") => read(reads.fetch_add(1, Ordering::SeqCst), request),
        _ => Deed::Say(json!({"action": "ping"})),
    });
    let home = tempfile::tempdir().unwrap();
    let base = LocalFolder::open(home.path()).unwrap();
    let choices = Choices {
        on_conflict: OnConflict::Reject,
        durability: Durability::Unsynced,
        syncs_folders: true,
    };
    let Fetching { wanted: to, receiver, .. } =
        into_folder(base, choices, Mode::empty(), 1).unwrap();
    to.send(wanted).await.unwrap();
    drop(to);
    let outcomes = Mutex::new(Vec::new());
    let listener = |told| {
        if let GetTold::Of(Told::Ended(ended)) = told {
            outcomes.lock().unwrap().push(ended.outcome);
        }
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client().retries(Some(3));
    let clients = std::slice::from_mut(&mut client);
    let ended = fetch(clients, &receiver, &cancel, &listener).await;
    drop(receiver);
    let outcomes = outcomes.into_inner().unwrap();
    (ended, outcomes, names(home.path()))
}

fn names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn wanted(what: WantedKind) -> Wanted {
    Wanted { folder: Vec::new(), outside: 0, name: Name::new("a").unwrap(), what }
}

fn file() -> Wanted {
    let expected = Expected { filesize: filesize(), blake3: hash(), mtime: None, mode: None };
    wanted(WantedKind::File(7.try_into().unwrap(), expected))
}

#[tokio::test]
async fn an_honest_server_is_believed() {
    let read = |_, request: &Value| Deed::Send(Answer::honest(request).frames());
    let (ended, outcomes, names) = fetched(file(), read).await;
    ended.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Fetched]), "{outcomes:?}");
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn what_was_not_asked_for_ends_the_run_and_is_not_kept() {
    type Lie = fn(&mut Answer<'_>);
    let lies: [Lie; 7] = [
        |answer| answer.offset = 1,
        |answer| answer.bytes = b"hello and more",
        |answer| answer.begin["filesize"] = json!(6),
        |answer| answer.begin["length"] = json!(4),
        |answer| answer.begin["document_id"] = json!(8),
        |answer| answer.begin["blake3"] = json!("0".repeat(64)),
        |answer| answer.value = None,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let read = move |_, request: &Value| {
            let mut answer = Answer::honest(request);
            lie(&mut answer);
            Deed::Send(answer.frames())
        };
        let (ended, outcomes, names) = fetched(file(), read).await;
        let failure = ended.unwrap_err();
        // A frame that does not fit may be the fault of the link: other connections are tried.
        let is_garbled = matches!(number, 0 | 1 | 6);
        assert_eq!(matches!(failure, Failure::ConnectionLost { .. }), is_garbled, "{failure}");
        assert_eq!(matches!(failure, Failure::Protocol(_)), !is_garbled, "{failure}");
        let text = failure.to_string();
        assert!(text.contains("broke the rules of the protocol"), "{number}: {text}");
        assert!(outcomes.is_empty() && names.is_empty(), "{number}: {outcomes:?} {names:?}");
    }
}

#[tokio::test]
async fn a_damaged_block_is_asked_for_again_and_one_that_stays_damaged_is_given_up() {
    for bad_answers in [1, u32::MAX] {
        let read = move |count, request: &Value| {
            // A block that arrived damaged is asked for without its value: the server compares it.
            assert_eq!(request["blocks"] == true, count == 0, "{request}");
            let mut answer = Answer::honest(request);
            if count < bad_answers {
                answer.bytes = b"hellO";
            }
            Deed::Send(answer.frames())
        };
        let (ended, outcomes, names) = fetched(file(), read).await;
        ended.unwrap();
        if bad_answers == 1 {
            assert!(matches!(outcomes[..], [Outcome::Fetched]), "{outcomes:?}");
            assert_eq!(names, ["a"]);
        } else {
            let [Outcome::Failed(failure)] = &outcomes[..] else { panic!("{outcomes:?}") };
            assert_eq!(failure.exit(), Exit::Integrity);
            assert!(names.is_empty(), "{names:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_ends_that_file_alone_and_leaves_nothing() {
    let read = |_, request: &Value| Deed::Say(error(request, Code::Damaged));
    let (ended, outcomes, names) = fetched(file(), read).await;
    ended.unwrap();
    let [Outcome::Failed(failure)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(failure.code(), Some(Code::Damaged));
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn a_link_that_leads_out_is_not_made() {
    for (target, is_made) in [("b/c", true), ("../b", false), ("/etc/passwd", false)] {
        let link = wanted(WantedKind::Link(LinkTarget::new(target).unwrap()));
        let (ended, outcomes, names) = fetched(link, |_, _| Deed::Keep).await;
        ended.unwrap();
        assert_eq!(matches!(outcomes[..], [Outcome::Made]), is_made, "{target}: {outcomes:?}");
        assert_eq!(names.len(), usize::from(is_made), "{target}");
    }
}
