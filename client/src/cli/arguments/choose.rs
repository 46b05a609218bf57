//! `--include` and `--exclude`: what of folders is sent, fetched or compared.

use crate::cli::error::CliError;
use crate::text::printable;
use crate::walk::{Rule, Rules};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// The rules, in the order in which they were typed.
#[derive(Debug, Default)]
pub(in crate::cli) struct ChooseArgs {
    rules: Vec<Rule>,
}

/// The options as clap reads them, without their order.
#[derive(Debug, Args)]
struct Typed {
    /// Only files that match, in the syntax of .gitignore; where several --include and --exclude
    /// match, the first one decides
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out files and folders that match, in the syntax of .gitignore; a file .towlineignore in
    /// a local folder does the same for that folder
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

impl ChooseArgs {
    pub(in crate::cli) fn rules(&self) -> Result<Rules, CliError> {
        Rules::new(self.rules.clone()).map_err(|error| {
            CliError::usage(format!("--include, --exclude: {}", printable(&error.to_string())))
        })
    }
}

impl FromArgMatches for ChooseArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Typed { include, exclude } = Typed::from_arg_matches(matches)?;
        let place = |id: &str| matches.indices_of(id).into_iter().flatten();
        let mut rules: Vec<(usize, Rule)> = place("include")
            .zip(include.into_iter().map(Rule::Include))
            .chain(place("exclude").zip(exclude.into_iter().map(Rule::Exclude)))
            .collect();
        rules.sort_by_key(|(place, _)| *place);
        Ok(Self { rules: rules.into_iter().map(|(_, rule)| rule).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ChooseArgs {
    fn augment_args(command: Command) -> Command {
        Typed::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Typed::augment_args_for_update(command)
    }
}
