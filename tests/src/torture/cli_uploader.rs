//! The real `towline put` during all disasters: it is killed from time to time, and started again
//! for the same file until the file is uploaded.

use super::ledger::{Entry, Ledger};
use super::uploader::any_file;
use crate::cli_fixture::CliFixture;
use crate::site::TestUser;
use crate::test_file::TestFile;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use towline_types::{DocumentId, Offset};

/// Runs `towline put` for one file after another, as a user of the command line does.
pub(super) struct CliUploader {
    cli: CliFixture,
    user: TestUser,
    ledger: Ledger,
    chance: fastrand::Rng,
    file: Option<(PathBuf, Arc<TestFile>)>,
    files: u32,
    run: Option<(Child, JoinHandle<()>)>,
    /// The present run, or the last one, has received SUCCESS.
    completed: Arc<AtomicBool>,
}

impl CliUploader {
    pub(super) fn new(
        cli: CliFixture,
        user: TestUser,
        ledger: &Ledger,
        chance: fastrand::Rng,
    ) -> Self {
        let ledger = ledger.clone();
        let completed = Arc::default();
        Self { cli, user, ledger, chance, file: None, files: 0, run: None, completed }
    }

    /// Makes sure that the command runs: for the next file where the last one is done, otherwise
    /// for the same file.
    pub(super) async fn go_on(&mut self) {
        if let Some((child, _)) = &mut self.run {
            match child.try_wait().expect("a child can be waited for") {
                None => return,
                Some(status) => {
                    self.forget_run().await;
                    self.judge(status);
                }
            }
        }
        if self.file.is_none() {
            let test_file = any_file(&mut self.chance);
            self.files += 1;
            let path = self.cli.write(&format!("put {}.bin", self.files), &test_file);
            self.ledger.will_be_put(self.user.id, test_file.hash());
            self.file = Some((path, test_file));
        }
        let (path, test_file) = self.file.as_ref().expect("just made");
        let mut command = self.cli.put(path);
        command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("towline can be run");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let (ledger, user, test_file) =
            (self.ledger.clone(), self.user.clone(), Arc::clone(test_file));
        let completed = Arc::clone(&self.completed);
        completed.store(false, Ordering::SeqCst);
        let listening = tokio::spawn(async move {
            let mut lines = lines;
            while let Ok(Some(line)) = lines.next_line().await {
                // A client that was killed may have printed a part of its last line.
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let is_completed = event["event"] == "completed";
                completed.fetch_or(is_completed, Ordering::SeqCst);
                hear(&ledger, &user, &test_file, &event);
            }
        });
        self.run = Some((child, listening));
    }

    /// `kill -9`, where the command runs. Returns whether it ran.
    pub(super) async fn kill(&mut self) -> bool {
        let Some((child, _)) = &mut self.run else { return false };
        let ran = matches!(child.try_wait(), Ok(None));
        if ran {
            let _ = child.start_kill();
            let _ = child.wait().await;
            self.forget_run().await;
        }
        ran
    }

    /// Completes the file that is being uploaded.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        for _ in 0..20 {
            if self.run.is_none() && self.file.is_none() {
                return Ok(());
            }
            if let Some((child, _)) = &mut self.run {
                let ended = tokio::time::timeout(crate::PATIENCE, child.wait()).await;
                let status = ended.map_err(|_| "towline put does not end".to_owned())?;
                self.forget_run().await;
                self.judge(status.expect("a child can be waited for"));
                if self.file.is_none() {
                    return Ok(());
                }
            }
            self.go_on().await;
        }
        Err("towline put never succeeds".to_owned())
    }

    /// Checks how a run has ended.
    fn judge(&mut self, status: ExitStatus) {
        match status.code() {
            Some(0) => {
                self.file = None;
                if !self.completed.swap(false, Ordering::SeqCst) {
                    self.ledger.breach("towline put ended with 0 without SUCCESS".to_owned());
                }
            }
            // Refused, interrupted, or killed by the test: the same file again.
            Some(1 | 3) | None => {}
            _ => self.ledger.breach(format!("towline put ended with {status}")),
        }
    }

    async fn forget_run(&mut self) {
        if let Some((_, listening)) = self.run.take() {
            let _ = listening.await;
        }
    }
}

/// Writes one line of `--json` to the ledger.
fn hear(ledger: &Ledger, user: &TestUser, test_file: &Arc<TestFile>, event: &Value) {
    let number = |field: &str| event[field].as_u64().unwrap_or(0);
    let Ok(id) = DocumentId::try_from(number("document_id")) else { return };
    let offset = |field| Offset::try_from(number(field)).unwrap_or(Offset::ZERO);
    match event["event"].as_str() {
        Some("started") => {
            let same = |entry: &Entry| Arc::ptr_eq(&entry.test_file, test_file);
            for earlier in ledger.of(user.id, same) {
                let kept = ledger.entry(earlier).is_some_and(|entry| entry.promised() > 0);
                if kept && earlier != id {
                    let words = format!("the client began {id} anew, {earlier} was not finished");
                    ledger.breach(words);
                }
            }
            ledger.begun(id, Entry::of_client(user.id, Arc::clone(test_file)));
        }
        // A run that was killed may have received promises, and a document number, that it did not
        // print.
        Some("resumed") => {
            if ledger.entry(id).is_none() {
                ledger.begun(id, Entry::of_client(user.id, Arc::clone(test_file)));
            }
            ledger.resumed(id, offset("received"));
        }
        Some("completed") => {
            if ledger.entry(id).is_none() {
                ledger.begun(id, Entry::of_client(user.id, Arc::clone(test_file)));
            }
            ledger.completed_by_client(id, event["blake3"].as_str().unwrap_or_default());
        }
        _ => {}
    }
    ledger.durable(id, offset("durable"));
}
