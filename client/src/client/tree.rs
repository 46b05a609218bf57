//! Requests about files, folders and links on the server: listing, making, moving, removing.

use super::Client;
use super::answer_size::AnswerSize;
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use towline_protocol::reply::{Delta, Listing, NodeAnswer, Version, Versions};
use towline_protocol::request::{self, List};
use towline_protocol::{Channel, Node, Reply, Request};
use towline_types::{NodeId, NodePath, PermissionBits};

/// The most entries that one request asks for.
pub(super) const PAGE_ENTRIES: u32 = 1000;

/// The most changes that one request asks for.
const PAGE_CHANGES: u32 = 500;

/// A part of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page<T> {
    /// What is listed, where that is not the user's own folder.
    pub(crate) node: Option<Box<Node>>,
    pub(crate) entries: Vec<T>,
    /// What asks for the next part.
    pub(crate) next: Option<String>,
}

/// One of the frames of a page.
pub(super) struct Part<T> {
    pub(super) page: Page<T>,
    /// No frame of the page follows.
    pub(super) is_last: bool,
}

/// The names of a path, as they go over the wire.
pub(crate) fn names(path: &NodePath) -> Vec<String> {
    path.names().iter().map(ToString::to_string).collect()
}

impl Client {
    /// A part of what lies in a folder: the first one, or the one after `after`.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made) or refuses.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn list_page(
        &mut self,
        path: &NodePath,
        recursive: bool,
        after: Option<String>,
    ) -> Result<Page<Node>, AttemptEnd> {
        let path = Some(names(path));
        let page = self.listed(List { path, recursive, after, ..List::default() }).await?;
        has_something(page)
    }

    /// The entries of a part of a listing that a filter lets through: maybe none, although there
    /// is a next part. One attempt is made.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn list_some(&mut self, list: List) -> Result<Page<Node>, Failure> {
        let page = self.listed(list).await;
        page.map_err(|end| self.unanswered(end, None))
    }

    async fn listed(&mut self, list: List) -> Result<Page<Node>, AttemptEnd> {
        let list = List { limit: Some(PAGE_ENTRIES), ..list };
        let asked_after = list.after.clone();
        let request = |channel| Request::List(List { channel, ..list });
        let part = |reply| match reply {
            Reply::List(Listing { node, entries, end, next, channel: _ }) => {
                Ok(Part { page: Page { node, entries, next }, is_last: end })
            }
            other => Err(unexpected(&other)),
        };
        self.page("tree", request, asked_after, part).await
    }

    /// A part of the versions of a file, the newest first.
    ///
    /// # Errors
    /// As of [`list_page`](Self::list_page).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn versions_page(
        &mut self,
        path: &NodePath,
        after: Option<String>,
    ) -> Result<Page<Version>, AttemptEnd> {
        let path = Some(names(path));
        let limit = Some(PAGE_ENTRIES);
        let versions = request::Versions { path, after, limit, ..request::Versions::default() };
        let asked_after = versions.after.clone();
        let request = |channel| Request::Versions(request::Versions { channel, ..versions });
        let part = |reply| match reply {
            Reply::Versions(Versions { node, versions, end, next, channel: _ }) => {
                Ok(Part { page: Page { node, entries: versions, next }, is_last: end })
            }
            other => Err(unexpected(&other)),
        };
        has_something(self.page("tree", request, asked_after, part).await?)
    }

    /// Asks for a page of [`PAGE_ENTRIES`] at most, whose answer has one frame or several: `part`
    /// reads one of them.
    pub(super) async fn page<T>(
        &mut self,
        feature: &'static str,
        request: impl FnOnce(Channel) -> Request,
        asked_after: Option<String>,
        part: impl Fn(Reply) -> Result<Part<T>, AttemptEnd>,
    ) -> Result<Page<T>, AttemptEnd> {
        let mut page = Page { node: None, entries: Vec::new(), next: None };
        let mut size = AnswerSize::of(PAGE_ENTRIES);
        let take = |reply| {
            let Part { page: more, is_last } = part(reply)?;
            size.add(more.entries.len(), is_last)?;
            page.node = page.node.take().or(more.node);
            page.entries.extend(more.entries);
            page.next = more.next;
            Ok(is_last)
        };
        self.ask_frames(feature, request, take).await?;
        comes_to_an_end(page, asked_after.as_deref())
    }

    /// Changes after a cursor.
    ///
    /// # Errors
    /// As of [`list_page`](Self::list_page).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn changes(&mut self, since: String) -> Result<Delta, AttemptEnd> {
        let mut all: Option<Delta> = None;
        let mut size = AnswerSize::of(PAGE_CHANGES);
        let take = |reply| match reply {
            Reply::Delta(delta) => {
                let end = delta.end;
                size.add(delta.items.len(), end)?;
                let mut items = all.take().map(|all| all.items).unwrap_or_default();
                items.extend(delta.items.iter().cloned());
                all = Some(Delta { items, ..delta });
                Ok(end)
            }
            other => Err(unexpected(&other)),
        };
        let (since, limit) = (Some(since), Some(PAGE_CHANGES));
        let delta = |channel| {
            Request::Delta(request::Delta { channel, since, limit, ..request::Delta::default() })
        };
        self.ask_frames("changes", delta, take).await?;
        all.ok_or_else(|| AttemptEnd::protocol("no answer"))
    }

    /// Makes a folder, and those around it.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made) or refuses.
    ///
    /// # Cancel safety
    /// A call that is dropped may have made the folder.
    pub(crate) async fn mkdir(
        &mut self,
        path: &NodePath,
        mode: Option<PermissionBits>,
    ) -> Result<NodeAnswer, Failure> {
        let path = names(path);
        self.change(|channel| Request::Mkdir(request::Mkdir { channel, path, mode })).await
    }

    /// Gives a file, folder or link another place. Nothing is replaced.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped may have moved it.
    pub(crate) async fn move_to(
        &mut self,
        from: &NodePath,
        to: &NodePath,
    ) -> Result<NodeAnswer, Failure> {
        let (path, to) = (Some(names(from)), names(to));
        let request = |channel| {
            Request::Move(request::Move { channel, path, to, ..request::Move::default() })
        };
        self.change(request).await
    }

    /// Moves a file, folder or link to the trash.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped may have removed it.
    pub(crate) async fn remove(&mut self, remove: request::Remove) -> Result<NodeAnswer, Failure> {
        self.change(|channel| Request::Remove(request::Remove { channel, ..remove })).await
    }

    /// Takes something out of the trash, or gives a file an older version.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped may have restored it.
    pub(crate) async fn restore(
        &mut self,
        restore: request::Restore,
    ) -> Result<NodeAnswer, Failure> {
        self.change(|channel| Request::Restore(request::Restore { channel, ..restore })).await
    }

    /// What lies at a path.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn stat(&mut self, path: &NodePath) -> Result<NodeAnswer, Failure> {
        let path = Some(names(path));
        let request =
            |channel| Request::Stat(request::Stat { channel, path, ..request::Stat::default() });
        self.change(request).await
    }

    /// The same of a node with that number, wherever it lies.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn stat_node(&mut self, node: NodeId) -> Result<NodeAnswer, Failure> {
        let node_id = Some(node);
        let stat =
            |channel| Request::Stat(request::Stat { channel, node_id, ..request::Stat::default() });
        self.change(stat).await
    }

    /// The same as [`list_page`](Self::list_page), of which one attempt is made.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn list(
        &mut self,
        path: &NodePath,
        recursive: bool,
        after: Option<String>,
    ) -> Result<Page<Node>, Failure> {
        let page = self.list_page(path, recursive, after).await;
        page.map_err(|end| self.unanswered(end, None))
    }

    /// The next part of a recursive listing, where the connection may have rested for long since the
    /// part before: a server closes such a connection, and another one is opened then.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn list_after_rest(
        &mut self,
        path: &NodePath,
        after: Option<String>,
    ) -> Result<Page<Node>, Failure> {
        let has_rested = self.connection.is_some();
        match self.list_page(path, true, after.clone()).await {
            Err(AttemptEnd::Lost(_)) if has_rested => {
                self.hang_up();
                self.list(path, true, after).await
            }
            page => page.map_err(|end| self.unanswered(end, None)),
        }
    }

    /// The same as [`versions_page`](Self::versions_page), of which one attempt is made.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn versions(
        &mut self,
        path: &NodePath,
        after: Option<String>,
    ) -> Result<Page<Version>, Failure> {
        let page = self.versions_page(path, after).await;
        page.map_err(|end| self.unanswered(end, None))
    }

    /// The same as [`changes`](Self::changes), of which one attempt is made.
    ///
    /// # Errors
    /// As for [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn delta(&mut self, since: String) -> Result<Delta, Failure> {
        let delta = self.changes(since).await;
        delta.map_err(|end| self.unanswered(end, None))
    }

    /// Asks a question whose answer is a node.
    async fn change(
        &mut self,
        request: impl FnOnce(Channel) -> Request,
    ) -> Result<NodeAnswer, Failure> {
        let mut answer = None;
        let take = |reply| match reply {
            Reply::Stat(node)
            | Reply::Mkdir(node)
            | Reply::Link(node)
            | Reply::Move(node)
            | Reply::Remove(node)
            | Reply::Restore(node) => {
                answer = Some(node);
                Ok(true)
            }
            other => Err(unexpected(&other)),
        };
        let asked = self.ask_frames("tree", request, take).await;
        asked.map_err(|end| self.unanswered(end, None))?;
        answer.ok_or_else(|| Failure::Protocol("no answer".to_owned()))
    }

    async fn ask_frames(
        &mut self,
        feature: &'static str,
        request: impl FnOnce(Channel) -> Request,
        take: impl FnMut(Reply) -> Result<bool, AttemptEnd>,
    ) -> Result<(), AttemptEnd> {
        let server = self.server().clone();
        let connection = self.connected().await?;
        if !connection.knows(feature) {
            return Err(Failure::NotSupported { server }.into());
        }
        let request = request(connection.new_channel());
        connection.ask_for_frames(&request, take).await
    }
}

/// A part that leads to itself would be followed by others for ever.
fn comes_to_an_end<T>(page: Page<T>, asked_after: Option<&str>) -> Result<Page<T>, AttemptEnd> {
    if page.next.is_some() && page.next.as_deref() == asked_after {
        return Err(without_end());
    }
    Ok(page)
}

/// A part that has nothing would be followed by others for ever. (The last part may have nothing,
/// and so may one of a listing with a filter.)
fn has_something<T>(page: Page<T>) -> Result<Page<T>, AttemptEnd> {
    if page.next.is_some() && page.entries.is_empty() {
        return Err(without_end());
    }
    Ok(page)
}

fn without_end() -> AttemptEnd {
    AttemptEnd::protocol("a listing without an end")
}

pub(super) fn unexpected(reply: &Reply) -> AttemptEnd {
    AttemptEnd::protocol(format!("unexpected: {reply:?}"))
}
