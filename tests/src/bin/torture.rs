//! Kills, power cuts and double crashes at random, for a given time or number:
//!
//! ```sh
//! cargo run -p towline-tests --bin torture -- --minutes 10 --seed 1
//! cargo run -p towline-tests --bin torture -- --kills 1000 --cuts 1000 --doubles 200
//! ```
//!
//! Prints its counts while it runs and a table at the end; the exit code is 1 where a promise was
//! broken. Power cuts need root and `mkfs.ext4`; without them the table says that they were
//! skipped, and the exit code is 3. Release builds have no failpoints, so this program does not
//! work with them.

use clap::Parser;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use towline_tests::torture::{CrashTest, Goal};

#[derive(Debug, Parser)]
struct Arguments {
    /// Stop after that number of minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Where chance begins; what timing leaves of it can be had again.
    #[arg(long)]
    seed: Option<u64>,
    /// The number of `kill -9`, of server and client.
    #[arg(long)]
    kills: Option<u64>,
    /// The number of power cuts.
    #[arg(long)]
    cuts: Option<u64>,
    /// The number of crashes during recovery.
    #[arg(long)]
    doubles: Option<u64>,
    /// Failpoints that are always set: `sync.data=fake` must break a promise.
    #[arg(long, value_name = "PLAN")]
    failpoints: Option<String>,
    /// A server that says SUCCESS before it is durable.
    #[arg(long)]
    relaxed: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments { minutes, seed, kills, cuts, doubles, failpoints, relaxed } = arguments;
    let goal = match (kills, cuts, doubles) {
        (None, None, None) => Goal::ENDLESS,
        _ => Goal {
            kills: kills.unwrap_or(0),
            cuts: cuts.unwrap_or(0),
            doubles: doubles.unwrap_or(0),
        },
    };
    // Without any limit it stops after one minute.
    let minutes = minutes.or((goal == Goal::ENDLESS).then_some(1));
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let torture = CrashTest {
        until,
        failpoints,
        is_relaxed: relaxed,
        is_loud: true,
        ..CrashTest::of(seed, goal)
    };
    let report = torture.run().await;
    println!("\n{report}");
    match (&report.broken, &report.no_power_cuts) {
        (Some(_), _) => ExitCode::from(1),
        (None, Some(_)) if goal.cuts > 0 => ExitCode::from(3),
        (None, _) => ExitCode::SUCCESS,
    }
}
