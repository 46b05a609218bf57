//! A person at one end of a link, whose machine knows only what the person has typed there.

use crate::cli_fixture::{CliFixture, Outcome, run};
use crate::netns_link::LinkEnd;
use crate::process::towline;
use std::path::PathBuf;
use tokio::process::Command;
use towline_state::state_file::{StateFile, UploadsState};

/// See the module's description. The folder, which is the current one of all commands, is that of
/// the fixture.
#[derive(Debug)]
pub struct PersonAt<'a> {
    end: &'a LinkEnd,
    cli: &'a CliFixture,
}

impl<'a> PersonAt<'a> {
    /// A person at that end.
    #[must_use]
    pub fn new(end: &'a LinkEnd, cli: &'a CliFixture) -> Self {
        Self { end, cli }
    }

    /// `towline` with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let [program, under @ ..] = self.end.under();
        let mut command = Command::new(program);
        command.args(under).arg(towline().as_std().get_program()).args(arguments);
        for variable in ["TOWLINE_SERVER", "TOWLINE_TOKEN"] {
            command.env_remove(variable);
        }
        let (config, state) = (self.cli.path("config"), self.cli.path("state"));
        command.env("XDG_CONFIG_HOME", config).env("XDG_STATE_HOME", state);
        command.current_dir(self.cli.path("."));
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        command
    }

    /// The same, run to its end.
    pub async fn types(&self, arguments: &[&str]) -> Outcome {
        run(self.command(arguments)).await
    }

    /// A file of the person's configuration.
    #[must_use]
    pub fn setting(&self, name: &str) -> PathBuf {
        self.cli.path("config/towline").join(name)
    }

    /// The list of unfinished uploads.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn unfinished(&self) -> UploadsState {
        let file = StateFile::at(self.cli.path("state/towline/uploads_state.json"));
        file.read().expect("the state file reads well")
    }
}
