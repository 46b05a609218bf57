//! The lines of the audit log. `docs/operator.md` describes every event and every field, and a test
//! holds the log to that page.

use crate::json_line::json_line;
use serde_json::{Value, json};
use towline_engine::{AuditAction, AuditRecord, AuditResult};

/// The version of the format. It changes where an event or a field is removed or gets another
/// meaning. Additions do not change it.
const SCHEMA: u32 = 1;

/// The line that says that so many lines are missing.
pub(super) fn gap(count: u64) -> String {
    line("lost", json!({ "by": "server", "lines": count }))
}

/// A line with its newline. Each has the version, so that it can be read without those before it.
pub(super) fn line(event: &str, fields: Value) -> String {
    let mut line = json_line(Some(SCHEMA), event, fields);
    line.push('\n');
    line
}

/// The event and the fields of what was done with documents.
pub(super) fn of_record(record: AuditRecord) -> (&'static str, Value) {
    let AuditRecord { action, user, document, node, path, to, bytes, result } = record;
    let (result, reason) = match result {
        AuditResult::Done => ("ok", None),
        AuditResult::Refused(rejection) => (rejection.kind.as_str(), None),
        AuditResult::Ended(reason) => ("ended", Some(reason)),
    };
    let fields = json!({
        "result": result,
        "reason": reason,
        "user_id": user,
        "document_id": document,
        "node_id": node,
        "path": path,
        "to": to,
        "bytes": bytes,
    });
    (event(action), fields)
}

const fn event(action: AuditAction) -> &'static str {
    match action {
        AuditAction::Upload => "upload",
        AuditAction::Resume => "resume",
        AuditAction::Complete => "complete",
        AuditAction::Exists => "exists",
        AuditAction::Cancel => "cancel",
        AuditAction::Fail => "fail",
        AuditAction::Expire => "expire",
        AuditAction::Read => "read",
        AuditAction::Move => "move",
        AuditAction::Remove => "remove",
        AuditAction::Restore => "restore",
        AuditAction::Hold => "hold",
        AuditAction::Release => "release",
        AuditAction::Delete => "delete",
        AuditAction::MakeFolder => "mkdir",
        AuditAction::MakeLink => "link",
    }
}
