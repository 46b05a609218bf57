//! Figures that hang on one other, as lines: places from left to right, at even
//! distances, and values from zero up.

use super::{AXIS, LEFT, RIGHT, Scale, TITLE, WIDTH, line, text};
use crate::metric::{Curve, Line};
use crate::table::three_digits;
use std::fmt::Write as _;

/// From zero to the end of the axis.
const PLOT: f64 = 180.0;

/// Below the title, for what the lines are.
const LEGEND: f64 = 26.0;

/// The whole of it.
pub(super) const HEIGHT: f64 = TITLE + LEGEND + PLOT + AXIS;

/// The colours of the lines, in their order.
const CLASSES: [&str; 3] = ["ours", "cpu", "other"];

pub(super) fn of(svg: &mut String, title: &str, curve: &Curve, top: f64) {
    let points = curve.lines.iter().flat_map(|line| &line.points);
    let frame = Frame {
        scale: Scale::up_to(points.copied().fold(0.0, f64::max)),
        bottom: top + TITLE + LEGEND + PLOT,
        places: curve.places.len(),
    };
    text(svg, "title", 16.0, top + 26.0, title);
    for tick in frame.scale.ticks() {
        let y = frame.y(tick);
        line(svg, "line", LEFT, y, WIDTH - RIGHT, y);
        let label = format!("{}", (tick * 1e6).round() / 1e6);
        words(svg, "faint", "end", LEFT - 8.0, y + 4.0, &label);
    }
    for (place, label) in curve.places.iter().enumerate() {
        words(svg, "faint", "middle", frame.x(place), frame.bottom + 18.0, label);
    }
    let mut x = LEFT;
    for (line, class) in curve.lines.iter().zip(CLASSES) {
        dot(svg, class, x, top + TITLE);
        text(svg, "faint", x + 10.0, top + TITLE + 4.5, line.name);
        x += 150.0;
        frame.draw(svg, line, class);
    }
    // Those of the others would lie on top of these; the table has them all.
    if let Some(first) = curve.lines.first() {
        frame.say_values(svg, first);
    }
}

/// Where things are.
struct Frame {
    scale: Scale,
    bottom: f64,
    places: usize,
}

impl Frame {
    fn draw(&self, svg: &mut String, line: &Line, class: &str) {
        let at =
            line.points.iter().enumerate().map(|(place, &value)| (self.x(place), self.y(value)));
        let at: Vec<(f64, f64)> = at.collect();
        let path: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let path = path.join(" ");
        let _ = writeln!(svg, "<polyline class=\"curve {class}\" points=\"{path}\"/>");
        for (x, y) in at {
            dot(svg, class, x, y);
        }
    }

    fn say_values(&self, svg: &mut String, line: &Line) {
        for (place, value) in line.points.iter().enumerate() {
            let (x, y) = (self.x(place), self.y(*value) + 18.0);
            words(svg, "faint value", "middle", x, y, &three_digits(*value));
        }
    }

    /// Places lie in the middle of the shares that they have of the axis.
    fn x(&self, place: usize) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (place as f64 + 0.5) / self.places.max(1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - PLOT * value / self.scale.end
    }
}

fn dot(svg: &mut String, class: &str, x: f64, y: f64) {
    let _ = writeln!(svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
}

fn words(svg: &mut String, class: &str, anchor: &str, x: f64, y: f64, says: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{says}</text>"
    );
}
