//! Makes one folder or link on the server, in as many attempts as that takes.

use super::Client;
use super::work::{Work, Worked};
use crate::attempt_end::AttemptEnd;
use crate::events::{Event, Listener};
use crate::failure::Failure;
use crate::feed::FeedItem;
use crate::item::{ItemKind, Sent};
use crate::making;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_protocol::{Code, Reply};
use towline_types::NodeKind;

impl Client {
    /// Makes a folder or link. Where other items wait, it may be put off.
    ///
    /// # Cancel safety
    /// A call that is dropped may have made it; the next one finds it.
    pub(super) async fn make(
        &mut self,
        work: &mut Work,
        item: &FeedItem,
        others_wait: bool,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Worked {
        let ended = |ended| Worked::Ended(Box::new(ended));
        loop {
            let made = tokio::select! {
                biased;
                // Cancel-safe, as said above.
                () = cancel.cancelled() => return ended(Err(Failure::Interrupted(None))),
                made = self.make_once(item) => made,
            };
            let end = match made {
                Ok(sent) => return ended(Ok(sent)),
                Err(end) => end,
            };
            if others_wait && is_taken_by_folder(&end, &item.kind) && work.may_wait_for_files() {
                return Worked::Later(Duration::ZERO);
            }
            let is_busy = matches!(&end, AttemptEnd::Later(reply) if reply.code == Code::Busy);
            let wait = match self.wait_before_next(end, work.attempts()).await {
                Ok(Some(wait)) => wait,
                Ok(None) => continue,
                Err(failure) => return ended(Err(failure)),
            };
            let next_in = wait.next_in;
            listener(Event::Waiting {
                path: item.document.local.clone(),
                reason: wait.reason,
                attempt: wait.attempt,
                next_in,
            });
            if others_wait && is_busy {
                return Worked::Later(next_in);
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return ended(Err(Failure::Interrupted(None))),
                () = tokio::time::sleep(next_in) => {}
            }
        }
    }

    async fn make_once(&mut self, item: &FeedItem) -> Result<Sent, AttemptEnd> {
        let FeedItem { document, kind, options, .. } = item;
        let connection = self.connected().await?;
        if !connection.knows("tree") {
            return Ok(kind.left_out());
        }
        let on_conflict = options.on_conflict.unwrap_or_default();
        let channel = connection.new_channel();
        let Some(request) = making::request(channel, document, kind, on_conflict) else {
            return Ok(kind.left_out());
        };
        match connection.ask(&request).await? {
            Reply::Mkdir(answer) | Reply::Link(answer) => {
                making::answered(&answer, document, kind, on_conflict)
            }
            Reply::Error(error) => Err(AttemptEnd::refused(error)),
            other => Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
        }
    }
}

/// Whether another folder, whose name counts as the same, is in the way of a folder that is not
/// empty. The files in it make the folder all the same, so the request can wait for them: after
/// them only the mode is left to set.
fn is_taken_by_folder(end: &AttemptEnd, kind: &ItemKind) -> bool {
    let AttemptEnd::Failed(Failure::Refused { reply, .. }) = end else { return false };
    let by_folder = reply.node.as_ref().is_some_and(|node| node.kind == NodeKind::Folder);
    let has_files = matches!(kind, ItemKind::Folder { is_empty: false, .. });
    reply.code == Code::Exists && by_folder && has_files
}

/// Tells how an item has ended well.
pub(super) fn tell(item: &FeedItem, sent: &Sent, listener: Listener<'_>) {
    let path = item.document.local.clone();
    match sent {
        Sent::File(receipt) => listener(Event::Completed(receipt.clone())),
        Sent::Made { existing, stored_as } => {
            if let Some(name) = stored_as {
                let name = crate::text::printable(name);
                let message = format!("its name is taken on the server; stored as \"{name}\"");
                listener(Event::Notice { path: path.clone(), message });
            }
            listener(Event::Made { path, existing: *existing });
        }
        Sent::LeftOut(Some(what)) => {
            listener(Event::Skipped { path, reason: (*what).to_owned() });
        }
        Sent::LeftOut(None) => {}
    }
}
