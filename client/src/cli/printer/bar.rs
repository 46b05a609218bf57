//! The text of one line of progress at a given width. Pure.

use super::meter::Meter;
use crate::units;
use console::{measure_text_width, truncate_str};
use std::time::{Duration, Instant};

/// The least number of columns of a name: shorter names of two files could look the same.
const NAME_MIN: usize = 8;

/// The number of columns that the bar keeps while the name is shortened.
const BAR_USUAL: usize = 10;

/// The least number of columns of a bar: a shorter one shows no difference.
const BAR_MIN: usize = 4;

/// The number of columns between two parts of a line.
const GAP: usize = 2;

/// The characters that the terminal is expected to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glyphs {
    Unicode,
    Ascii,
}

impl Glyphs {
    /// ASCII where the locale is `C` or `POSIX`; Unicode where it is another one or not set.
    pub(super) fn of_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        match locale.as_deref() {
            Some("C" | "POSIX") => Self::Ascii,
            _ => Self::Unicode,
        }
    }

    fn cut(self) -> &'static str {
        if self == Self::Unicode { "…" } else { "~" }
    }

    fn bar(self, part: u64, whole: u64, width: usize) -> String {
        let (full, tip, empty) =
            if self == Self::Unicode { ('━', '╸', '─') } else { ('=', '>', '-') };
        let cells = u128::from(part) * width as u128;
        let done = cells.checked_div(u128::from(whole)).unwrap_or(width as u128);
        let done = usize::try_from(done).unwrap_or(width).min(width);
        let mut bar: String = std::iter::repeat_n(full, done).collect();
        if done < width {
            bar.push(if part > 0 { tip } else { empty });
            bar.extend(std::iter::repeat_n(empty, width - done - 1));
        }
        bar
    }
}

/// A file that is being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moving<'a> {
    pub(super) name: &'a str,
    pub(super) part: u64,
    pub(super) whole: u64,
    /// Bytes per second, once that is known.
    pub(super) rate: Option<u64>,
    pub(super) left: Option<Duration>,
}

impl<'a> Moving<'a> {
    /// The file of that name, with the numbers of its meter.
    pub(super) fn of(name: &'a str, meter: &Meter, now: Instant) -> Self {
        Self {
            name,
            part: meter.position(),
            whole: meter.total(),
            rate: meter.rate(now),
            left: meter.left(now),
        }
    }
}

/// Name, bar, percent, bytes, rate, time left. In a narrow terminal the name is shortened first,
/// then the bar, and the bytes are left out where there is no room for a name; the percent, the
/// rate and the time always stay.
pub(super) fn moving(width: usize, file: Moving<'_>, glyphs: Glyphs) -> String {
    let percent = format!("{:>3}%", units::percent(file.part, file.whole));
    let rate = file.rate.map_or_else(String::new, units::rate);
    let left = file.left.map_or_else(String::new, |left| format!("{} left", units::clock(left)));
    let mut tail = format!("{percent}  {rate:>10}  {left:>9}");
    let pair = units::pair(file.part, file.whole);
    let widest = measure_text_width(&units::pair(file.whole, file.whole));
    let name_least = measure_text_width(file.name).min(NAME_MIN) + GAP;
    if width >= measure_text_width(&tail) + widest + GAP + name_least {
        tail = format!("{percent}  {pair:>widest$}  {rate:>10}  {left:>9}");
    }
    let room = width.saturating_sub(measure_text_width(&tail));
    let (name_width, bar_width) = shares(room, measure_text_width(file.name));
    let mut line = String::new();
    if name_width > 0 {
        line = fitted(file.name, name_width, glyphs) + "  ";
    }
    if bar_width > 0 {
        line += &glyphs.bar(file.part, file.whole, bar_width);
        line += "  ";
    }
    cut(&(line + &tail), width, glyphs)
}

/// The columns of the name and those of the bar, each without the gap beside it.
fn shares(room: usize, name: usize) -> (usize, usize) {
    let least = name.min(NAME_MIN);
    if room < least + BAR_MIN + 2 * GAP {
        let name = name.min(room.saturating_sub(GAP));
        return (if name < 3 { 0 } else { name }, 0);
    }
    let room = room - 2 * GAP;
    let most = room.saturating_sub(BAR_USUAL).min(room / 2).max(least);
    let name = name.min(most);
    (name, room - name)
}

