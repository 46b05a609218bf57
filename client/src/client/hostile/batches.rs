//! Servers that break the protocol in the middle of a batch of small files.

use super::copies::{GOES_ON, PAUSE, STANDS, copying, impatient};
use super::rogue::{Deed, Files, Names, Rogue, error, files, honest};
use crate::document::Document;
use crate::events::Receipt;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::timeouts::Timeouts;
use crate::transfer::options::PutOptions;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;

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
    let mut ended = |_, _: &Document, put: Result<Receipt, Failure>| {
        exits.push(put.unwrap_err().exit());
        true
    };
    let cancel = CancellationToken::new();
    client.put_many(files.jobs.clone().into_iter(), &cancel, &mut |_| {}, &mut ended).await;
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
        let mut ended = |_, _: &Document, put: Result<Receipt, Failure>| {
            ends.push(put.map_err(|failure| failure.exit()).map(drop));
            true
        };
        client
            .put_many(
                files.jobs.clone().into_iter(),
                &CancellationToken::new(),
                &mut |_| {},
                &mut ended,
            )
            .await;
        let expected = if is_waited_for { Ok(()) } else { Err(Exit::Resumable) };
        assert_eq!((ends, rogue.connections()), (vec![expected; 2], 1));
    }
}

/// Files that are sent in a batch.
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
            // The connection ends in the middle of a batch.
            Some("upload") if is_bad && connection == 0 => Deed::Close,
            // The server refuses this file for now until the 30 other files are complete.
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
    // More files than are sent at a time: eight, where a server allows 16 channels.
    let names: Vec<_> = (1..=30).map(|n| format!("{n:02}")).collect();
    let files = small_files(&[vec!["0-bad".to_owned()], names].concat());
    let mut done = Vec::new();
    let mut ended = |n: usize, _: &Document, put: Result<Receipt, Failure>| {
        put.unwrap();
        done.push(n);
        true
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client();
    let mut listener = |_| {};
    let put = client.put_many(files.jobs.clone().into_iter(), &cancel, &mut listener, &mut ended);
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
    let mut ended = |_, _: &Document, put: Result<Receipt, Failure>| {
        ends.push(put.unwrap_err());
        false
    };
    let cancel = CancellationToken::new();
    let mut client = rogue.client().retries(Some(0));
    client.put_many(files.jobs.clone().into_iter(), &cancel, &mut |_| {}, &mut ended).await;
    assert!(matches!(ends[..], [Failure::ConnectionLost { attempts: 1, .. }]), "{ends:?}");
    assert_eq!(rogue.connections(), 1);
}
