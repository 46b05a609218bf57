//! Where a reader of a user's changes stands.

use std::fmt;
use std::str::FromStr;
use towline_types::{ChangeId, UserId};

/// A position in a user's log of changes, or in the snapshot before it. Its text is opaque to
/// clients. It holds for one user and one epoch of that user's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) user_id: UserId,
    pub(super) epoch: i64,
    pub(super) at: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// All changes up to this one were read.
    Log(ChangeId),
    /// Of the snapshot all nodes up to the one with this number were read; the changes after
    /// `head` follow when it ends.
    Snapshot { head: ChangeId, after: i64 },
}

/// How far a user's log of changes reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// The last change.
    pub last: ChangeId,
    /// Another number means another log: a copy of the catalog was put back.
    pub epoch: u64,
    /// Changes up to this one are not kept any more.
    pub horizon: ChangeId,
}

impl Cursor {
    /// The last change that a client has seen which has this cursor.
    #[must_use]
    pub const fn last_change(&self) -> ChangeId {
        match self.at {
            Position::Log(last) | Position::Snapshot { head: last, .. } => last,
        }
    }

    /// Behind all changes that there are.
    #[must_use]
    pub fn at(user_id: UserId, head: &LogHead) -> Self {
        Self { user_id, epoch: head.epoch.cast_signed(), at: Position::Log(head.last) }
    }

    /// Behind that change, in the same log.
    #[must_use]
    pub fn behind(user_id: UserId, head: &LogHead, change: ChangeId) -> Self {
        Self { user_id, epoch: head.epoch.cast_signed(), at: Position::Log(change) }
    }

    /// Whether it is within a snapshot.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        matches!(self.at, Position::Snapshot { .. })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user_id, epoch, at } = self;
        match at {
            Position::Log(id) => write!(f, "c1.{user_id}.{epoch}.{id}"),
            Position::Snapshot { head, after } => write!(f, "s1.{user_id}.{epoch}.{head}.{after}"),
        }
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no cursor of this server")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let parts: Vec<_> = text.split('.').collect();
        let number = |text: &str| -> Result<i64, BadCursor> {
            // Digits alone: the standard library takes signs too.
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain).ok_or(BadCursor)
        };
        let change = |text: &str| ChangeId::from_i64(number(text)?).map_err(|_| BadCursor);
        let user = |text: &str| UserId::from_i64(number(text)?).map_err(|_| BadCursor);
        match parts[..] {
            ["c1", user_id, epoch, id] => Ok(Self {
                user_id: user(user_id)?,
                epoch: number(epoch)?,
                at: Position::Log(change(id)?),
            }),
            ["s1", user_id, epoch, head, after] => Ok(Self {
                user_id: user(user_id)?,
                epoch: number(epoch)?,
                at: Position::Snapshot { head: change(head)?, after: number(after)? },
            }),
            _ => Err(BadCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_reads() {
        for text in ["c1.7.1700000000000.0", "s1.7.1.12.345", "c1.1.0.9223372036854775807"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "c1",
            "c1.0.1.2",
            "c1.1.1",
            "c1.1.1.2.3",
            "c2.1.1.2",
            "c1.+1.1.2",
            "c1.1.-1.2",
            "c1.1.1.9223372036854775808",
            "s1.1.1.2",
            "12350",
            "c1.1.1.2 ",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
        }
    }
}
