//! What the observer of a writer hears: one record for each command that changes something.

use super::state::{OrderedWriter, WriterState};
use crate::audit::{AuditAction, AuditRecord, AuditResult};
use crate::command::{Command, RejectedRequest};
use crate::receipt::Receipt;
use crate::rejection::Rejection;
use crate::tree::request::PlacedNode;
use towline_types::DocumentId;

impl OrderedWriter {
    /// Keeps what a command asks for until its answer is known. Without an observer this costs one
    /// look.
    pub(super) fn note_asked(&mut self, command: &Command) {
        self.asked = match self.origin.is_observed() {
            true => self.record_of(command).map(Box::new),
            false => None,
        };
    }

    fn record_of(&self, command: &Command) -> Option<AuditRecord> {
        let done = |action| AuditRecord::done(action, self.user);
        let of_open = |action| match &self.state {
            WriterState::Active(open) => AuditRecord {
                document: Some(open.active.document_id),
                path: Some(open.active.ask(|upload| upload.path().to_string())),
                ..done(action)
            },
            _ => done(action),
        };
        Some(match command {
            Command::Begin(new) => AuditRecord {
                path: Some(new.path.to_string()),
                bytes: new.length.declared().map(u64::from),
                ..done(AuditAction::Upload)
            },
            Command::Whole(whole) => AuditRecord {
                path: Some(whole.new.path.to_string()),
                bytes: Some(whole.data.bytes().len() as u64),
                ..done(AuditAction::Upload)
            },
            Command::Resume(request) => {
                AuditRecord { document: Some(request.id), ..done(AuditAction::Resume) }
            }
            Command::Complete(request) => match request.id {
                Some(id) => AuditRecord { document: Some(id), ..done(AuditAction::Complete) },
                None => of_open(AuditAction::Complete),
            },
            Command::Cancel(id) => AuditRecord { document: Some(*id), ..done(AuditAction::Cancel) },
            Command::Tree(request) => return AuditRecord::of_tree_request(self.user, request),
            // The door has read no path and no length that could be recorded.
            Command::Reject { request, .. } => match *request {
                RejectedRequest::Upload(None) => done(AuditAction::Upload),
                RejectedRequest::Upload(id) => {
                    AuditRecord { document: id, ..done(AuditAction::Resume) }
                }
                RejectedRequest::Tree(action) => done(action),
                RejectedRequest::Change | RejectedRequest::Query => return None,
            },
            Command::Join { .. }
            | Command::Data { .. }
            | Command::Announce { .. }
            | Command::Withdraw(_)
            | Command::BeginRequest(_)
            | Command::EndRequest(_)
            | Command::Declare(_)
            | Command::Pull(_)
            | Command::Query(_) => return None,
        })
    }

    /// The command under way was done.
    pub(super) fn observe_done(&self, document: Option<DocumentId>) {
        self.observe(|record| AuditRecord { document: document.or(record.document), ..record });
    }

    /// A command about the open upload was done.
    pub(super) fn observe_open(&self) {
        let WriterState::Active(open) = &self.state else { return };
        self.observe(|record| AuditRecord {
            document: Some(open.active.document_id),
            path: Some(open.active.ask(|upload| upload.path().to_string())),
            bytes: open.active.length().declared().map(u64::from),
            ..record
        });
    }

    /// A request about the tree was done.
    pub(super) fn observe_placed(&self, placed: &PlacedNode) {
        let path = |placed: &PlacedNode| placed.path.as_ref().map(ToString::to_string);
        self.observe(|record| AuditRecord {
            node: Some(placed.node.node_id),
            // What is in the trash has no place, and what was moved has another one than before.
            path: record.path.clone().or_else(|| path(placed)),
            // It got another name where its own was taken.
            to: record.to.clone().or_else(|| {
                path(placed).filter(|to| {
                    record.action == AuditAction::Restore
                        && record.path.as_ref().is_some_and(|path| path != to)
                })
            }),
            ..record
        });
    }

    /// The command under way was refused.
    pub(super) fn observe_refusal(&self, rejection: &Rejection, document: Option<DocumentId>) {
        self.observe(|record| AuditRecord {
            document: record.document.or(document),
            result: AuditResult::Refused(rejection.clone()),
            ..record
        });
    }

    /// A document is in its place: by an upload, or since before.
    pub(super) fn observe_receipt(&self, receipt: &Receipt, action: AuditAction) {
        self.origin.observe(|| receipt.audit_record(action));
    }

    fn observe(&self, change: impl FnOnce(AuditRecord) -> AuditRecord) {
        if let Some(record) = &self.asked {
            self.origin.observe(|| change((**record).clone()));
        }
    }
}
