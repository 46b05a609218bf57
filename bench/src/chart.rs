//! The results as a picture: a bar for each median, from zero, and a line from the
//! fastest round to the slowest, and a [`curve`] where figures hang on one other. It brings its own background, so that it can be read on a
//! light page and on a dark one.

mod curve;

use crate::contender::Class;
use crate::goal_test::GoalTestResult;
use crate::markdown::capitalised;
use crate::metric::Curve;
use crate::result::{Outcome, Results, SectionResult};
use crate::stats::Spread;
use crate::table::three_digits;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 110.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
/// Above the bars of a section, for its title.
const TITLE: f64 = 44.0;
/// Below them, for the figures of the axis.
const AXIS: f64 = 34.0;
/// Above everything, for what the colours mean.
const HEAD: f64 = 44.0;
const FOOT: f64 = 30.0;

/// The most figures on an axis, zero not counted.
const TICKS_MAX: f64 = 6.0;

const STYLE: &str = "
    text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
    .ground { fill: #ffffff; stroke: #d1d9e0 }
    .title { font-size: 15px; font-weight: 600 }
    .faint { font-size: 12px; fill: #59636e }
    .value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
    .ours { font-weight: 600 }
    .line { stroke: #d1d9e0 }
    .whisker { stroke: #1f2328; stroke-width: 1.5 }
    .peer.memory { fill: #c8d1da } .peer.disk { fill: #8c959f }
    .curve { fill: none; stroke-width: 2 }
    .curve.ours { stroke: #2f81f7 } .dot.ours { fill: #2f81f7 }
    .curve.cpu { stroke: #9ec9ff } .dot.cpu { fill: #9ec9ff }
    .curve.other { stroke: #8c959f } .dot.other { fill: #8c959f }
    .towline.memory { fill: #9ec9ff } .towline.disk { fill: #2f81f7 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .faint { fill: #9198a1 }
      .ground { fill: #0d1117; stroke: #3d444d } .value { stroke: #0d1117 }
      .line { stroke: #3d444d }
      .whisker { stroke: #e6edf3 }
      .peer.memory { fill: #3d444d } .peer.disk { fill: #7d8590 }
      .towline.memory { fill: #1c4a8a } .towline.disk { fill: #4493f8 }
    }
";

/// An axis from zero.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// Between two figures on it.
    step: f64,
    /// Where it ends: a multiple of the step, and at least the highest value.
    end: f64,
}

impl Scale {
    /// Steps of 1, 2 or 5 times a power of ten, few enough to be read.
    fn up_to(highest: f64) -> Self {
        let least = highest.max(f64::MIN_POSITIVE) / TICKS_MAX;
        let power = 10f64.powf(least.log10().floor());
        let round = [1.0, 2.0, 5.0].map(|factor| factor * power);
        let step = round.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power);
        Self { step, end: step * (highest / step).ceil().max(1.0) }
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        (0u32..).map(move |count| f64::from(count) * self.step).take_while(move |tick| {
            // Sums of steps are not exact.
            *tick <= self.end + self.step / 2.0
        })
    }

    /// Where a value is, from left to right.
    fn x(self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * value / self.end
    }
}

/// The picture.
pub(crate) fn of(results: &Results) -> String {
    let sections: f64 = results.sections.iter().map(height).sum();
    let curves: Vec<_> = results.goal_tests.iter().filter_map(curve_of).collect();
    let height = HEAD + sections + curve::HEIGHT * curves.len() as f64 + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Towline beside its peers\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n",
        WIDTH - 1.0,
        height - 1.0,
    );
    legend(&mut svg);
    let mut top = HEAD;
    for section in &results.sections {
        section_of(&mut svg, section, top);
        top += self::height(section);
    }
    for (title, curve) in curves {
        curve::of(&mut svg, &title, curve, top);
        top += curve::HEIGHT;
    }
    let rounds = match results.rounds {
        1 => "One round".to_owned(),
        rounds => format!("Medians of {rounds} rounds; lines from the fastest to the slowest"),
    };
    let machine = &results.machine;
    let foot =
        format!("{rounds}. {} cores, {}, {}.", machine.cores, machine.file_system, machine.date);
    text(&mut svg, "faint", 16.0, height - 14.0, &foot);
    svg.push_str("</svg>\n");
    svg
}

/// What a goal test has to draw, and its title.
fn curve_of(goal_test: &GoalTestResult) -> Option<(String, &Curve)> {
    let curve = goal_test.metrics.as_ref().ok()?.curve.as_ref()?;
    Some((format!("{}: for each GiB, less is better", capitalised(&goal_test.title)), curve))
}

fn height(section: &SectionResult) -> f64 {
    let rows = u32::try_from(section.outcomes.len()).unwrap_or(u32::MAX);
    TITLE + ROW * f64::from(rows) + AXIS
}

fn legend(svg: &mut String) {
    let mut x = 16.0;
    for (who, label) in [("towline", "Towline"), ("peer", "others")] {
        for (class, done) in [(Class::Disk, "synced to disk"), (Class::Memory, "in memory")] {
            let says = format!("{label}, {done}");
            bar(svg, who, class, x, 18.0, 12.0, 12.0);
            text(svg, "faint", x + 18.0, 28.5, &says);
            x += 184.0;
        }
    }
}

fn section_of(svg: &mut String, section: &SectionResult, top: f64) {
    let spreads: Vec<Option<Spread>> = section.outcomes.iter().map(Outcome::seconds).collect();
    let highest = spreads.iter().flatten().map(|spread| spread.highest).fold(0.0, f64::max);
    let scale = Scale::up_to(highest);
    let rows = top + TITLE;
    let bottom = top + height(section) - AXIS;
    let title = format!("{}: seconds, less is better", capitalised(&section.title));
    text(svg, "title", 16.0, top + 26.0, &title);
    for tick in scale.ticks() {
        let x = scale.x(tick);
        line(svg, "line", x, rows, x, bottom);
        let label = format!("{}", (tick * 1e6).round() / 1e6);
        let _ = writeln!(
            svg,
            "<text class=\"faint\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
            bottom + 16.0
        );
    }
    let mut y = rows;
    for (outcome, spread) in section.outcomes.iter().zip(spreads) {
        row(svg, outcome, spread, scale, y);
        y += ROW;
    }
}

fn row(svg: &mut String, outcome: &Outcome, spread: Option<Spread>, scale: Scale, top: f64) {
    let weight = if outcome.is_ours() { "ours" } else { "" };
    let baseline = top + ROW / 2.0 + 4.5;
    text(svg, weight, 16.0, baseline, outcome.name);
    let Some(spread) = spread else {
        text(svg, "faint", LEFT + 8.0, baseline, "failed");
        return;
    };
    let who = if outcome.is_ours() { "towline" } else { "peer" };
    let y = top + (ROW - BAR) / 2.0;
    bar(svg, who, outcome.class, LEFT, y, scale.x(spread.median) - LEFT, BAR);
    let (from, to, middle) = (scale.x(spread.lowest), scale.x(spread.highest), top + ROW / 2.0);
    line(svg, "whisker", from, middle, to, middle);
    for end in [from, to] {
        line(svg, "whisker", end, middle - 4.0, end, middle + 4.0);
    }
    let label = format!("{} s", three_digits(spread.median));
    text(svg, &format!("value {weight}"), to + 8.0, baseline, &label);
}

fn bar(svg: &mut String, who: &str, class: Class, x: f64, y: f64, width: f64, height: f64) {
    let class = match class {
        Class::Memory => "memory",
        Class::Disk => "disk",
    };
    let _ = writeln!(
        svg,
        "<rect class=\"{who} {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
    );
}

fn line(svg: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, says: &str) {
    let says = says.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{says}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_few_round_steps_and_holds_the_highest_value() {
        for (highest, step, end) in [
            (1.0, 0.2, 1.0),
            (0.43, 0.1, 0.5),
            (7.3, 2.0, 8.0),
            (61.0, 20.0, 80.0),
            (0.0, 0.0, 0.0),
        ] {
            let scale = Scale::up_to(highest);
            assert!((scale.step - step).abs() < 1e-9, "{highest}: {scale:?}");
            assert!((scale.end - end).abs() < 1e-9, "{highest}: {scale:?}");
            assert!(scale.end >= highest && scale.end > 0.0, "{highest}: {scale:?}");
            assert!((2..=7).contains(&scale.ticks().count()), "{highest}: {scale:?}");
        }
    }

    #[test]
    fn zero_is_at_the_left_and_the_end_at_the_right() {
        let scale = Scale::up_to(0.43);
        assert!((scale.x(0.0) - LEFT).abs() < 1e-9);
        assert!((scale.x(scale.end) - (WIDTH - RIGHT)).abs() < 1e-9);
        let last = scale.ticks().last().unwrap();
        assert!((last - scale.end).abs() < 1e-9);
    }
}
