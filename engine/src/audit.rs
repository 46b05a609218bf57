//! What an operator may want to know later: who did what, and with which result. The engine says so
//! to an [`AuditObserver`], and knows neither a file nor a format. Where there is no observer,
//! nothing is made for it.

use crate::rejection::Rejection;
use crate::tree::request::TreeRequest;
use std::fmt;
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, NodeId, UserId};

/// Hears what was done and what was refused. The observer of an
/// [`Origin`](crate::Origin::observed_by) hears what that client asks for, the one of
/// [`EngineConfig::audit`](crate::EngineConfig::audit) what the engine does by itself.
pub trait AuditObserver: fmt::Debug + Send + Sync {
    /// Takes a record. It is called on the thread that did the work, which may hold locks of the
    /// engine: so it must not wait, neither for a disk nor for the engine.
    fn observe(&self, record: AuditRecord);
}

/// Something that was done, or was asked for and refused. Data and questions make no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// What it was.
    pub action: AuditAction,
    /// Whose files it is about.
    pub user: UserId,
    /// The document, where there is one.
    pub document: Option<DocumentId>,
    /// The file, folder or link.
    pub node: Option<NodeId>,
    /// Its path in the user's folder, as far as it is known: where it was, of something that was
    /// moved or removed and that the request named by its path.
    pub path: Option<String>,
    /// Where something was moved to.
    pub to: Option<String>,
    /// The length of the file in bytes.
    pub bytes: Option<u64>,
    /// The result.
    pub result: AuditResult,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditAction {
    /// An upload has begun.
    Upload,
    /// An upload was taken over and goes on.
    Resume,
    /// An upload has become a document.
    Complete,
    /// The document of an upload was there already: nothing was changed.
    Exists,
    /// An upload was given up by its owner, or by the operator.
    Cancel,
    /// An upload has ended because of an error.
    Fail,
    /// An upload has ended because no byte came for too long.
    Expire,
    /// Bytes of a document were given out.
    Read,
    /// Something got another place or name.
    Move,
    /// Something was put into the trash.
    Remove,
    /// Something was taken out of the trash, or a file got the bytes of an older version.
    Restore,
    /// A document is not given out: a scanner has found something in it, or could not look through
    /// it.
    Hold,
    /// A document that was held back is given out: the operator wants it.
    Release,
    /// A document in the quarantine was deleted: the operator wants it.
    Delete,
    /// A folder was made.
    MakeFolder,
    /// A link was made.
    MakeLink,
}

/// The result of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditResult {
    /// It was done.
    Done,
    /// It was refused, or ended so.
    Refused(Rejection),
    /// An upload has ended without a document, for that reason.
    Ended(String),
}

impl AuditRecord {
    /// Something that was done and of which nothing more is known.
    pub(crate) fn done(action: AuditAction, user: UserId) -> Self {
        Self {
            action,
            user,
            document: None,
            node: None,
            path: None,
            to: None,
            bytes: None,
            result: AuditResult::Done,
        }
    }

    /// The record of a request about the tree, as far as the request says what it is about; `None`
    /// for a request that changes nothing.
    pub(crate) fn of_tree_request(user: UserId, request: &TreeRequest) -> Option<Self> {
        let about = |action, node: &NodeRef| match node {
            NodeRef::Path(path) => {
                Self { path: Some(path.to_string()), ..Self::done(action, user) }
            }
            NodeRef::Id(id) => Self { node: Some(*id), ..Self::done(action, user) },
        };
        let at = |action, path: &dyn fmt::Display| Self {
            path: Some(path.to_string()),
            ..Self::done(action, user)
        };
        Some(match request {
            TreeRequest::MakeFolder { path, .. } => at(AuditAction::MakeFolder, path),
            TreeRequest::MakeLink(link) => at(AuditAction::MakeLink, &link.path),
            TreeRequest::Move { node, to, .. } => {
                Self { to: Some(to.to_string()), ..about(AuditAction::Move, node) }
            }
            TreeRequest::Remove { node, .. } => about(AuditAction::Remove, node),
            TreeRequest::Restore(node) => about(AuditAction::Restore, node),
            TreeRequest::RestoreVersion { file, version } => {
                Self { document: Some(*version), ..about(AuditAction::Restore, file) }
            }
            TreeRequest::Stat(_)
            | TreeRequest::List(_)
            | TreeRequest::Trash { .. }
            | TreeRequest::Uploads { .. }
            | TreeRequest::Versions { .. }
            | TreeRequest::Delta(_)
            | TreeRequest::Watch => return None,
        })
    }
}
