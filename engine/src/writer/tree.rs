//! Requests about a user's files, folders and links. The writer's own upload stays as it is.

use super::state::OrderedWriter;
use crate::error::Error;
use crate::event::{EventKind, EventSender, Tag};
use crate::may_block::MayBlock;
use crate::page_hold::PageHold;
use crate::tree::notifier::ChangeListener;
use crate::tree::request::{
    DeltaRequest, NodeAction, PlacedNode, Since, TreeAnswer, TreeRequest, WAIT_MAX,
};
use crate::tree::{self, ChangeWatch};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use towline_state::catalog::Delta;

/// A question for changes that waits for one.
pub(super) struct AwaitedChange {
    request: DeltaRequest,
    /// The answer if none comes.
    empty: Delta,
    listener: ChangeListener,
    deadline: Instant,
    /// A session has one such question at a time: its permits are those of a long answer, and
    /// with many that wait no other request would get any.
    _place: WaitingPlace,
}

/// The place of the one question of a session that may wait for a change.
struct WaitingPlace(EventSender);

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.0.end_wait();
    }
}

impl OrderedWriter {
    /// Answers a request. Returns what is still to be waited for.
    pub(super) fn tree(
        &mut self,
        request: TreeRequest,
        may_block: MayBlock,
    ) -> Result<Option<AwaitedChange>, Error> {
        let (shared, user) = (Arc::clone(&self.shared), self.user);
        let answer = match request {
            TreeRequest::Stat(node) => placed(NodeAction::Stat, tree::stat(&shared, user, node)?),
            TreeRequest::List(request) => {
                let (node, page) = tree::list(&shared, user, request)?;
                TreeAnswer::List { node: node.map(Box::new), page, hold: self.hold() }
            }
            TreeRequest::Trash { filter, after, limit } => {
                let page = tree::trash(&shared, user, &filter, after, limit)?;
                TreeAnswer::Trash { page, hold: self.hold() }
            }
            TreeRequest::Uploads { after, limit } => {
                let page = tree::uploads(&shared, user, after, limit)?;
                TreeAnswer::Uploads { page, hold: self.hold() }
            }
            TreeRequest::Versions { file, after, limit } => {
                let (node, page) = tree::versions(&shared, user, file, after, limit)?;
                let kept_for = shared.config.keep.versions.all;
                TreeAnswer::Versions { node: Box::new(node), page, kept_for, hold: self.hold() }
            }
            TreeRequest::MakeFolder { path, mode } => placed(
                NodeAction::MakeFolder,
                tree::make_folder(&shared, user, &path, mode, may_block)?,
            ),
            TreeRequest::MakeLink(link) => {
                placed(NodeAction::MakeLink, tree::make_link(&shared, user, &link, may_block)?)
            }
            TreeRequest::Move { node, to, place_rev } => {
                let moved = tree::move_node(&shared, user, node, &to, place_rev, may_block)?;
                placed(NodeAction::Move, moved)
            }
            TreeRequest::Remove { node, guard } => {
                placed(NodeAction::Remove, tree::remove(&shared, user, node, guard, may_block)?)
            }
            TreeRequest::Restore(node) => {
                placed(NodeAction::Restore, tree::restore(&shared, user, node, may_block)?)
            }
            TreeRequest::RestoreVersion { file, version } => {
                let ending = &self.ending;
                let restored =
                    tree::restore_version(&shared, user, file, version, may_block, ending)?;
                placed(NodeAction::Restore, restored)
            }
            TreeRequest::Delta(request) => return self.delta(request),
            TreeRequest::Watch => {
                self.watch();
                return Ok(None);
            }
        };
        self.answer_tree(answer);
        Ok(None)
    }