/// A text beside a name: the longest of `texts` that fits, and as much of the name as fits beside
/// it.
pub(super) fn beside(width: usize, name: &str, texts: &[String], glyphs: Glyphs) -> String {
    let least = measure_text_width(name).min(NAME_MIN) + GAP;
    let fits = |text: &&String| measure_text_width(text) + least <= width;
    let Some(text) = texts.iter().find(fits).or(texts.last()) else { return String::new() };
    let room = width.saturating_sub(measure_text_width(text) + GAP).max(NAME_MIN);
    let name = cut(name, room, glyphs);
    cut(&format!("{name}  {text}"), width, glyphs)
}

/// The first of these texts that fits; the last one is cut where none does.
pub(super) fn longest(texts: &[String], width: usize, glyphs: Glyphs) -> String {
    let fits = |text: &&String| measure_text_width(text) <= width;
    let text = texts.iter().find(fits).or(texts.last());
    text.map_or_else(String::new, |text| cut(text, width, glyphs))
}

/// The text, cut at the end where it is too long.
pub(super) fn cut(text: &str, width: usize, glyphs: Glyphs) -> String {
    truncate_str(text, width, glyphs.cut()).into_owned()
}

/// The text, cut or filled with spaces to exactly `width` columns.
fn fitted(text: &str, width: usize, glyphs: Glyphs) -> String {
    let mut text = cut(text, width, glyphs);
    let missing = width.saturating_sub(measure_text_width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = [
        "two.bin",
        "a very long file name that goes on and on, as they do (final) (2) [1080p].mkv",
        "日本語のとても長いファイル名テスト用データ.bin",
        "x",
    ];

    fn file(name: &str) -> Moving<'_> {
        Moving {
            name,
            part: 1_245_540_516,
            whole: 2_147_483_648,
            rate: Some(47_290_778),
            left: Some(Duration::from_secs(19)),
        }
    }

    #[test]
    fn percent_rate_and_time_stay_at_every_width() {
        for name in NAMES {
            for width in 28..=220 {
                for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
                    let line = moving(width, file(name), glyphs);
                    assert!(measure_text_width(&line) <= width, "{width}: {line}");
                    for part in ["58%", "45.1 MiB/s", "0:19 left"] {
                        assert!(line.contains(part), "{width}: {line}");
                    }
                    assert!(glyphs == Glyphs::Unicode || !line.contains('…'), "{line}");
                }
            }
        }
    }

    #[test]
    fn the_name_gives_way_first_and_then_the_bar() {
        let long = NAMES[1];
        let bar = |line: &str| line.chars().filter(|c| "━╸─".contains(*c)).count();
        let at = |width| moving(width, file(long), Glyphs::Unicode);
        assert!(at(40).starts_with("a very") && !at(40).contains("GiB  "), "{}", at(40));
        assert!(at(60).starts_with("a very"), "{}", at(60));
        for width in [80, 100, 120] {
            let line = at(width);
            assert!(line.contains('…') && bar(&line) >= BAR_USUAL, "{width}: {line}");
            assert!(line.contains("1.2/2.0 GiB"), "{line}");
        }
        // Beside a short name, the bar takes all other columns of a wide terminal.
        let wide = moving(200, file("two.bin"), Glyphs::Unicode);
        assert!(bar(&wide) > 140 && measure_text_width(&wide) == 200, "{wide}");
        assert!(at(240).contains("[1080p].mkv"), "{}", at(240));
    }

    #[test]
    fn eighty_columns() {
        assert_eq!(
            moving(80, file("two.bin"), Glyphs::Unicode),
            "two.bin  ━━━━━━━━━━━━━━━━╸────────────   58%  1.2/2.0 GiB  45.1 MiB/s  0:19 left"
        );
    }

    #[test]
    fn a_stall_is_said_at_every_width() {
        let texts = [
            "stalled for 12 s at 58%; waiting for the network (Ctrl-C pauses)".to_owned(),
            "stalled for 12 s at 58%".to_owned(),
        ];
        for name in NAMES {
            for width in 33..=200 {
                let line = beside(width, name, &texts, Glyphs::Unicode);
                assert!(line.contains("stalled for 12 s at 58%"), "{width}: {line}");
                assert!(measure_text_width(&line) <= width);
            }
        }
        assert!(beside(80, NAMES[1], &texts, Glyphs::Unicode).contains("Ctrl-C"));
    }

    #[test]
    fn nothing_of_nothing_is_all_of_it() {
        let empty = Moving { name: "e", part: 0, whole: 0, rate: None, left: None };
        assert!(moving(60, empty, Glyphs::Unicode).contains("100%"));
    }
}
