//! Random commands against a running server, beside a model that was written from
//! `SPEC.md` alone: each reply is one that the model allows, and in the end every
//! promise was kept. A sequence that fails shrinks; what it came down to is kept in
//! `regressions.txt` beside this file, and tried first from then on.
//!
//! `TOWLINE_SEED` gives the same sequences again; `TOWLINE_LONG=1` tries many more,
//! `TOWLINE_LONG=SECONDS` for about so long.

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

/// No new sequence is begun after so long, unless more is asked for.
const QUICK: Duration = Duration::from_secs(25);

/// Why a run ends.
const ENOUGH: &str = "the time is over";

fn budget() -> Duration {
    match std::env::var("TOWLINE_LONG").ok().as_deref() {
        None | Some("" | "0") => QUICK,
        Some("1") => QUICK * 12,
        Some(seconds) => Duration::from_secs(seconds.parse().expect("1, or a number of seconds")),
    }
}

/// A runner whose sequences follow from the seed of this run.
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
    // Set while a sequence runs: one that has panicked leaves it so, and what follows
    // is shrinking.
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
            // A single rejection ends the run; there is but one reason for it.
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
