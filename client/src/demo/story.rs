//! The demo's words.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// Tells what happens, when it happens.
pub(super) struct Story {
    begun: Instant,
}

impl Story {
    pub(super) fn begin(path: &Path, filesize_bytes: u64) -> Self {
        let path = crate::printable(&path.display().to_string());
        say("Towline demo: one file, one cut connection, one killed server.");
        say(&format!("The file: {path}, {} bytes.\n", grouped(filesize_bytes)));
        Self { begun: Instant::now() }
    }

    pub(super) fn tell(&self, what: &str) {
        say(&format!("{:5.2} s  {what}", self.begun.elapsed().as_secs_f64()));
    }

    pub(super) fn end(&self, again_bytes: u64, filesize_bytes: u64) {
        let again = match again_bytes {
            0 => "Not one byte was sent again.".to_owned(),
            bytes => format!(
                "Sent again, after both interruptions: {} bytes, {}. After a cut nothing has to \
                 be; after a kill, what had come in the last second.",
                grouped(bytes),
                share(bytes, filesize_bytes)
            ),
        };
        say(&format!("\n{again}\n"));
        say("Now with files of your own:");
        say(
            "  towline serve                     a server over ./storage; it says how to send to it",
        );
        say("  towline put FILE --to HOST        break it off anywhere, run it again");
        say("  README.md                         the rest");
    }
}

/// A part of the whole, for people.
pub(super) fn share(bytes: u64, of_bytes: u64) -> String {
    let per_mille = (u128::from(bytes) * 1000).checked_div(u128::from(of_bytes)).unwrap_or(0);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// A number with its thousands set apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A reader who has gone away does not stop the demo.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(share(1, 3), "33.3 %");
        assert_eq!(share(0, 0), "0.0 %");
    }
}
