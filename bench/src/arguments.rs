//! What was typed.

use crate::floor::Floor;
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Measures Towline beside a floor and its peers, in turn, on one machine.
#[derive(Debug, Parser)]
#[command(name = "towline-bench", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures all of them, every round each once in an order of its own
    Compare(Compare),
    /// Counts what a server asks of the system, and fails where that has grown beyond the baseline
    Counters(Counters),
    /// One end of the floor program
    #[command(hide = true)]
    Floor(Floor),
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Rounds; in each, every contender runs once to warm up and is then measured [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// The length of the big file [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,
    /// The number of small files, of 4 KiB each [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    files: Option<u32>,
    /// Only those whose names begin so, and what they have in common: floor,towline,"rsync --fsync"
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only these sections: big,small,get,many,idle,fair,resume,sizes,weak,counters
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) section: Vec<String>,
    /// Where everything lies, sent and received [default: a temporary folder in target/]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Makes order and bytes the same again [default: another each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// The longest that any one command may take
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = humantime::parse_duration)]
    pub(crate) limit: Duration,
    /// Where the page goes [default: bench/RESULTS.md; with --quick, into target/]
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Where the chart goes [default: bench/results.svg; with --quick, into target/]
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Shows that all of it works: one round of 16 MiB and 100 files, without warm-up, and
    /// the other sections as small
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Counters {
    /// The file with the counts to compare with [default: bench/counters.txt]
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Writes that file anew instead of comparing
    #[arg(long)]
    pub(crate) write: bool,
    /// How often each workload runs; the lowest count of each kind is taken
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Where everything lies, sent and received [default: a temporary folder in target/]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The longest that any one command may take
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = humantime::parse_duration)]
    pub(crate) limit: Duration,
}

impl Compare {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 7 })
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let default = if self.quick { ByteSize::mib(16) } else { ByteSize::gib(1) };
        self.size.unwrap_or(default).as_u64().max(1)
    }

    pub(crate) fn files(&self) -> u32 {
        self.files.unwrap_or(if self.quick { 100 } else { 10_000 })
    }

    /// Whether a contender of that name takes part.
    pub(crate) fn wants(&self, contender: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| contender.starts_with(name.as_str()))
    }
}
