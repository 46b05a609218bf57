//! The system calls of one server, counted by `strace` while one workload is put to it.

use crate::goal_test::say;
use crate::measure;
use crate::strace::{Call, Strace};
use crate::towlined::{self, Towlined};
use crate::workload::Workload;
use crate::workspace::Workspace;
use anyhow::Result;
use std::time::Duration;

/// Watched, every call takes several times as long.
const SLOWER: u32 = 4;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    SystemCalls,
    Writes,
    FileCalls,
    FileWrites,
    FileSyncs,
    FolderSyncs,
    Transactions,
    Renames,
    StateFiles,
}

impl Counter {
    pub(crate) const ALL: [Self; 9] = [
        Self::SystemCalls,
        Self::Writes,
        Self::FileCalls,
        Self::FileWrites,
        Self::FileSyncs,
        Self::FolderSyncs,
        Self::Transactions,
        Self::Renames,
        Self::StateFiles,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SystemCalls => "system calls",
            Self::Writes => "writes",
            Self::FileCalls => "calls on uploaded files",
            Self::FileWrites => "writes to uploaded files",
            Self::FileSyncs => "syncs of uploaded files",
            Self::FolderSyncs => "syncs of folders",
            Self::Transactions => "catalog transactions",
            Self::Renames => "renames of uploaded files",
            Self::StateFiles => "state files written",
        }
    }
}

/// Of one workload, from the client's start to the server's end.
#[derive(Debug, Default)]
pub(crate) struct Count([u64; Counter::ALL.len()]);

impl Count {
    /// Puts a workload to a server of its own in that workspace, and counts.
    pub(crate) fn of(workload: &Workload, workspace: &Workspace, limit: Duration) -> Result<Self> {
        let place = workspace.place()?;
        let strace = Strace::into(&place.path().join("strace.log")).map_err(anyhow::Error::msg)?;
        let watched = strace.under(&towlined::command(place.path())?);
        let towlined = Towlined::start_as(watched, place.path())?;
        let towline = towlined.put(workload.path(), towlined.address())?;
        let mark = strace.mark()?;
        let limit = limit.saturating_mul(SLOWER);
        let (wall, _) = measure::run(towline, &place.path().join("client.log"), limit)?;
        say(&format!("  watched, it took {:.1} s", wall.as_secs_f64()));
        let id = towlined.id();
        towlined.stop()?;
        strace.ended(id)?;
        let mut count = Self::default();
        strace.calls(mark, |call| count.add(call))?;
        Ok(count)
    }

    pub(crate) fn counters(&self) -> impl Iterator<Item = (Counter, u64)> {
        Counter::ALL.into_iter().zip(self.0)
    }

    /// Of each counter the lower figure.
    pub(crate) fn lower(self, other: &Self) -> Self {
        let mut lower = self;
        for (figure, other) in lower.0.iter_mut().zip(other.0) {
            *figure = other.min(*figure);
        }
        lower
    }

    fn add(&mut self, call: Call) {
        self.one_more(Counter::SystemCalls);
        // A descriptor is printed with its path, and a name behind its folder.
        let is_uploaded =
            ["/data/uploads/", "/data/uploads>"].iter().any(|path| call.arguments.contains(path));
        let is_sync = matches!(call.name, "fsync" | "fdatasync");
        let is_write =
            matches!(call.name, "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2");
        let is_rename = matches!(call.name, "rename" | "renameat" | "renameat2");
        if is_write {
            self.one_more(Counter::Writes);
        }
        // SQLite syncs its log once for each transaction that is promised.
        if is_sync && call.arguments.contains("catalog.db-wal>") {
            self.one_more(Counter::Transactions);
        }
        // The old name comes first.
        if is_rename && call.arguments.contains("/uploads_state.json\"") {
            self.one_more(Counter::StateFiles);
        }
        if !is_uploaded {
            return;
        }
        match call.name {
            // The data of files is synced by the one, names by the other.
            "fdatasync" => self.one_more(Counter::FileSyncs),
            "fsync" => self.one_more(Counter::FolderSyncs),
            _ => self.one_more(Counter::FileCalls),
        }
        if is_write {
            self.one_more(Counter::FileWrites);
        }
        if is_rename || call.name == "linkat" {
            self.one_more(Counter::Renames);
        }
    }

    fn one_more(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_for_what_it_is_about() {
        let mut count = Count::default();
        for (name, arguments) in [
            ("fdatasync", "5</w/data/uploads/.staging/1.tmp>) = 0"),
            ("fsync", "7</w/data/uploads/1>) = 0"),
            ("fsync", "8</w/data/catalog.db-wal>) = 0"),
            ("pwrite64", "5</w/data/uploads/.staging/1.tmp>, \"\"..., 9, 0) = 9"),
            ("pwrite64", "8</w/data/catalog.db-wal>, \"\"..., 9, 0) = 9"),
            ("renameat2", "3</w/data/uploads/.staging>, \"1.tmp\", 7</w/data/uploads/1>, ..."),
            ("renameat", "3</w/data>, \"/w/data/uploads_state.json\", ..."),
            ("futex", "0x7f, FUTEX_WAIT"),
        ] {
            count.add(Call { name, arguments });
        }
        let counted: Vec<u64> = count.counters().map(|(_, counted)| counted).collect();
        assert_eq!(counted, [8, 2, 2, 1, 1, 1, 1, 1, 1]);
    }
}
