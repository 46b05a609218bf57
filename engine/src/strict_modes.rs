//! Refuses to open a store that other users of the machine may change.

use crate::storage::{FolderError, RightsFault, rights};
use std::fmt;
use std::path::Path;

/// What gives other users of the machine more rights than is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooseRights(Vec<RightsFault>);

impl LooseRights {
    /// Refuses where one of the faults stops a start. Where `is_strict` is not set, none of them does.
    ///
    /// # Errors
    /// With all faults that stop a start.
    pub fn refuse(faults: Vec<RightsFault>, is_strict: bool) -> Result<(), Self> {
        let mut refused = faults;
        refused.retain(|fault| is_strict && !fault.is_only_a_warning());
        if refused.is_empty() { Ok(()) } else { Err(Self(refused)) }
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[RightsFault] {
        &self.0
    }
}

impl std::error::Error for LooseRights {}

impl fmt::Display for LooseRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "other users of this machine have more rights than is safe, so the server does not start. \
             Nothing was changed.",
        )?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        f.write_str(
            "\nThen start the server again. (strict_modes = false in the configuration file makes \
             warnings of these errors.)",
        )
    }
}

/// Looks at the rights of the store at that path. Nothing is changed.
///
/// # Errors
/// Where the folder cannot be looked at.
pub fn look(data_dir: &Path) -> Result<Vec<RightsFault>, FolderError> {
    rights::look(data_dir)
}
