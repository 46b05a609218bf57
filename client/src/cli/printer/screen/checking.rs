//! The line of a file that is read or copied before it is sent, or in place of the sending.

use crate::cli::printer::bar::{self, Glyphs, Moving};
use crate::cli::printer::meter::Meter;
use crate::units;
use std::time::Instant;

/// A file that is being read to compare it, or that the server copies.
#[derive(Debug)]
pub(super) struct Checking {
    pub(super) deed: Deed,
    pub(super) name: String,
    pub(super) meter: Meter,
}

/// What is done with a file before it is sent, or in place of the sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::printer) enum Deed {
    /// This machine reads it, to compare it with what the server has.
    Compares,
    /// The server copies it, from another document or to another disk.
    Copies,
}

impl Checking {
    pub(super) fn line(&self, width: usize, now: Instant, glyphs: Glyphs) -> String {
        let Self { deed, name, meter } = self;
        if *deed == Deed::Compares {
            let name = format!("comparing {name}");
            return bar::moving(width, Moving::of(&name, meter, now), glyphs);
        }
        // No bar: no byte of the file is sent.
        let (part, whole) = (meter.position(), meter.total());
        let percent = units::percent(part, whole);
        let pair = units::pair(part, whole);
        let left = meter
            .left(now)
            .map_or_else(String::new, |left| format!("  {} left", units::clock(left)));
        let texts = [
            format!("the server copies it: {percent}%  {pair}{left}"),
            format!("the server copies it: {percent}%"),
            format!("copied there: {percent}%"),
        ];
        bar::beside(width, name, &texts, glyphs)
    }

    pub(super) fn minute(&self) -> String {
        let Self { deed, name, meter } = self;
        let share = units::share(meter.position(), meter.total());
        match deed {
            Deed::Compares => format!("comparing {name}: {share}"),
            Deed::Copies => format!("{name}: the server copies it, {share}"),
        }
    }
}
