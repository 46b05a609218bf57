//! `towline watch`: follows the uploads of the person that are running, whichever machine sends
//! them.

use super::arguments::Watch;
use super::error::CliError;
use super::nodes;
use super::output::is_lost;
use super::printer::{UploadEnd, Watching};
use super::runtime::block_on;
use super::signals;
use crate::client::Client;
use crate::client::get::GetTold;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::locked::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};
use towline_protocol::Code;
use towline_protocol::reply::{Status, UploadState};
use towline_types::DocumentId;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn run(watch: &Watch) -> Result<Exit, CliError> {
    let mut client = nodes::client(&watch.connect, watch.answer.quiet)?;
    let screen = Mutex::new(Watching::new(watch.answer.style(), client.server()));
    let cancel = signals::pause();
    let followed = block_on(async {
        tokio::select! {
            biased;
            // Cancel-safe: it only asks.
            () = cancel.cancelled() => Ok(()),
            followed = follow(&mut client, &screen) => followed,
        }
    });
    lock(&screen).close();
    followed??;
    Ok(Exit::Done)
}

/// Asks again and again, until nobody reads the answers.
async fn follow(client: &mut Client, screen: &Mutex<Watching>) -> Result<(), Failure> {
    let listener = |told: GetTold| {
        if let GetTold::Waiting(wait) = told {
            lock(screen).wait(&wait, Instant::now());
        }
    };
    let mut known: BTreeMap<DocumentId, UploadState> = BTreeMap::new();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !is_lost() {
        ticks.tick().await;
        let running = client.running(&listener).await?;
        let running: BTreeMap<_, _> =
            running.into_iter().map(|upload| (upload.document_id, upload)).collect();
        for (document_id, upload) in &known {
            if !running.contains_key(document_id) {
                let end = end_of(client, upload, &listener).await?;
                lock(screen).end(&end, Instant::now());
            }
        }
        lock(screen).show(&running, Instant::now());
        known = running;
    }
    Ok(())
}

/// How an upload has ended that is no longer in the list.
async fn end_of(
    client: &mut Client,
    upload: &UploadState,
    listener: &(dyn Fn(GetTold) + Send + Sync),
) -> Result<UploadEnd, Failure> {
    match client.document(upload.document_id, listener).await {
        Ok(Status { status, folder, filename, filesize, blake3, reason, .. }) => {
            let end = UploadEnd::of(upload);
            Ok(UploadEnd { status, filesize, blake3, reason, ..end }.at(&folder, &filename))
        }
        Err(failure) if failure.code() == Some(Code::NotFound) => Ok(UploadEnd::of(upload)),
        Err(failure) => Err(failure),
    }
}
