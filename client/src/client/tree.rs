//! Requests about files, folders and links on the server: listing, making, moving, removing.

use super::Client;
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use towline_protocol::reply::{Delta, Listing, NodeAnswer, Version, Versions};
use towline_protocol::request::{self, List};
use towline_protocol::{Node, Reply, Request};
use towline_types::{NodePath, PermissionBits};

/// The most entries that one request asks for.
const PAGE_ENTRIES: u32 = 1000;

/// A part of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page<T> {
    /// What is listed, where that is not the user's own folder.
    pub(crate) node: Option<Box<Node>>,
    pub(crate) entries: Vec<T>,
    /// What asks for the next part.
    pub(crate) next: Option<String>,
}

/// The names of a path, as they go over the wire.
pub(crate) fn names(path: &NodePath) -> Vec<String> {
    path.names().iter().map(ToString::to_string).collect()
}

impl Client {
    /// A part of what lies in a folder: the first one, or the one behind `after`.
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
        let list = List { path, recursive, after, limit: Some(PAGE_ENTRIES), ..List::default() };
        let mut page = Page { node: None, entries: Vec::new(), next: None };
        let asked_after = list.after.clone();
        let take = |reply| match reply {
            Reply::List(Listing { node, entries, end, next, channel: _ }) => {
                page.node = page.node.take().or(node);
                page.entries.extend(entries);
                page.next = next;
                Ok(end)
            }
            other => Err(unexpected(&other)),
        };
        self.ask_frames("tree", |channel| Request::List(List { channel, ..list }), take).await?;
        comes_to_an_end(page, asked_after.as_deref())
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
        let mut page = Page { node: None, entries: Vec::new(), next: None };
        let asked_after = versions.after.clone();
        let take = |reply| match reply {
            Reply::Versions(Versions { node, versions, end, next, channel: _ }) => {
                page.node = page.node.take().or(node);
                page.entries.extend(versions);
                page.next = next;
                Ok(end)
            }
            other => Err(unexpected(&other)),
        };
        let request = |channel| Request::Versions(request::Versions { channel, ..versions });
        self.ask_frames("tree", request, take).await?;
        comes_to_an_end(page, asked_after.as_deref())
    }

    /// Changes behind a cursor.
    ///
    /// # Errors
    /// As of [`list_page`](Self::list_page).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn changes(&mut self, since: String) -> Result<Delta, AttemptEnd> {
        let mut all: Option<Delta> = None;
        let take = |reply| match reply {
            Reply::Delta(delta) => {
                let end = delta.end;
                let mut items = all.take().map(|all| all.items).unwrap_or_default();
                items.extend(delta.items.iter().cloned());
                all = Some(Delta { items, ..delta });
                Ok(end)
            }
            other => Err(unexpected(&other)),
        };
        let since = Some(since);
        let delta =
            |channel| Request::Delta(request::Delta { channel, since, ..Default::default() });
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
    /// As of [`mkdir`](Self::mkdir).
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
    /// As of [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped may have removed it.
    pub(crate) async fn remove(&mut self, remove: request::Remove) -> Result<NodeAnswer, Failure> {
        self.change(|channel| Request::Remove(request::Remove { channel, ..remove })).await
    }

    /// Takes something out of the trash, or gives a file an older version.
    ///
    /// # Errors
    /// As of [`mkdir`](Self::mkdir).
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
    /// As of [`mkdir`](Self::mkdir).
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn stat(&mut self, path: &NodePath) -> Result<NodeAnswer, Failure> {
        let path = Some(names(path));
        let request =
            |channel| Request::Stat(request::Stat { channel, path, ..request::Stat::default() });
        self.change(request).await
    }

    /// The same as [`list_page`](Self::list_page), of which one attempt is made.
    ///
    /// # Errors
    /// As of [`mkdir`](Self::mkdir).
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

    /// The same as [`versions_page`](Self::versions_page), of which one attempt is made.
    ///
    /// # Errors
    /// As of [`mkdir`](Self::mkdir).
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
    /// As of [`mkdir`](Self::mkdir).
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
        request: impl FnOnce(towline_protocol::Channel) -> Request,
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
        request: impl FnOnce(towline_protocol::Channel) -> Request,
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

/// A part that has nothing, or leads to itself, would be followed by others for ever.
fn comes_to_an_end<T>(page: Page<T>, asked_after: Option<&str>) -> Result<Page<T>, AttemptEnd> {
    let is_empty = page.next.is_some() && page.entries.is_empty();
    let is_round = page.next.is_some() && page.next.as_deref() == asked_after;
    if is_empty || is_round {
        return Err(AttemptEnd::protocol("a listing without an end"));
    }
    Ok(page)
}

fn unexpected(reply: &Reply) -> AttemptEnd {
    AttemptEnd::protocol(format!("unexpected: {reply:?}"))
}
