//! The line that a sender can use: offered, renewed when it was used or has expired, and waited for while
//! this machine has no address that could be in it.

use super::teller::{NewLine, Teller};
use crate::cli::error::{CliError, of_server};
use crate::exit::Exit;
use towline_server::cli::{Line, LineState, Lines};

/// See the module's description.
pub(super) struct Offer {
    once: bool,
    state: State,
}

enum State {
    Good(Line),
    /// There is none. `is_told`: the person knows that this machine has no address for one.
    Wanted {
        why: NewLine,
        expired: Option<Line>,
        is_told: bool,
    },
    /// With `--once`: it was used, and no other one follows.
    Over,
}

impl Offer {
    /// The first line. A person who is told at the beginning that there can be none can do something
    /// about it.
    pub(super) async fn first(
        once: bool,
        lines: &Lines,
        teller: &Teller,
    ) -> Result<Self, CliError> {
        let Some(line) = lines.next(None).await.map_err(of_server)? else {
            return Err(CliError::new(
                Exit::Refused,
                "this machine has no address that others could use: connect it to a network, or say \
                 one with --listen HOST:PORT",
            ));
        };
        teller.new_line(&line.reveal(), NewLine::First { once });
        Ok(Self { once, state: State::Good(line) })
    }

    /// Looks whether the line can still be used, and offers the next one where it cannot. Returns
    /// whether it was used since the last look, if only between the two.
    pub(super) async fn renew(&mut self, lines: &Lines, teller: &Teller) -> Result<bool, CliError> {
        let was_used = self.look(lines).await?;
        let State::Wanted { why, expired, is_told } = &mut self.state else { return Ok(was_used) };
        match lines.next(expired.as_ref()).await.map_err(of_server)? {
            Some(line) => {
                teller.new_line(&line.reveal(), *why);
                self.state = State::Good(line);
            }
            // The network may come back: those who have joined go on then, and the next one gets a line.
            None if !*is_told => {
                teller.waits_for_network();
                *is_told = true;
            }
            None => {}
        }
        Ok(was_used)
    }

    async fn look(&mut self, lines: &Lines) -> Result<bool, CliError> {
        let State::Good(line) = &self.state else { return Ok(false) };
        let found = lines.state(line).await.map_err(of_server)?;
        let wanted = |why, expired| State::Wanted { why, expired, is_told: false };
        self.state = match (found, std::mem::replace(&mut self.state, State::Over)) {
            (LineState::Good, good) => good,
            (LineState::Used, _) if self.once => State::Over,
            (LineState::Used, _) => wanted(NewLine::Used, None),
            (LineState::Expired, State::Good(line)) => wanted(NewLine::Expired, Some(line)),
            (LineState::Expired, other) => other,
        };
        Ok(found == LineState::Used)
    }

    /// The sender who has used the line has gone and sent nothing: without another line nobody could
    /// send anything any more, and the sitting would wait for ever.
    pub(super) fn was_for_nothing(&mut self) {
        if matches!(self.state, State::Over) {
            let why = NewLine::UsedForNothing;
            self.state = State::Wanted { why, expired: None, is_told: false };
        }
    }
}
