//! Pauses, and what the client says afterwards about the bytes that are safe.

use super::rogue::{Deed, Rogue, files, honest, welcome};
use crate::document::Document;
use crate::events::Event;
use crate::failure::Failure;
use crate::timeouts::Timeouts;
use crate::transfer::options::PutOptions;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use towline_protocol::frame::{self};
use towline_state::StateFile;
use towline_types::block::hash_block;
use towline_types::{BlockIndex, FileSize};

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
    // A thread of its own, as the command line has one for signals: the flood keeps this thread
    // busy.
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
    let list = StateFile::at(files.folder.path().join("uploads_state.json"));
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
            // The server has no bytes without a gap.
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
