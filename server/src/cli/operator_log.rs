//! The lines of the audit log about what the operator does beside the server: who may use it, and
//! with which tokens and keys.

use super::store::caller;
use crate::audit::append;
use crate::listening::Listening;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use towline_engine::storage::DataFolder;
use towline_state::catalog::User;

/// The audit log of the server that ran last over a data folder.
pub(super) struct OperatorLog(Option<PathBuf>);

impl OperatorLog {
    /// The log of that data folder, where its server writes one.
    pub(super) fn of(folder: &DataFolder) -> Self {
        Self::at(folder.path())
    }

    fn at(data_dir: &Path) -> Self {
        Self(Listening::of(data_dir).and_then(|listening| listening.audit_log))
    }

    /// Records something that was done. Where that fails, the operator is told, and the command goes
    /// on: what was done is done. Blocks.
    pub(super) fn record(&self, event: &str, mut fields: Value) {
        let Some(path) = &self.0 else { return };
        fields["by"] = json!("operator");
        fields["result"] = json!("ok");
        fields["uid"] = json!(caller());
        if let Err(error) = append(path, event, fields) {
            let _ = writeln!(
                std::io::stderr(),
                "towlined: the audit log {} has no line of this: {error}",
                path.display()
            );
        }
    }

    /// The same for something that was done about a user.
    pub(super) fn record_of(&self, event: &str, user: &User, mut fields: Value) {
        fields["user"] = json!(user.name);
        fields["user_id"] = json!(user.user_id);
        self.record(event, fields);
    }
}
