//! What arrives in the store of a sitting, page by page and sender by sender.

use crate::tcp::upload_state;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use towline_engine::{
    Account, DeltaRequest, Engine, OpenFile, Origin, PAGE_ENTRIES_MAX, Rejection, RejectionKind,
    Since,
};
use towline_protocol::reply::UploadState;
use towline_state::catalog::{Cursor, Node, NodeRef, NodeVersion, Op};
use towline_types::{
    ChangeId, DocumentId, LinkTarget, ModifiedTime, Name, NodeId, NodeKind, PermissionBits, UserId,
};

/// The most changes of a page: what a kill of the program can have done again by the next one.
const PAGE_CHANGES: u32 = 100;

/// See the module's description.
pub struct Arrivals {
    engine: Engine,
    senders: Vec<Sender>,
    /// The sender whose turn it is.
    turn: usize,
}

struct Sender {
    user: UserId,
    account: Account,
    since: Since,
}

/// Some of what one sender has sent.
pub struct Page {
    sender: usize,
    next: Cursor,
    /// The number of the sender, which it keeps as long as the store is there.
    pub user: UserId,
    /// What has arrived, in its order.
    pub things: Vec<Thing>,
}

/// A file, a folder or a link that is whole.
#[derive(Debug, Clone)]
pub struct Thing {
    /// Its number, which no other thing ever has.
    pub node_id: NodeId,
    /// Its last change of content: a link that was made anew has another one.
    pub content_rev: ChangeId,
    /// The names of the folders that it lies in, and its own, as the sender chose them.
    pub names: Vec<Name>,
    /// When it was modified, as its sender says.
    pub mtime: Option<ModifiedTime>,
    /// Its permission bits, as its sender says.
    pub mode: Option<PermissionBits>,
    /// What it is.
    pub kind: ThingKind,
}

/// What a thing is.
#[derive(Debug, Clone)]
pub enum ThingKind {
    /// A file with these bytes.
    File(NodeVersion),
    /// A folder.
    Folder,
    /// A link that leads there.
    Link(LinkTarget),
}

impl Arrivals {
    pub(super) fn of(engine: Engine) -> Self {
        Self { engine, senders: Vec::new(), turn: 0 }
    }

    /// The next page that is there, of the senders in turn; none where there is nothing new. The same
    /// page comes again until it is [taken](Self::taken). Does not wait for anything to arrive.
    ///
    /// # Errors
    /// Where the catalog cannot be asked. Then the same page comes again.
    pub async fn page(&mut self) -> anyhow::Result<Option<Page>> {
        self.find_senders().await?;
        for _ in 0..self.senders.len() {
            loop {
                let (page, has_more) = self.page_of(self.turn).await?;
                if !page.things.is_empty() {
                    return Ok(Some(page));
                }
                self.pass(&page);
                if !has_more {
                    break;
                }
            }
            self.turn = (self.turn + 1) % self.senders.len();
        }
        Ok(None)
    }

    /// The page has been dealt with, and does not come again.
    pub fn taken(&mut self, page: &Page) {
        self.pass(page);
        self.turn = (self.turn + 1) % self.senders.len();
    }

    #[cfg(test)]
    pub(super) fn senders(&self) -> Vec<UserId> {
        self.senders.iter().map(|sender| sender.user).collect()
    }

    fn pass(&mut self, page: &Page) {
        if let Some(sender) = self.senders.get_mut(page.sender) {
            sender.since = Since::Cursor(page.next);
        }
    }

    /// The file of a document, open.
    ///
    /// # Errors
    /// Where the file is damaged or cannot be opened.
    pub async fn open(&self, page: &Page, id: DocumentId) -> anyhow::Result<OpenFile> {
        Ok(self.account(page.user).open_file(id).await?)
    }

    /// The uploads that are not complete, those without a connection as well: the first ones of each
    /// sender, as many as a page has.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn unfinished(&mut self) -> anyhow::Result<Vec<UploadState>> {
        self.find_senders().await?;
        let mut first = Vec::new();
        for sender in &self.senders {
            let page = sender.account.uploads(None, PAGE_ENTRIES_MAX).await?;
            first.extend(page.uploads.iter().map(upload_state));
        }
        Ok(first)
    }

    /// The users of a sitting are numbered from one on, and none is ever removed.
    async fn find_senders(&mut self) -> anyhow::Result<()> {
        loop {
            let user = UserId::try_from(self.senders.len() as u64 + 1)?;
            if self.engine.standing(user.into(), None).await?.is_none() {
                return Ok(());
            }
            let account = self.account(user);
            self.senders.push(Sender { user, account, since: Since::Nothing });
        }
    }

    fn account(&self, user: UserId) -> Account {
        // For the log alone: it is this program that asks.
        self.engine.account(user, Origin::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    }

    /// Whether there is more behind the page is returned as well.
    async fn page_of(&self, place: usize) -> anyhow::Result<(Page, bool)> {
        let Sender { user, account, since } = &self.senders[place];
        let request = |since| DeltaRequest { since, limit: PAGE_CHANGES, wait: Duration::ZERO };
        let delta = match account.delta(request(since.clone())).await {
            // The log does not reach back that far. What was dealt with before is known by its number.
            Err(Rejection { kind: RejectionKind::CursorReset { .. }, .. }) => {
                account.delta(request(Since::Nothing)).await?
            }
            delta => delta?,
        };
        let mut things = Vec::new();
        for change in delta.changes {
            if change.op == Op::Delete {
                continue;
            }
            // It may have been moved, replaced or removed since: what counts is how it is now.
            let placed = match account.stat(NodeRef::Id(change.node.node_id)).await {
                Err(Rejection { kind: RejectionKind::NotFound, .. }) => continue,
                placed => placed?,
            };
            let Some(path) = placed.path else { continue };
            things.extend(thing(placed.node, path.names().to_vec()));
        }
        Ok((Page { sender: place, next: delta.next, user: *user, things }, delta.has_more))
    }
}

fn thing(node: Node, names: Vec<Name>) -> Option<Thing> {
    let kind = match (node.version, node.target) {
        (Some(version), _) => ThingKind::File(version),
        (None, Some(target)) => ThingKind::Link(target),
        (None, None) if node.kind == NodeKind::Folder => ThingKind::Folder,
        // A file whose content was lost.
        (None, None) => return None,
    };
    let Node { node_id, content_rev, mtime, mode, .. } = node;
    Some(Thing { node_id, content_rev, names, mtime, mode, kind })
}
