//! Random commands to a running server, compared with a model that was written only from `SPEC.md`:
//! the model must allow each reply, and at the end every promise must be kept. A sequence that
//! fails is shrunk; the shortest one is kept in `regressions.txt` beside this file, and is tried
//! first in every later run.
//!
//! `TOWLINE_SEED` runs the same sequences again; `TOWLINE_LONG=1` runs many more, and
//! `TOWLINE_LONG=SECONDS` runs for about this time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command;
mod document;
mod host;
mod world;

use command::Command;
use host::Host;
use proptest::prelude::*;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use towline_tests::test_file::run_seed;
use world::World;

/// After this time no new sequence begins, unless more time is asked for.
const QUICK: Duration = Duration::from_secs(25);

/// The reason for which a run ends.
const ENOUGH: &str = "the time is over";

fn budget() -> Duration {
    match std::env::var("TOWLINE_LONG").ok().as_deref() {
        None | Some("" | "0") => QUICK,
        Some("1") => QUICK * 12,
        Some(seconds) => Duration::from_secs(seconds.parse().expect("1, or a number of seconds")),
    }
}

/// A runner whose sequences are determined by the seed of this run.
fn runner(salt: u64) -> TestRunner {
    let config = Config {
        cases: u32::MAX,
        max_global_rejects: 0,
        max_shrink_iters: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/model/regressions.txt",
        ))),
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(run_seed() ^ salt).to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fn agree(
    name: &str,
    salt: u64,
    host: impl AsyncFn() -> (Host, Vec<towline_tests::site::TestUser>),
) {
    let began = Instant::now();
    let budget = budget();
    let cases = Cell::new(0u32);
    let done = RefCell::new(BTreeMap::<&str, u64>::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sequences = prop::collection::vec(command::command(), 1..70);
    // Set while a sequence runs. A sequence that has panicked leaves it set, and later runs are
    // those that shrink the sequence.
    let runs = Cell::new(false);
    let outcome = runner(salt).run(&sequences, |commands: Vec<Command>| {
        if began.elapsed() > budget && !runs.replace(true) {
            return Err(TestCaseError::reject(ENOUGH));
        }
        runs.set(true);
        runtime.block_on(async {
            let (host, users) = host().await;
            let mut world = World::new(host, users);
            for command in &commands {
                world.apply(command).await;
            }
            world.finish().await;
            for (what, count) in world.counts() {
                *done.borrow_mut().entry(what).or_default() += count;
            }
        });
        runs.set(false);
        cases.set(cases.get() + 1);
        Ok(())
    });
    println!("{name}: {} sequences in {:?}: {:?}", cases.get(), began.elapsed(), done.borrow());
    if let Err(error) = outcome {
        match error {
            TestError::Fail(reason, commands) => panic!("{reason}\n{commands:#?}"),
            // A single rejection ends the run, and the end of the time is its only reason.
            TestError::Abort(_) => {}
        }
    }
}

#[test]
fn a_server_agrees_with_the_model() {
    agree("inside", 0, Host::inside);
}

#[test]
fn a_server_that_is_killed_agrees_with_the_model() {
    agree("process", 1, Host::process);
}