    fn delta(&mut self, request: DeltaRequest) -> Result<Option<AwaitedChange>, Error> {
        // Before the look at the log, so that no change falls in between.
        let listener = self.shared.notifier.listen(self.user);
        let delta = tree::delta(&self.shared, self.user, &request)?;
        // A client that asks for the cursor of now asks for no change. If the answer waited for
        // one, its cursor would come after that change, and the client would miss it.
        let asks_for_changes = !matches!(request.since, Since::Now);
        let may_wait = asks_for_changes
            && !request.wait.is_zero()
            && delta.changes.is_empty()
            && !delta.has_more;
        if !may_wait || self.ending.is_cancelled() {
            self.answer_delta(delta);
            return Ok(None);
        }
        if !self.events.begin_wait() {
            return Err(Error::WaitsAlready);
        }
        let _place = WaitingPlace(self.events.clone());
        let deadline = Instant::now() + request.wait.min(WAIT_MAX);
        Ok(Some(AwaitedChange { request, empty: delta, listener, deadline, _place }))
    }

    /// Waits for a change, for the end of the time, or for the end of the session.
    pub(super) fn change_or_end(
        &self,
        mut awaited: AwaitedChange,
    ) -> impl Future<Output = AwaitedChange> + Send + use<> {
        let ending = self.ending.clone();
        async move {
            tokio::select! {
                () = awaited.listener.changed() => {}
                () = sleep_until(awaited.deadline) => {}
                () = ending.cancelled() => awaited.deadline = Instant::now(),
            }
            awaited
        }
    }

    /// Answers with the change that came, or with the same cursor. Where a change was told that
    /// is not after the cursor, goes on waiting.
    pub(super) fn answer_awaited(&mut self, awaited: AwaitedChange) -> Option<AwaitedChange> {
        if Instant::now() >= awaited.deadline && self.ending.is_cancelled() {
            // The catalog may be about to be closed.
            self.answer_delta(awaited.empty);
            return None;
        }
        let answer = match tree::delta(&self.shared, self.user, &awaited.request) {
            Ok(delta) if delta.changes.is_empty() && Instant::now() < awaited.deadline => {
                return Some(awaited);
            }
            answer => answer,
        };
        // The place for a waiting question is free before the answer goes out: a client that has
        // its answer may ask the next question at once, of any of its writers.
        drop(awaited);
        match answer {
            Ok(delta) => self.answer_delta(delta),
            Err(error) => self.reject_query(&error, None),
        }
        None
    }

    /// Tells the client of every change from now on, until the session ends. A session has one
    /// watch: a second request moves it to this writer.
    fn watch(&self) {
        let watch = tree::watch(Arc::clone(&self.shared), self.user);
        let stopped = self.events.begin_watch();
        let every = self.shared.config.timings.report;
        let (tag, events, ending) = (self.tag, self.events.clone(), self.ending.clone());
        self.shared.tracker.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = ending.cancelled() => {}
                () = tell_changes(watch, tag, &events, every) => {}
            }
        });
    }

    /// The permits of the request: a long answer keeps them until it is on its way.
    fn hold(&mut self) -> PageHold {
        PageHold { _permit: self.permits.requests.take(), _next: None }
    }

    fn answer_delta(&mut self, delta: Delta) {
        let hold = self.hold();
        self.answer_tree(TreeAnswer::Delta { delta, hold });
    }

    fn answer_tree(&self, answer: TreeAnswer) {
        if let TreeAnswer::Node { placed, .. } = &answer {
            self.observe_placed(placed);
        }
        self.tell(None, EventKind::Tree(Box::new(answer)));
    }
}

/// Tells of each change, not more often than once in `every`, and none to a client that does not
/// read: the next one says all that was left out.
async fn tell_changes(mut watch: ChangeWatch, tag: Tag, events: &EventSender, every: Duration) {
    loop {
        let kind = match watch.next().await {
            Ok(Some(change)) => EventKind::Tree(Box::new(TreeAnswer::LastChange(change))),
            Ok(None) => return,
            Err(rejection) => {
                events.send(tag, None, EventKind::Rejected(rejection));
                return;
            }
        };
        while events.is_backed_up() {
            sleep(every).await;
        }
        events.send(tag, None, kind);
        sleep(every).await;
    }
}

fn placed(action: NodeAction, placed: PlacedNode) -> TreeAnswer {
    TreeAnswer::Node { action, placed: Box::new(placed) }
}
