//! A question that a person answers at the terminal with yes or no.

use std::io::Write as _;

/// Asks, and waits for the answer. Everything but `y` and `yes` is a no. Blocks.
pub(super) fn agrees(question: &str) -> bool {
    let mut answer = String::new();
    eprint!("{}? [y/N] ", question.trim_end());
    let _ = std::io::stderr().flush();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
