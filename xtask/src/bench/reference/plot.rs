//! The picture of all runs: a bar for each case and system, in the colours of
//! the steps. Plain SVG, readable on light and dark pages.

use std::fmt::Write as _;

use super::record::{Case, Record, System};
use super::show::{median, of};

const LEFT: f64 = 150.0;
const WIDTH: f64 = 560.0;
const BAR: f64 = 16.0;
const COLOURS: [&str; 9] = [
    "#8c8c8c", "#b07aa1", "#4e79a7", "#59a14f", "#edc948", "#f28e2b", "#76b7b2", "#e15759",
    "#c9c9c9",
];

/// Draws the medians of all cases that were run.
pub(crate) fn svg(records: &[Record]) -> String {
    let mut bars = String::new();
    let longest = records.iter().map(|run| run.wall_s).fold(1.0, f64::max);
    let scale = WIDTH / longest;
    let mut y = 40.0;
    for case in Case::ALL {
        if System::ALL.iter().all(|system| of(records, case, *system).is_empty()) {
            continue;
        }
        let _ = writeln!(
            bars,
            r#"<text x="8" y="{:.0}" class="case">{}</text>"#,
            y + 12.0,
            case.said()
        );
        y += 20.0;
        for system in System::ALL {
            let runs = of(records, case, system);
            if runs.is_empty() {
                continue;
            }
            bar(&mut bars, &runs, system, y, scale);
            y += BAR + 5.0;
        }
        y += 10.0;
    }
    let steps = records.first().map_or(&[][..], |run| &run.rows);
    let names = steps.iter().map(|row| row.step.as_str()).chain(["unattributed"]);
    let mut legend = String::new();
    for (place, (name, colour)) in names.zip(COLOURS).enumerate() {
        let (x, y) = (8.0 + 150.0 * (place % 5) as f64, y + 8.0 + 18.0 * (place / 5) as f64);
        let _ = writeln!(
            legend,
            r#"<rect x="{x:.0}" y="{y:.0}" width="10" height="10" fill="{colour}"/><text x="{:.0}" y="{:.0}">{name}</text>"#,
            x + 15.0,
            y + 9.0
        );
    }
    let height = y + 50.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 {height:.0}" font-family="sans-serif" font-size="12">
<style>text {{ fill: #777 }} .case {{ font-weight: bold }}</style>
<text x="8" y="20" class="case">The reference job: seconds from commit to verdict, shorter is better; a line marks the bound</text>
{bars}{legend}</svg>
"##
    )
}

fn bar(out: &mut String, runs: &[&Record], system: System, y: f64, scale: f64) {
    let _ = writeln!(out, r#"<text x="20" y="{:.0}">{}</text>"#, y + 12.0, system.word());
    let mut x = LEFT;
    let mut piece = |wall_s: f64, colour: &str| {
        let width = wall_s.max(0.0) * scale;
        if width >= 0.1 {
            let _ = writeln!(
                out,
                r#"<rect x="{x:.1}" y="{y:.0}" width="{width:.1}" height="{BAR:.0}" fill="{colour}"/>"#
            );
        }
        x += width;
    };
    let steps = runs.first().map_or(0, |run| run.rows.len());
    for (place, colour) in COLOURS.iter().enumerate().take(steps) {
        piece(median(runs.iter().filter_map(|run| Some(run.rows.get(place)?.wall_s))), colour);
    }
    piece(median(runs.iter().map(|run| run.unattributed_s)), COLOURS[8]);
    let wall = median(runs.iter().map(|run| run.wall_s));
    let bound = LEFT + scale * median(runs.iter().map(|run| run.bound_s));
    let _ = writeln!(
        out,
        r##"<text x="{:.0}" y="{:.0}">{wall:.0} s</text><line x1="{bound:.1}" x2="{bound:.1}" y1="{:.0}" y2="{:.0}" stroke="#777" stroke-width="2"/>"##,
        x + 5.0,
        y + 12.0,
        y - 2.0,
        y + BAR + 2.0
    );
}

#[cfg(test)]
mod tests {
    use super::super::record::sample;
    use super::*;

    #[test]
    fn each_case_and_system_that_was_run_has_a_bar_to_scale() {
        let records = [
            sample(System::Baseline, Case::Cold, 1, 100.0),
            sample(System::Seatrial, Case::Cold, 1, 50.0),
        ];
        let svg = svg(&records);
        assert!(svg.contains(r#"x="150.0" y="60" width="280.0""#), "{svg}");
        assert!(svg.contains(r#"x="150.0" y="81" width="140.0""#), "{svg}");
        assert!(!svg.contains("careful") && !svg.contains("only a test"), "{svg}");
    }
}
